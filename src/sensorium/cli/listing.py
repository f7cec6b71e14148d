"""`sensorium systems`: what can be built and trained, and where to read it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from sensorium.recipes import RECIPES
from sensorium.systems import SYSTEMS


def list_systems() -> None:
    """Print the table of systems, then that of recipes."""
    _print("Systems", SYSTEMS)
    list_recipes()


def list_recipes() -> None:
    _print("Recipes (sensorium train NAME --help)", RECIPES)


def _print(title: str, entries: dict[str, tuple[str, str]]) -> None:
    grid = Table(title=title, title_justify="left", box=None, header_style="bold")
    for heading in ("name", "what", "read"):
        grid.add_column(heading, overflow="fold")
    for name, (place, what) in entries.items():
        grid.add_row(name, what, "src/" + place.partition(":")[0].replace(".", "/") + ".py")
    Console().print(grid)
