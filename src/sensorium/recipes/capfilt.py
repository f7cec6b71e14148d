"""CapFilt (Li et al. 2022, arXiv:2201.12086, §3.3): caption a noisy set of pictures, and keep the texts that fit.

    picture, text ──► captioner: decoder ─► a made text ──┐
          │                                               ├──► filter: match head ─► P(fits) ≥ threshold ─► pairs.jsonl
          └───────────── the given text ──────────────────┘

The paper fine-tunes captioner and filter on human-written captions first: `sensorium train blip --start NOISY --source
CLEAN`. Captions are drawn (nucleus sampling, §6.2) rather than the likeliest, which say little that is new.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import rankdata
from tqdm import tqdm

from sensorium.data.bundled import normalised
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.evaluation.scores import interval
from sensorium.media import MediaError, Source
from sensorium.models.encoder_decoder import EncoderDecoder
from sensorium.recipes.blip_tests import captions_of, matched
from sensorium.recipes.joint_embedding import one_column_a_modality

ROWS = 64  # pictures decoded and judged at a time
PAIRS, REPORT, QUARANTINE = "pairs.jsonl", "report.html", "quarantine.jsonl"
SUFFIX = {
    b"\xff\xd8": ".jpg",
    b"\x89P": ".png",
    b"GI": ".gif",
    b"BM": ".bmp",
    b"RI": ".webp",
    b"II": ".tif",
    b"MM": ".tif",
}
OURS = ("id", "image", "text", "made", "match", "record")


@dataclass(frozen=True)
class Judged:
    """One record: its given and its made text, and how well each fits the picture, as a probability.

    given: "" where the record has no text; fits: of the given, NaN without one; kept: which of the two stay
    wrong: whether the given text is known to be wrong, None where nobody knows
    """

    id: str
    picture: np.ndarray
    given: str
    made: str
    fits: float
    made_fits: float
    kept: tuple[str, ...]
    wrong: bool | None = None


@dataclass(frozen=True)
class Removal:
    """How well the planted wrong texts were found: shares with their 95 % intervals, over the texts that were given.

    precision: of the removed texts, wrong ones; recall: of the wrong texts, removed ones; kept_right: of the right
    texts, kept ones; chance: precision of removing at random, the share of wrong texts; auc: probability that a right
    text fits better than a wrong one
    """

    precision: tuple[float, float, float]
    recall: tuple[float, float, float]
    kept_right: tuple[float, float, float]
    chance: float
    auc: float


@dataclass
class Filtered:
    """What was done. without_picture: records that have none; unreadable: those in quarantine."""

    records: int = 0
    given: int = 0
    given_kept: int = 0
    made: int = 0
    made_kept: int = 0
    pairs: int = 0
    without_picture: int = 0
    unreadable: int = 0
    judged: list[Judged] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}


def capfilt(
    model: EncoderDecoder,
    samples: Iterable[Sample],
    out: Path,
    *,
    threshold: float = 0.5,
    top_p: float | None = 0.9,
    truth: str = "",
    seed: int = 0,
    progress: bool = True,
) -> Filtered:
    """Caption and filter the records, and write those texts that fit to `out`.

    threshold: least probability of a text that stays; the paper's is 0.5, where the match head says yes
    top_p:     captions are drawn from the likeliest words of this share; None: always the likeliest
    truth:     name of a field that says whether the given text is wrong (true, 1), to measure the removal

    Writes out/pairs.jsonl (image, text, whether it was made, how well it fits, the record it is from, and the record's
    fields), out/pictures/ and out/quarantine.jsonl. Raises ValueError when `out` holds something already, for records
    without pictures, or when too many cannot be decoded. The source is only read.
    """
    check(threshold, top_p)
    empty_folder(out)
    (out / "pictures").mkdir(parents=True)
    found, quarantine = Filtered(), Quarantine(out / QUARANTINE)
    torch.manual_seed(seed)
    total = len(samples) if isinstance(samples, Sequence) else None
    fresh = out / f".{PAIRS}.part"
    with open(fresh, "w", encoding="utf-8") as lines, tqdm(total=total, disable=not progress, unit="") as bar:
        rows = iter(samples)
        while some := list(islice(rows, ROWS)):
            for judged, sample, file in judge(model, some, out, threshold, top_p, truth, quarantine, found):
                for line in written(judged, sample, file, found):
                    lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            bar.update(len(some))
    if not found.judged and not quarantine.bad:
        raise ValueError(
            f"got {found.records} records, none with a picture; expected pictures with captions: put a caption beside "
            "each file (x.jpg and x.txt), or give a table with the columns image and text"
        )
    quarantine.check()
    os.replace(fresh, out / PAIRS)
    return found


def check(threshold: float, top_p: float | None) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"--threshold {threshold}; expected a probability from 0 (keep all) to 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"--top-p {top_p}; expected above 0 and up to 1, or None for the likeliest words")


def empty_folder(out: Path) -> None:
    """Raises ValueError when something lies there: neither a source nor an earlier result is written over."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(
            f"--out {out}: holds something already; expected a folder that is empty or not there"
        )


