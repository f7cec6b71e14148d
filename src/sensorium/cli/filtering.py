"""`sensorium capfilt`: a noisy set of pictures and captions -> a cleaned one, and a page of what was removed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sensorium.data.readers import read
from sensorium.models.encoder_decoder import EncoderDecoder
from sensorium.recipes.capfilt import (
    PAIRS,
    QUARANTINE,
    REPORT,
    Filtered,
    Judged,
    Removal,
    as_json,
    capfilt,
    check,
    empty_folder,
    removal,
)
from sensorium.systems import system_builder
from sensorium.training.checkpoint import load_model
from sensorium.viewing.gallery import Gallery, Search, Shown, gallery_html
from sensorium.viewing.page import Section, page
from sensorium.viewing.svg import esc

SHOWN = 24  # records of each kind on the page
FEW, APART = 8, 0.1  # texts, and probabilities: a filter that has not learned says a third of everything


def filter_source(
    source: Path,
    model: Path,
    out: Path,
    threshold: float,
    top_p: float | None,
    truth: str,
    limit: int | None,
    seed: int,
) -> None:
    """Clean a set and say what was done. Raises ValueError for what cannot be read, judged or written."""
    check(threshold, top_p)
    if limit is not None and limit < 1:
        raise ValueError(f"--limit {limit}; expected at least 1")
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder")
    empty_folder(out)
    records = read(source)
    some = records[:limit] if isinstance(records, Sequence) else islice(records, limit)
    found = capfilt(load(model), some, out, threshold=threshold, top_p=top_p, truth=truth, seed=seed)
    measured = removal(found.judged)
    (out / "report.json").write_text(json.dumps(as_json(found, measured), indent=1) + "\n", encoding="utf-8")
    (out / REPORT).write_text(report(found, measured, source, threshold), encoding="utf-8")
    told(found, measured, out)


def load(checkpoint: Path) -> EncoderDecoder:
    """The BLIP in a checkpoint's folder. Raises ValueError for another kind of model."""
    model = load_model(checkpoint, system_builder)
    if not isinstance(model, EncoderDecoder):
        raise ValueError(
            f"{checkpoint}: holds a {type(model).__name__}; expected a BLIP, which writes captions and judges them: "
            "sensorium train blip"
        )
    return model


def told(found: Filtered, measured: Removal | None, out: Path) -> None:
    console = Console()
    grid = Table(title="CapFilt", title_justify="left", box=None)
    for heading in ("texts", "judged", "kept", "removed"):
        grid.add_column(heading, justify="left" if heading == "texts" else "right")
    for name, judged, kept in _table(found):
        grid.add_row(name, f"{judged:,}", f"{kept:,}", f"{judged - kept:,}")
    console.print(grid)
    if found.unreadable:
        console.print(f"{found.unreadable} pictures cannot be decoded: {out / QUARANTINE}")
    if found.without_picture:
        console.print(f"{found.without_picture} records have no picture and were left out")
    for line in _measured(measured):
        console.print(line)
    console.print(f"cleaned set: {out / PAIRS}, {found.pairs:,} pairs; report: {out / REPORT}")
    if not found.pairs:
        console.print("nothing was kept: lower --threshold, or train the model on pictures like these")
    fits = [one.made_fits for one in found.judged] + [one.fits for one in found.judged if one.given]
    if len(fits) > FEW and max(fits) - min(fits) < APART:
        console.print(
            f"the model's matching says the same of all texts ({min(fits):.2f} … {max(fits):.2f}): it has not learned "
            "to tell yet, so what was kept means nothing; train it longer (until loss/matching falls below 0.6)"
        )


def report(found: Filtered, measured: Removal | None, source: Path, threshold: float) -> str:
    """The page: counts, and records drawn at random of each kind with their scores."""
    rows = "".join(
        f"<tr><td>{esc(name)}</td><td>{judged:,}</td><td>{kept:,}</td><td>{judged - kept:,}</td></tr>"
        for name, judged, kept in _table(found)
    )
    counts = f"<table><tr><th>texts</th><th>judged</th><th>kept</th><th>removed</th></tr>{rows}</table>"
    said = "".join(f"<p>{esc(line)}</p>" for line in _measured(measured))
    lacking = f"{found.without_picture} records have none"
    aside = f"<p>{found.unreadable} pictures cannot be decoded ({QUARANTINE}); {lacking}.</p>"
    kinds: list[tuple[str, Callable[[Judged], bool]]] = [
        ("Given texts that were removed", lambda one: bool(one.given) and "given" not in one.kept),
        ("Given texts that were kept", lambda one: "given" in one.kept),
        ("Made texts that were kept", lambda one: "made" in one.kept),
        ("Made texts that were removed", lambda one: "made" not in one.kept and not _equal(one)),
    ]
    sections = [Section("Counts", counts + aside + said)]
    draw = random.Random(0)
    for title, chosen in kinds:
        having = [one for one in found.judged if chosen(one)]
        drawn = draw.sample(having, min(SHOWN, len(having)))
        note = f"{len(drawn)} of {len(having):,}, at random. ✓ and green: kept. The number: how probably it fits."
        sections.append(Section(title, gallery_html(Gallery("", [_row(one) for one in drawn])), note))
    return page(
        f"CapFilt: {source.name}",
        f"Texts stay that fit with a probability of at least {threshold}.",
        "",
        sections,
    )


def _row(one: Judged) -> Search:
    answers = []
    if one.given:
        answers.append(Shown(f"given: {one.given}", right="given" in one.kept, score=one.fits))
    kept = None if _equal(one) and "given" in one.kept else "made" in one.kept
    answers.append(Shown(f"made: {one.made}", right=kept, score=one.made_fits))
    known = {True: "known to be wrong", False: "known to be right", None: ""}[one.wrong]
    return Search(Shown(picture=one.picture), answers, known)


def _equal(one: Judged) -> bool:
    return bool(one.given) and one.given.casefold().split() == one.made.casefold().split()


def _table(found: Filtered) -> list[tuple[str, int, int]]:
    return [("given", found.given, found.given_kept), ("made", found.made, found.made_kept)]


def _measured(measured: Removal | None) -> list[str]:
    if measured is None:
        return []

    def shares(name: str, share: tuple[float, float, float]) -> str:
        value, low, high = (100 * number for number in share)
        return f"{name} {value:.1f} % ({low:.1f} … {high:.1f})"

    assert not math.isnan(measured.auc)
    return [
        shares("wrong texts among the removed (precision)", measured.precision)
        + f"; at random {100 * measured.chance:.1f} %",
        shares("wrong texts that were removed (recall)", measured.recall),
        shares("right texts that were kept", measured.kept_right),
        f"a right text fits better than a wrong one in {100 * measured.auc:.1f} % of such two (AUC); at random 50 %",
    ]
