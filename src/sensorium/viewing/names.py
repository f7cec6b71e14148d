"""Names of scores as people read them.

"emoji.unseen_artist.text_to_image.R@1" -> ("emoji · unseen artist", "text → image", "R@1")
"""

from __future__ import annotations


def readable(name: str) -> str:
    """`text_to_image.R@1` -> "text → image · R@1"."""
    return " · ".join(part.replace("_to_", " → ").replace("_", " ") for part in name.split("."))


def parts_of(name: str) -> tuple[str, str, str]:
    """A score's name -> what it was measured on, the task, the metric. Short names lack the first ones."""
    *where, metric = name.split(".")
    task = where.pop() if where else ""
    return readable(".".join(where)) if where else "", readable(task), readable(metric)
