"""What a model was asked and what it answered, beside the right answer and beside its blind answer.

[Example, …] -> a table with the pictures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sensorium.viewing.gallery import Shown, query_html
from sensorium.viewing.svg import esc

MARKS = {True: ("right", "✓"), False: ("wrong", "✗")}


@dataclass(frozen=True)
class Said:
    """An answer. right: whether it was counted as right; None where no such count is made (captions)."""

    text: str
    right: bool | None = None


@dataclass(frozen=True)
class Asked:
    """One question about the media of an example.

    question: what was asked
    wanted:   the right answer, or several as one text
    answer:   the model's
    beside:   {"blind": …, "nearest copy": …}: what else was answered, a column each
    """

    question: str
    wanted: str
    answer: Said
    beside: Mapping[str, Said] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """media: a picture, a sound or words, or several of them; asked: one or more questions about it"""

    media: Shown | Sequence[Shown]
    asked: Sequence[Asked]


@dataclass(frozen=True)
class Examples:
    """Examples under one heading. note: how they were chosen; the honest word is "at random"."""

    title: str
    examples: Sequence[Example]
    note: str = ""


def examples_html(examples: Examples) -> str:
    """One row a question; the media stand once, beside all questions about them."""
    if unasked := [n for n, example in enumerate(examples.examples) if not example.asked]:
        raise ValueError(f"examples: number {unasked[0]} has no question; expected at least one each")
    asked = [question for example in examples.examples for question in example.asked]
    beside = list(dict.fromkeys(name for question in asked for name in question.beside))
    head = "".join(f"<th>{esc(name)}</th>" for name in ("", "question", "right answer", "model", *beside))
    bodies = "".join(_example(example, beside) for example in examples.examples)
    note = f'<p class="note">{esc(examples.note)}</p>' if examples.note else ""
    return (
        f'<div class="gallery"><h3>{esc(examples.title)}</h3>{note}<div class="wide">'
        f'<table class="examples"><thead><tr>{head}</tr></thead>{bodies}</table></div></div>'
    )


def _media(media: Shown | Sequence[Shown]) -> str:
    return query_html(media) if isinstance(media, Shown) else "".join(map(query_html, media))


def _example(example: Example, beside: Sequence[str]) -> str:
    rows = []
    for n, asked in enumerate(example.asked):
        media = (
            f'<td class="media" rowspan="{len(example.asked)}">{_media(example.media)}</td>' if n == 0 else ""
        )
        others = "".join(_said(asked.beside.get(name), "other") for name in beside)
        rows.append(
            f"<tr>{media}<td>{esc(asked.question)}</td><td>{esc(asked.wanted)}</td>"
            f"{_said(asked.answer, 'model')}{others}</tr>"
        )
    return f"<tbody>{''.join(rows)}</tbody>"


def _said(said: Said | None, column: str) -> str:
    if said is None:
        return f'<td class="{column} soft">–</td>'
    text = esc(said.text) if said.text.strip() else '<span class="soft">(nothing)</span>'
    if said.right is None:
        return f'<td class="{column}">{text}</td>'
    kind, mark = MARKS[said.right]
    return (
        f'<td class="{column} said-{kind}"><div><span class="verdict" title="{kind}">{mark}</span>'
        f"<span>{text}</span></div></td>"
    )
