"""What the Search tab shows before anybody asked. Searches themselves are POST /v1/search.

Index -> some things of it, at random
"""

from __future__ import annotations

from typing import Any

from sensorium.retrieval.part import part_of
from sensorium.serving.served import ServedIndex

EXAMPLES = 24
LETTERS = 80  # of a caption that is offered as a query


def examples(index: ServedIndex) -> list[dict[str, Any]]:
    """Some rows: id, caption, modality. The same until rows come or go."""
    rows = part_of(index.index, ["id", "caption", "modality"], EXAMPLES, seed=7)
    return [
        {"id": id, "caption": (caption or "")[:LETTERS], "modality": modality}
        for id, caption, modality in zip(rows["id"], rows["caption"], rows["modality"], strict=True)
    ]
