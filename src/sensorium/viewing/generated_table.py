"""Scores of generated text beside what the model gets without looking, and beside copying.

{name: GeneratedScore} -> tiles for the most important, a table of all
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sensorium.viewing.names import parts_of, readable
from sensorium.viewing.score_table import NOT_CLEAR, bar, scale, tile
from sensorium.viewing.svg import esc

HEADINGS = {
    "blind_withheld": "media withheld",
    "blind_shuffled": "media shuffled",
    "majority": "majority answer",
    "names_only": "names only",
    "copy": "nearest copy",
}
NO_BETTER = '<abbr title="not shown to be better than the copy">=</abbr> '
BLIND = ("blind_withheld", "blind_shuffled", "majority")
LOWER, PLAIN = ("error", "distance"), ("points", "distance")  # units: less is better; not shown in percent


class GeneratedLike(Protocol):
    """What is drawn of a `GeneratedScore` (see sensorium.evaluation.generated)."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def blind_withheld(self) -> float | None: ...
    @property
    def blind_shuffled(self) -> float | None: ...
    @property
    def majority(self) -> float | None: ...
    @property
    def copy(self) -> float | None: ...
    @property
    def names_only(self) -> float | None: ...
    @property
    def margin(self) -> float | None: ...
    @property
    def margin_low(self) -> float | None: ...
    @property
    def margin_high(self) -> float | None: ...
    @property
    def copy_margin(self) -> float | None: ...
    @property
    def copy_margin_low(self) -> float | None: ...
    @property
    def copy_margin_high(self) -> float | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def clears(self) -> bool | None: ...
    @property
    def beats_copy(self) -> bool | None: ...
    def better_than(self, other: float) -> bool: ...


def generated_tiles(scores: Mapping[str, GeneratedLike], headline: Sequence[str]) -> str:
    """The scores named in `headline`, large, each with the best of its blind baselines and the copy."""
    if unknown := [name for name in headline if name not in scores]:
        raise ValueError(f"headline: got {', '.join(unknown)}; there are {', '.join(scores)}")
    made = []
    for name in headline:
        score = scores[name]
        beside = []
        if (blind := _best_blind(score)) is not None:
            beside.append(f"blind {_text(score, blind)}")
        if score.copy is not None:
            beside.append(f"nearest copy {_text(score, score.copy)}")
        where, task, metric = _parts(name, scores)
        big, percent = _text(score, score.value), score.unit not in PLAIN
        made.append(tile((where, task, metric + _down(score)), big, percent, _bar(score), beside))
    return f'<div class="tiles">{"".join(made)}</div>' if made else ""


def generated_table(scores: Mapping[str, GeneratedLike]) -> str:
    """Every score: one row each, under a heading for what it was measured on. Baselines that no score has are
    left out; a copy that is at least as good as the model stands in colour."""
    columns = [
        name for name in HEADINGS if any(_baseline(score, name) is not None for score in scores.values())
    ]
    head = [("", ""), ("", "metric"), ("n", "value"), ("bar", scale()), ("n", "95 % interval")]
    head += [("n two", HEADINGS[name].replace(" ", "<br>")) for name in columns]
    head.append(("n two", "margin over<br>best blind"))
    if with_copy := any(score.copy_margin is not None for score in scores.values()):
        head.append(("n two", "margin over<br>copy"))
    head.append(("n", "n"))
    bodies: list[str] = []
    before: tuple[str, str] | None = None
    for name, score in scores.items():
        where, task, metric = _parts(name, scores)
        if before is None or where != before[0]:
            group = f'<tr class="group"><th colspan="{len(head)}">{esc(where or "scores")}</th></tr>'
            bodies.append(f"</tbody><tbody>{group}")
        said = "" if (where, task) == before else esc(task)
        cells = "".join(_baseline_cell(score, column) for column in columns)
        bodies.append(
            f'<tr class="{"first" if said else ""}"><th class="task">{said}</th>'
            f'<td class="metric">{esc(metric)}{_down(score)}</td>'
            f'<td class="n value">{NOT_CLEAR if score.clears is False else ""}{_text(score, score.value)}</td>'
            f'<td class="bar">{_bar(score) if score.unit not in PLAIN else ""}</td>'
            f'<td class="n soft">{_text(score, score.low)} – {_text(score, score.high)}</td>{cells}'
            f"{_margins(score, with_copy)}"
            f'<td class="n soft">{score.n:,}</td></tr>'
        )
        before = where, task
    row = "".join(f'<th class="{kind}">{text}</th>' for kind, text in head)
    table = f'<table class="scores"><thead><tr>{row}</tr></thead><tbody>{"".join(bodies)}</tbody></table>'
    notes = "".join(
        f'<p class="note">{esc(note)}</p>'
        for note in dict.fromkeys(s.note for s in scores.values() if s.note)
    )
    return f'{_legend(columns)}<div class="scroll">{table.replace("<tbody></tbody>", "")}</div>{notes}'


