"""The report of a run: one HTML page that carries all that it shows.

facts, history, scores, generated, examples, galleries, maps, gaps, drawings, attention -> report.html
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensorium.viewing.attention_maps import PictureAttention, SoundAttention, attention_html
from sensorium.viewing.curves import History, curves
from sensorium.viewing.examples import Asked, Example, Examples, Said, examples_html
from sensorium.viewing.gallery import Gallery, Search, Shown, gallery_html
from sensorium.viewing.gaps import Gap, gap_html
from sensorium.viewing.generated_table import GeneratedLike, generated_table, generated_tiles
from sensorium.viewing.maps import Map, map_html
from sensorium.viewing.page import Section, page
from sensorium.viewing.score_table import ScoreLike, score_table, tiles
from sensorium.viewing.svg import esc

__all__ = [
    "Asked",
    "Drawing",
    "Example",
    "Examples",
    "Gallery",
    "Gap",
    "Map",
    "Said",
    "Search",
    "Shown",
    "write",
]


@dataclass(frozen=True)
class Drawing:
    """A PNG that the page carries, in a section of its own. about: for who cannot see it."""

    title: str
    path: Path
    about: str
    note: str = ""

    def html(self) -> str:
        data = base64.b64encode(self.path.read_bytes()).decode("ascii")
        return (
            f'<figure class="panel wide"><img class="drawing" src="data:image/png;base64,{data}" '
            f'alt="{esc(self.about)}"></figure>'
        )


def write(
    path: str | os.PathLike,
    title: str,
    lead: str = "",
    facts: Mapping[str, object] | None = None,
    history: History | None = None,
    scores: Mapping[str, ScoreLike] | None = None,
    headline: Sequence[str] | None = None,
    galleries: Sequence[Gallery] = (),
    maps: Sequence[Map] = (),
    gaps: Sequence[Gap] = (),
    generated: Mapping[str, GeneratedLike] | None = None,
    examples: Sequence[Examples] = (),
    attention: Sequence[PictureAttention | SoundAttention] = (),
    drawings: Sequence[Drawing] = (),
) -> Path:
    """Write the page and return its path. What is not given is left out. The file is replaced atomically.

    title, lead: the heading, and a sentence below it
    facts:       what a reader wants to know of the run: data, model, time, machine, command
    history:     a history.jsonl, or its records
    scores:      {"emoji.unseen_artist.text_to_image.R@1": Score, …}; the parts are what it was measured on,
                 the task, and the metric
    headline:    names of the scores shown large; by default the first four R@1 or top-1, and the first four
                 of `generated` that are accuracies, error rates or CIDEr
    generated:   {"scenes.unseen_artist.there.accuracy": GeneratedScore, …}, named in the same way
    examples:    questions with their pictures and answers
    attention:   where attention looked, in pictures and in sounds
    drawings:    what others drew
    """
    scores, generated = scores or {}, generated or {}
    if headline is None:
        headline = [name for name in scores if name.endswith(("R@1", "top-1"))][:4]
        headline += [name for name in generated if name.endswith(("accuracy", "WER", "CIDEr"))][:4]
    large = tiles(scores, [name for name in headline if name not in generated])
    large += generated_tiles(generated, [name for name in headline if name in generated])
    sections = []
    if generated:
        sections.append(
            Section(
                "Answers",
                generated_table(generated),
                "In percent, CIDEr in points; ↓ less is better. A value marked = was not shown to be better than "
                "its blind baselines: nothing was shown to be seen. A copy in colour is as good as the model.",
            )
        )
    if examples:
        drawn = "".join(examples_html(some) for some in examples)
        sections.append(Section("Examples", drawn, "✓ and ✗ mark what was counted as right and as wrong."))
    if scores:
        sections.append(
            Section(
                "Scores",
                score_table(scores),
                "In percent, ranks as they are. A value marked = does not clear its blind baseline: "
                "nothing was shown to be learned.",
            )
        )
    if galleries:
        found = "".join(gallery_html(gallery) for gallery in galleries)
        sections.append(Section("Searches", found, "The nearest first. ✓ marks right answers."))
    if maps:
        sections.append(Section("Map", "".join(map_html(map_) for map_ in maps)))
    if gaps:
        note = "How far apart the modalities lie in the space that they share (Liang et al. 2022)."
        sections.append(Section("Modality gap", "".join(gap_html(gap) for gap in gaps), note))
    if attention:
        note = "Where attention looked. It shows what was read, not what an answer was due to."
        sections.append(Section("Attention", "".join(attention_html(shown) for shown in attention), note))
    sections += [Section(drawing.title, drawing.html(), drawing.note) for drawing in drawings]
    if history is not None and (plots := curves(history)):
        sections.append(Section("Training", plots))
    if facts:
        rows = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(fact)}</dd></div>" for name, fact in facts.items())
        sections.append(Section("Run", f'<dl class="facts">{rows}</dl>'))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(page(title, lead, large, sections), encoding="utf-8", errors="replace")
    part.replace(path)
    return path
