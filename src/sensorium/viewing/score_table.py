"""Scores as bars, with their intervals, and with the blind baseline and the closed form marked.

{name: Score} -> tiles for the most important, a table of all
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sensorium.viewing.names import parts_of
from sensorium.viewing.svg import esc, num

BAR = 230  # wide, for 0 … 100 %
UNIT = '<span class="unit"> %</span>'
NOT_CLEAR = '<abbr title="does not clear its blind baseline">=</abbr> '


class ScoreLike(Protocol):
    """What is drawn of a `Score` (see sensorium.evaluation.scores)."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def blind(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def chance(self) -> float: ...
    @property
    def closed_form(self) -> float | None: ...
    @property
    def unit(self) -> str: ...


def tiles(scores: Mapping[str, ScoreLike], headline: Sequence[str]) -> str:
    """The scores named in `headline`, large."""
    if unknown := [name for name in headline if name not in scores]:
        raise ValueError(f"headline: got {', '.join(unknown)}; there are {', '.join(scores)}")
    made = []
    for name in headline:
        score = scores[name]
        fraction = score.unit == "fraction"
        beside = [f"blind {_text(score, score.blind)}"]
        if score.closed_form is not None:
            beside.append(f"closed form {_text(score, score.closed_form)}")
        made.append(tile(parts_of(name), _text(score, score.value), fraction, _bar(score), beside))
    return f'<div class="tiles">{"".join(made)}</div>' if made else ""


def tile(name: tuple[str, str, str], big: str, percent: bool, drawn: str, beside: Sequence[str]) -> str:
    """One number, large: its name (`parts_of`), the number as text, its bar where that is a share, baselines."""
    where, task, metric = name
    return (
        f'<div class="tile"><p class="where">{esc(where or task)}</p>'
        f'<p class="big">{big}{UNIT if percent else ""}</p>'
        f'<p class="task">{esc(task + " " if where else "")}<b>{esc(metric)}</b></p>'
        f"{drawn if percent else ''}"
        f'<p class="beside">{esc(" · ".join(beside))}</p></div>'
    )


def score_table(scores: Mapping[str, ScoreLike]) -> str:
    """Every score: one row each, under a heading for what it was measured on."""
    head = "".join(
        f'<th class="{kind}">{text}</th>'
        for kind, text in (
            ("", ""),
            ("", "metric"),
            ("n", "value"),
            ("bar", scale()),
            ("n", "95 % interval"),
            ("n", "blind"),
            ("n", "closed form"),
            ("n", "chance"),
            ("n", "n"),
        )
    )
    bodies = []
    before_where = before_task = None
    for name, score in scores.items():
        where, task, metric = parts_of(name)
        if where != before_where:
            bodies.append(
                f'</tbody><tbody><tr class="group"><th colspan="9">{esc(where or "scores")}</th></tr>'
            )
            before_task = None
        said = "" if task == before_task else esc(task)
        clears = score.low > score.blind if score.unit == "fraction" else score.high < score.blind
        closed = "–" if score.closed_form is None else _text(score, score.closed_form)
        bodies.append(
            f'<tr class="{"first" if said else ""}"><th class="task">{said}</th>'
            f'<td class="metric">{esc(metric)}</td>'
            f'<td class="n value">{"" if clears else NOT_CLEAR}{_text(score, score.value)}</td>'
            f'<td class="bar">{_bar(score) if score.unit == "fraction" else ""}</td>'
            f'<td class="n soft">{_text(score, score.low)} – {_text(score, score.high)}</td>'
            f'<td class="n">{_text(score, score.blind)}</td><td class="n">{closed}</td>'
            f'<td class="n soft">{_text(score, score.chance)}</td><td class="n soft">{score.n:,}</td></tr>'
        )
        before_where, before_task = where, task
    keys = (
        '<p class="legend"><span class="key"><i class="swatch value"></i>value</span>'
        '<span class="key"><i class="whisker"></i>95 % interval over queries</span>'
        '<span class="key"><i class="mark closed"></i>closed form</span>'
        '<span class="key"><i class="mark blind"></i>blind: the same with the media shuffled</span></p>'
    )
    table = f'<table class="scores"><thead><tr>{head}</tr></thead><tbody>{"".join(bodies)}</tbody></table>'
    return f'{keys}<div class="scroll">{table.replace("<tbody></tbody>", "")}</div>'


def _bar(score: ScoreLike) -> str:
    return bar(score.value, score.low, score.high, score.blind, score.closed_form)


def bar(
    value: float,
    low: float,
    high: float,
    blind: float | None,
    rival: float | None = None,
    reference: float | None = None,
) -> str:
    """0 … 100 %: a bar, its interval as a whisker, a notch at blind, a diamond at the rival (the closed form,
    the copy), a dotted notch at a reference. What lies outside is drawn at the edge."""

    def at(number: float) -> str:
        return num(BAR * min(max(number, 0), 1))

    diamond = "l4.5 4.5l-4.5 4.5l-4.5 -4.5z"
    marks = [
        f'<path class="blind" d="M{at(blind)} 1.5v13"/>' if blind is not None else "",
        f'<path class="reference" d="M{at(reference)} 1v14"/>' if reference is not None else "",
        f'<path class="interval" d="M{at(low)} 8H{at(high)}M{at(low)} 5v6M{at(high)} 5v6"/>',
        f'<path class="closed" d="M{at(rival)} 3.5{diamond}"/>' if rival is not None else "",
    ]
    return (
        f'<svg class="bar" viewBox="-6 0 {BAR + 12} 16" aria-hidden="true">'
        f'<rect class="track" width="{BAR}" y="4" height="8"/>'
        f'<rect class="fill" width="{at(value)}" y="4" height="8"/>{"".join(marks)}</svg>'
    )


def scale() -> str:
    """The axis above a column of bars."""
    labels = "".join(
        f'<text class="tick" x="{num(BAR * share)}" y="12" text-anchor="{anchor}">{100 * share:g}</text>'
        for share, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    return f'<svg class="bar" viewBox="-6 0 {BAR + 12} 16" aria-hidden="true">{labels}</svg>'


def _text(score: ScoreLike, number: float) -> str:
    return f"{100 * number:.1f}" if score.unit == "fraction" else f"{number:,.1f}"