def _legend(columns: Sequence[str]) -> str:
    keys = ['<i class="swatch value"></i>value', '<i class="whisker"></i>95 % interval over items']
    if set(columns) & set(BLIND):
        keys.append('<i class="mark blind"></i>best blind: withheld, shuffled or majority')
    if "copy" in columns:
        keys.append('<i class="mark closed"></i>nearest copy: the answer of the nearest training item')
    if "names_only" in columns:
        keys.append('<i class="mark reference"></i>names only: names as well, blind to place')
    return f'<p class="legend">{"".join(f"<span class=key>{key}</span>" for key in keys)}</p>'


def _parts(name: str, scores: Mapping[str, GeneratedLike]) -> tuple[str, str, str]:
    """As `parts_of`; but "scenes.test.accuracy" beside "scenes.test.there.accuracy" is over all of that."""
    prefix, _, metric = name.rpartition(".")
    if any(other.rpartition(".")[0].rpartition(".")[0] == prefix for other in scores if other != name):
        return readable(prefix) if prefix else "", "all", readable(metric)
    return parts_of(name)


def _baseline(score: GeneratedLike, name: str) -> float | None:
    return {
        "blind_withheld": score.blind_withheld,
        "blind_shuffled": score.blind_shuffled,
        "majority": score.majority,
        "names_only": score.names_only,
        "copy": score.copy,
    }[name]


def _baseline_cell(score: GeneratedLike, name: str) -> str:
    number = _baseline(score, name)
    if number is None:
        return '<td class="n soft">–</td>'
    rival = " rival" if name == "copy" and not score.better_than(number) else ""
    return f'<td class="n{rival}">{_text(score, number)}</td>'


def _best_blind(score: GeneratedLike) -> float | None:
    numbers = [number for name in BLIND if (number := _baseline(score, name)) is not None]
    if not numbers:
        return None
    return min(numbers) if score.unit in LOWER else max(numbers)


def _margins(score: GeneratedLike, with_copy: bool) -> str:
    """The cells of the margins; the one over the copy is marked where it was not shown to be one."""
    blind = _margin(score, score.margin, score.margin_low, score.margin_high)
    cells = f'<td class="n">{blind}</td>'
    if with_copy:
        mark = NO_BETTER if score.beats_copy is False else ""
        copy = _margin(score, score.copy_margin, score.copy_margin_low, score.copy_margin_high)
        cells += f'<td class="n">{mark}{copy}</td>'
    return cells


def _margin(score: GeneratedLike, value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "–"
    number, *ends = (_text(score, margin).replace("-", "−") for margin in (value, low, high))
    sign = "" if number.startswith("−") else "+"
    return f'{sign}{number} <span class="soft">({ends[0]} … {ends[1]})</span>'


def _bar(score: GeneratedLike) -> str:
    return bar(score.value, score.low, score.high, _best_blind(score), score.copy, score.names_only)


def _down(score: GeneratedLike) -> str:
    return " ↓" if score.unit in LOWER else ""


def _text(score: GeneratedLike, number: float) -> str:
    return f"{number:.2f}" if score.unit in PLAIN else f"{100 * number:.1f}"
