"""`sensorium compare`: one table on the screen, and a folder with the figure, the numbers and the report."""

from __future__ import annotations

from typing import Any

from sensorium.recipes.comparison import compare
from sensorium.recipes.comparison_report import write
from sensorium.viewing.comparison_table import show


def compare_fusions(task: str, **options: Any) -> None:
    """Train what is not trained yet, print the table, write the rest. Options are those of `compare`."""
    found = compare(task, **options)
    show(found.compared)
    for kind, why in found.left_out.items():
        print(f"left out: {kind}: {why}")
    for path in write(options["folder"], found):
        print(f"written: {path}")