def judge(
    model: EncoderDecoder,
    samples: Sequence[Sample],
    out: Path,
    threshold: float,
    top_p: float | None,
    truth: str,
    quarantine: Quarantine,
    found: Filtered,
) -> Iterator[tuple[Judged, Sample, str]]:
    """(what was found, the record, its picture's file below `out`) of every record with a picture that opens."""
    having, pictures, files = [], [], []
    for sample in samples:
        found.records += 1
        one = one_column_a_modality(sample)
        media: Any = one.columns.get("image")
        if media is None:
            found.without_picture += 1
            continue
        try:
            picture: Any = media.decode() if isinstance(media, Source) else media
            file = stored(media, out)
        except MediaError as error:
            quarantine.add(sample.id, "image", error)
            found.unreadable += 1
            continue
        quarantine.passed()
        having.append(one)
        pictures.append(picture)
        files.append(file)
    if not having:
        return
    given = [text if isinstance(text := one.columns.get("text"), str) else "" for one in having]
    with torch.no_grad():
        tokens, _ = model.see(model.vision.prepare(pictures))
        made = captions_of(model, tokens, top_p)
        fits = matched(model, model.words(given), tokens).tolist()
        made_fits = matched(model, model.words(made), tokens).tolist()
    for row, one in enumerate(having):
        kept = []
        if given[row] and fits[row] >= threshold:
            kept.append("given")
        if made[row] and made_fits[row] >= threshold and not (kept and _same(given[row], made[row])):
            kept.append("made")
        found.given += bool(given[row])
        found.given_kept += "given" in kept
        found.made += 1
        found.made_kept += "made" in kept
        judged = Judged(
            one.id,
            thumbnail(pictures[row]),
            given[row],
            made[row],
            fits[row] if given[row] else math.nan,
            made_fits[row],
            tuple(kept),
            truth_of(one, truth),
        )
        found.judged.append(judged)
        yield judged, one, files[row]


def written(judged: Judged, sample: Sample, file: str, found: Filtered) -> Iterator[dict[str, Any]]:
    """A line for each text that stays."""
    fields = {name: value for name, value in sample.fields.items() if name not in OURS and _plain(value)}
    for which in judged.kept:
        made = which == "made"
        found.pairs += 1
        yield {
            "id": f"{judged.id}#{which}",
            "image": file,
            "text": judged.made if made else judged.given,
            "made": made,
            "match": round(judged.made_fits if made else judged.fits, 4),
            "record": judged.id,
        } | fields


def stored(media: Any, out: Path) -> str:
    """Copy a picture's bytes below `out`, under a name made of them; a decoded one as PNG. The name, from `out`."""
    if isinstance(media, Source):
        data = media.read()
        name = hashlib.sha256(data).hexdigest()[:24] + SUFFIX.get(data[:2], ".img")
    else:
        data, name = b"", hashlib.sha256(np.ascontiguousarray(media).data).hexdigest()[:24] + ".png"
    path = out / "pictures" / name
    if not path.exists():
        if data:
            path.write_bytes(data)
        else:
            Image.fromarray(media).save(path)
    return f"pictures/{name}"


def thumbnail(picture: np.ndarray, side: int = 96) -> np.ndarray:
    """Small enough that those of a whole set can be held for the report."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return np.asarray(image)


def truth_of(sample: Sample, name: str) -> bool | None:
    """Whether a field says that the given text is wrong. Raises ValueError for a field that says neither."""
    if not name:
        return None
    value = sample.fields.get(name)
    said = str(value).strip().casefold()
    if said in ("1", "true", "yes"):
        return True
    if said in ("0", "false", "no"):
        return False
    raise ValueError(
        f"--truth {name}: record {sample.id!r} says {value!r}; expected 1 or 0: whether its text is wrong"
    )


def removal(judged: Sequence[Judged]) -> Removal | None:
    """None where it is not known which texts are wrong, or all are, or none."""
    known = [one for one in judged if one.wrong is not None and one.given]
    wrong = np.array([bool(one.wrong) for one in known])
    if not len(wrong) or wrong.all() or not wrong.any():
        return None
    removed = np.array(["given" not in one.kept for one in known])
    fits = np.array([one.fits for one in known])
    ranks = rankdata(fits) - 1  # ties share their mean rank
    n, m = int((~wrong).sum()), int(wrong.sum())
    auc = (ranks[~wrong].sum() - n * (n - 1) / 2) / (n * m)
    return Removal(
        _share(wrong[removed]),
        _share(removed[wrong]),
        _share(~removed[~wrong]),
        float(wrong.mean()),
        float(auc),
    )


def as_json(found: Filtered, measured: Removal | None) -> dict[str, Any]:
    """Counts, and how the removal did where that is known."""
    return {"counts": found.counts(), "removal": None if measured is None else asdict(measured)}


def _share(hits: np.ndarray) -> tuple[float, float, float]:
    if not len(hits):
        return 0.0, 0.0, 1.0
    values = hits.astype(float)
    return float(values.mean()), *interval(values)


def _same(a: str, b: str) -> bool:
    return normalised(a) == normalised(b)


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and value == value
