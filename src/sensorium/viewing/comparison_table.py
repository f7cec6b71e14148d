"""Ways of fusing side by side: the table, for the screen, for a paper's source, and for a page.

Compared -> rich table | Markdown | HTML
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sensorium.viewing.comparison import LOWER, PLAIN, Compared, EstimateLike, Way, short
from sensorium.viewing.svg import esc

HALF = "half"
WIDE = 190  # of a pipe or a log, which have no width


def headings(compared: Compared) -> list[str]:
    """Of the columns that this comparison has something to say in."""
    ways = [*compared.kinds, *compared.dropped]
    arrow = " ↓" if compared.unit in LOWER else ""
    found = ["fusion", f"{compared.metric.replace('_', ' ')}{arrow}", "95 % interval"]
    if any(way.gain is not None for way in ways):
        found.append("over best column")
    found.append("parameters")
    if any(way.step is not None for way in compared.kinds):
        found.append("step")
    found += [f"no {name}" for name in compared.columns if any(name in way.missing for way in ways)]
    if any(HALF in way.missing for way in ways):
        found.append("half missing")
    found += [f"Shapley {name}" for name in compared.columns if any(name in way.shapley for way in ways)]
    return found


def rows(compared: Compared) -> list[tuple[str, list[str]]]:
    """(group, cells) of every way: "fusion", the best first, each before itself trained with "dropout"; "single"."""
    made = []
    for way in compared.ranked():
        made.append(("fusion", _cells(compared, way, way.name.replace("_", " "))))
        if (dropped := compared.with_dropout(way.name)) is not None:
            made.append(("dropout", _cells(compared, dropped, "+ modality dropout")))
    made += [("single", _cells(compared, way, f"{way.name} alone")) for way in compared.singles]
    return made


def notes(compared: Compared) -> list[str]:
    """What the numbers are measured against, and the budget."""
    said = []
    if compared.majority is not None:
        said.append(f"majority answer {number(compared, compared.majority)}")
    if compared.ceiling is not None:
        said.append(f"the most that one column allows, by construction, {number(compared, compared.ceiling)}")
    unit = "in the unit of the answers" if compared.unit in PLAIN else "in percent"
    lines = [
        f"Scores {unit}{': ' if said else ''}{'; '.join(said)}. Over best column: margin over the best column alone.",
        "No …: the score with that column hidden at test time; half missing: each column hidden by a coin, never all. "
        "Shapley: what the column adds to the score over that without any.",
    ]
    return [*lines, f"{compared.about[:1].upper()}{compared.about[1:]}."] if compared.about else lines


def show(compared: Compared, console: Console | None = None) -> None:
    """Print the table; `=` marks a margin that was not shown to be one."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=WIDE)
    grid = Table(title=f"{compared.task}: ways of fusing", title_justify="left", title_style="bold",
                 header_style="bold", box=None)  # fmt: skip
    for place, heading in enumerate(headings(compared)):
        grid.add_column(heading, justify="right" if place else "left", no_wrap=not place)
    for group, cells in rows(compared):
        grid.add_row(*cells, style="dim" if group == "dropout" else "cyan" if group == "single" else "")
    console.print(grid)
    for note in notes(compared):
        console.print(note, style="dim", highlight=False)


def markdown(compared: Compared) -> str:
    """The table and its notes."""
    heads = headings(compared)
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for _, cells in rows(compared):
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join([*lines, "", *notes(compared), ""])


def html(compared: Compared) -> str:
    """The table for a page."""
    head = "".join(
        f'<th class="{"n" if n else ""}">{esc(one)}</th>' for n, one in enumerate(headings(compared))
    )
    body = []
    for group, cells in rows(compared):
        soft = " soft" if group == "dropout" else ""
        first = f'<th class="task{soft}">{esc(cells[0])}</th>'
        body.append(
            f'<tr class="{"" if soft else "first"}">{first}'
            + "".join(f'<td class="n{soft}">{esc(cell)}</td>' for cell in cells[1:])
            + "</tr>"
        )
    said = "".join(f'<p class="note">{esc(note)}</p>' for note in notes(compared))
    table = f'<table class="scores"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    return f'<div class="scroll">{table}</div>{said}'


def number(compared: Compared, value: float) -> str:
    """As people read it: percent with one digit, plain numbers with two."""
    return f"{value:.2f}" if compared.unit in PLAIN else f"{100 * value:.1f}"


def _cells(compared: Compared, way: Way, name: str) -> list[str]:
    return [name, *(_cell(compared, way, heading) for heading in headings(compared)[1:])]


def _cell(compared: Compared, way: Way, heading: str) -> str:
    fixed = {
        "95 % interval": lambda: f"{number(compared, way.score.low)} … {number(compared, way.score.high)}",
        "over best column": lambda: _margin(compared, way.gain),
        "parameters": lambda: short(way.parameters),
        "step": lambda: "–" if way.step is None else f"×{way.step:.2f}",
        "half missing": lambda: _value(compared, way.missing.get(HALF)),
    }
    if heading in fixed:
        return fixed[heading]()
    kind, _, column = heading.partition(" ")
    if kind == "no" and column in compared.columns:
        return _value(compared, way.missing.get(column))
    if kind == "Shapley" and column in compared.columns:
        return _value(compared, way.shapley.get(column))
    return number(compared, way.score.value)


def _margin(compared: Compared, gain: EstimateLike | None) -> str:
    """ "+14.8 (12.9 … 17.1)"; "=" before one whose interval holds 0."""
    if gain is None:
        return "–"
    value, low, high = (number(compared, one) for one in (gain.value, gain.low, gain.high))
    sign = "" if value.startswith("-") else "+"
    return f"{'= ' if gain.low <= 0 <= gain.high else ''}{sign}{value} ({low} … {high})".replace("-", "−")


def _value(compared: Compared, one: EstimateLike | None) -> str:
    return "–" if one is None else number(compared, one.value)
