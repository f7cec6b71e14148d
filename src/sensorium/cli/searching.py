"""`sensorium search`: a query -> a printed table, and a picture of it when asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sensorium.facade import load_space
from sensorium.media import Source
from sensorium.retrieval.index import Hit, Index, made_by


def search_index(
    folder: Path, query: dict[str, Any], where: str | None, top: int, model: Path | None, picture: Path | None
) -> None:
    """Print the nearest rows. Raises ValueError when no query, no index or no model is there."""
    asked = {kind: value for kind, value in query.items() if value is not None}
    if not asked:
        raise ValueError(f"search needs a query: give one of {', '.join('--' + kind for kind in query)}")
    index = Index.open(folder, load_space(model or made_by(folder)))
    media: dict[str, Any] = {
        kind: value if kind == "text" else Source(kind, path=value) for kind, value in asked.items()
    }
    hits = index.search(**media, where=where, top_k=top)
    grid = Table(box=None, header_style="bold")
    for heading in ("", "score", "modality", "what", "where"):
        grid.add_column(heading, overflow="fold")
    for place, hit in enumerate(hits, 1):
        grid.add_row(str(place), f"{hit.score:.3f}", hit.modality, hit.caption, hit.path or hit.id)
    Console().print(grid)
    if picture is not None:
        draw(picture, " + ".join(f"{kind}: {value}" for kind, value in asked.items()), media, hits)


def draw(path: Path, title: str, media: dict[str, Any], hits: list[Hit]) -> None:
    """The query and its answers as one PNG."""
    from sensorium.viewing import figure
    from sensorium.viewing.report import Search, Shown

    query = Shown(text=title)
    if set(media) == {"image"}:
        query = Shown(text=title, picture=media["image"].decode())
    answers = [Shown(text=hit.caption, picture=hit.thumbnail, score=hit.score) for hit in hits]
    figure.save(path, [Search(query, answers)], top=len(answers))
    print(f"drawn: {path}")
