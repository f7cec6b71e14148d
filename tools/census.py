"""Counts what the bundled data sets hold, out of their Parquet files, and writes it down.

datasets/*/*.parquet -> census.json, and the tables of README.md between its census marks

    python tools/census.py            # counts and writes
    python tools/census.py --check    # counts and compares with what is written
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import tyro
from PIL import Image

import census_tables
import likeness
from sensorium.data.bundled import UNSEEN_ARTIST, normalised
from tables import DATASETS

EQUAL = 0.02  # distance (likeness.py) below which two drawings are called equal: what differs is hardly seen
NEAR = 0.05  # and nearly equal: two faces that differ by their mouths
STAMPS_NEAR = 0.08  # what build_stamps.py keeps on one side of the split


def emoji(folder: Path) -> dict:
    """Things, pictures, splits, languages and look-alikes of the emoji."""
    things = pq.read_table(folder / "things.parquet").to_pylist()
    pictures = pq.read_table(folder / "pictures.parquet").to_pylist()
    split = {row["thing"]: row["split"] for row in things}
    drawn = Counter(row["thing"] for row in pictures)
    families = Counter(row["family"] for row in things)
    train_families = {row["family"] for row in things if row["split"] == "train"}
    unseen = [row for row in things if row["split"] == "unseen_thing"]
    return {
        "things": len(things),
        "pictures": len(pictures),
        "bytes": _bytes(folder),
        "things by number of artists": _counts(drawn.values()),
        "pictures by artist and split": {
            artist: _counts(split[row["thing"]] for row in pictures if row["artist"] == artist)
            for artist in dict.fromkeys(row["artist"] for row in pictures)
        },
        "things by split": _counts(row["split"] for row in things),
        "things by fold": _counts(row["fold"] for row in things),
        "things by group": _counts(row["group"] for row in things),
        "families": len(families),
        "families of several things": sum(size > 1 for size in families.values()),
        "things in families of several": sum(size for size in families.values() if size > 1),
        "unseen things with a relative in train": sum(row["family"] in train_families for row in unseen),
        "things named by language": _counts(language for row in things for language, _ in row["names"]),
        "things tagged by language": _counts(language for row in things for language, _ in row["tags"]),
        "median tags by language": _medians(
            (language, len(tags)) for row in things for language, tags in row["tags"]
        ),
        "median long side": median(max(row["width"], row["height"]) for row in pictures),
        "look-alikes": look_alikes(pictures, split),
    }


def look_alikes(pictures: list[dict], split: dict[str, str]) -> dict:
    """Pairs of drawings that look (nearly) equal: of two things by one artist, and across artists."""
    artists = list(dict.fromkeys(row["artist"] for row in pictures))
    rows = {artist: [row for row in pictures if row["artist"] == artist] for artist in artists}
    signed = {artist: likeness.signatures([_picture(row) for row in rows[artist]]) for artist in artists}
    counts, equal = {}, []
    for artist in artists:
        pairs = [
            (rows[artist][i]["thing"], rows[artist][j]["thing"], apart)
            for i, j, apart in likeness.near(signed[artist], signed[artist], NEAR)
            if i < j
        ]
        equal += [(artist, a, b) for a, b, apart in pairs if apart < EQUAL]
        counts[artist] = {
            "equal": sum(apart < EQUAL for *_, apart in pairs),
            "nearly equal": len(pairs),
            "equal, one of them unseen": sum(apart < EQUAL and split[a] != split[b] for a, b, apart in pairs),
        }
    across = []
    for one, other in combinations(artists, 2):
        for i, j, _ in likeness.near(signed[one], signed[other], NEAR):
            across.append((one, rows[one][i]["thing"], other, rows[other][j]["thing"]))
    return {
        "two things, one artist": counts,
        "equal pairs": equal,
        "across artists": {
            "nearly equal, one thing": sum(a == b for _, a, _, b in across),
            "nearly equal, two things": sum(a != b for _, a, _, b in across),
            f"of these with {UNSEEN_ARTIST}": sum(UNSEEN_ARTIST in pair for pair in across),
        },
        "test pictures with a look-alike in train": known_tests(pictures, split),
    }


def known_tests(pictures: list[dict], split: dict[str, str]) -> dict[str, dict[str, int]]:
    """For each test set, how many of its pictures look (nearly) equal to one that training sees."""

    def part(of: str, unseen_artist: bool) -> list[dict]:
        return [
            row
            for row in pictures
            if split[row["thing"]] == of and (row["artist"] == UNSEEN_ARTIST) is unseen_artist
        ]

    train = part("train", False)
    shown = likeness.signatures([_picture(row) for row in train])
    tests = {
        "unseen artist": part("train", True),
        "unseen things": part("unseen_thing", False),
        "unseen things by the unseen artist": part("unseen_thing", True),
    }
    counts = {}
    for name, rows in tests.items():
        found = likeness.near(likeness.signatures([_picture(row) for row in rows]), shown, NEAR)
        same = {i for i, j, _ in found if rows[i]["thing"] == train[j]["thing"]}
        counts[name] = {
            "pictures": len(rows),
            "equal": len({i for i, _, apart in found if apart < EQUAL}),
            "equal or nearly": len({i for i, *_ in found}),
            "to a drawing of the same thing": len(same),
        }
    return counts


def stamps(folder: Path, emoji_folder: Path) -> dict:
    """Things, captions, voices, sounds, groups and near-duplicates of the stamps."""
    things = pq.read_table(folder / "stamps.parquet").to_pylist()
    speech = pq.read_table(folder / "speech.parquet", columns=["thing", "language", "seconds"]).to_pylist()
    effects = pq.read_table(folder / "effects.parquet", columns=["thing", "spoken", "seconds"]).to_pylist()
    names = {
        normalised(name) for name in pq.read_table(emoji_folder / "things.parquet")["caption"].to_pylist()
    }
    split = {row["thing"]: row["split"] for row in things}
    groups = Counter(row["group"] for row in things)
    captions = Counter(normalised(row["caption"]) for row in things)
    near = likeness.near_pairs([_picture(row) for row in things], STAMPS_NEAR, mirrored=True)
    voices = dict.fromkeys(row["language"] for row in speech)
    return {
        "things": len(things),
        "bytes": _bytes(folder),
        "things by split": _counts(row["split"] for row in things),
        "things by fold": _counts(row["fold"] for row in things),
        "things by family and split": {
            family: _counts(row["split"] for row in things if row["family"] == family)
            for family in sorted({row["family"] for row in things})
        },
        "things by category": _counts(row["category"] for row in things),
        "things by long side": _counts(_size_class(max(row["width"], row["height"])) for row in things),
        "captions by language": _counts(language for row in things for language, _ in row["captions"]),
        "distinct English captions": len(captions),
        "things that share a caption": sum(count for count in captions.values() if count > 1),
        "median words of a caption": median(len(row["caption"].split()) for row in things),
        "captions that name an emoji too": sum(caption in names for caption in captions),
        "groups": len(groups),
        "groups of several things": sum(size > 1 for size in groups.values()),
        "things in groups of several": sum(size for size in groups.values() if size > 1),
        "near-duplicate pictures": [(things[i]["thing"], things[j]["thing"]) for i, j, _ in near],
        "speech by language": {
            language: _durations([row["seconds"] for row in speech if row["language"] == language])
            | _counts(split[row["thing"]] for row in speech if row["language"] == language)
            for language in voices
        },
        "effects": _durations([row["seconds"] for row in effects])
        | {"spoken letters and digits": sum(row["spoken"] for row in effects)}
        | _counts(split[row["thing"]] for row in effects),
    }


def _bytes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(folder.glob("*.parquet"))}


def _counts(values: Iterable) -> dict[str, int]:
    """Value -> how often, the most frequent first, ties by name."""
    counted = Counter(str(value) for value in values)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _medians(pairs: Iterable[tuple[str, int]]) -> dict[str, float]:
    values: dict[str, list[int]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: median(values[key]) for key in sorted(values)}


def _durations(seconds: list[float]) -> dict[str, float]:
    return {
        "clips": len(seconds),
        "minutes": round(sum(seconds) / 60, 1),
        "median seconds": round(median(seconds), 2),
    }


def _size_class(pixels: int) -> str:
    low = max(low for low in (0, 32, 64, 128, 192, 256) if pixels >= low)
    return {0: "under 32", 32: "32 to 63", 64: "64 to 127", 128: "128 to 191", 192: "192 to 255", 256: "256"}[
        low
    ]


def _picture(row: dict) -> Image.Image:
    return Image.open(io.BytesIO(row["image"])).convert("RGBA")


def as_text(census: dict) -> str:
    return json.dumps(census, ensure_ascii=False, indent=1) + "\n"


def main(datasets: Path = DATASETS, check: bool = False) -> None:
    """Count what the bundled data sets hold.

    datasets: folder that holds emoji and stamps; check: compare with census.json and README.md, write nothing.
    """
    counters: dict[str, Callable[[], dict]] = {
        "emoji": lambda: emoji(datasets / "emoji"),
        "stamps": lambda: stamps(datasets / "stamps", datasets / "emoji"),
    }
    wrong = []
    for name, count in counters.items():
        text = as_text(count())
        card = datasets / name / "README.md"
        new_card = census_tables.insert(card.read_text(), name, json.loads(text))
        for file, new in ((datasets / name / "census.json", text), (card, new_card)):
            if not check:
                file.write_text(new)
            elif not file.exists() or file.read_text() != new:
                wrong.append(f"{file}: differs from what the Parquet files hold; run python tools/census.py")
    if wrong:
        raise SystemExit("\n".join(wrong))
    print("census: " + ("as written" if check else "written"))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
