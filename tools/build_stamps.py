"""Builds datasets/stamps from Debian's Tux Paint stamps: pictures, captions, spoken descriptions, sounds.

tuxpaint-stamps-default -> stamps.parquet, speech.parquet, effects.parquet

    python tools/build_stamps.py            # fetches the package, writes the data set (some minutes)
    python tools/build_stamps.py --check    # only compares the files that are there with SHA256SUMS
"""

from __future__ import annotations

import re
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pyarrow as pa
import tyro
from PIL import Image
from rich.progress import track

import drawings
import licences
import sounds
import tables
from fetch import WORK, FetchError, debian_package
from likeness import near_pairs
from sensorium.data.bundled import normalised
from tables import DATASETS

PACKAGE = (
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)
RENDER_SIDE, SIDE, QUALITY = 512, 256, 75  # pixels, pixels, WebP quality
SPEECH_BITS, EFFECT_BITS = 12_000, 16_000  # per second
LONGEST = 15  # seconds: what is longer is cut
SILENT = 1e-3  # of full scale: a sound that never gets louder is left out
# In the order of their use here; whole languages, as far as 38 MB for both data sets reach. The package has
# Romanian, Bulgarian, Belarusian, Greek and Danish too.
LANGUAGES = ("fr", "es", "en", "ca", "ru")
FOLDS, TEST_FOLDS = 10, (0, 1)
NEAR = 0.08  # distance below which two pictures are near-duplicates, as likeness.py measures it

DESCRIPTION = re.compile(r"_desc(?:_(?P<language>[a-z]{2}(?:_[A-Z]{2})?))?$")
TRANSLATION = re.compile(r"(?P<language>[^=\s]+)\.utf8=(?P<caption>.*)")
SVG_TEXT = re.compile(r"<text\b")
# What variants of one drawing are told apart by at the end of their file names.
VARIANT = re.compile(
    r"[-_]?(\d+|(?<=[-_])([a-h]|left|right|open|closed|front|side|filled|outline|photo|flying|sitting|baby|head|"
    r"black|white|red|green|blue|brown|yellow|purple|orange|golden?|gimmel|hay|nun|shin))$"
)
CHESS_COLOUR = re.compile(r"^[bw]_\d_")
# By the first fitting path: these families are easy or hard for other reasons than things are.
FAMILIES = (
    ("digits", re.compile(r"symbols/math/\d$")),
    ("hand signs", re.compile(r"symbols/alphabets/asl/")),  # letters and digits shown by a hand
    ("letters", re.compile(r"symbols/alphabets/")),
    ("money", re.compile(r"symbols/money/")),
    ("symbols", re.compile(r"symbols/")),
)

STAMPS = pa.schema(
    [
        ("thing", pa.string()),
        ("category", pa.string()),
        ("family", pa.string()),
        ("group", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int8()),
        ("caption", pa.string()),
        ("captions", pa.map_(pa.string(), pa.string())),
        ("width", pa.int16()),
        ("height", pa.int16()),
        ("image", pa.binary()),
    ]
)
SPEECH = pa.schema(
    [("thing", pa.string()), ("language", pa.string()), ("seconds", pa.float32()), ("audio", pa.binary())]
)
EFFECTS = pa.schema(
    [("thing", pa.string()), ("seconds", pa.float32()), ("spoken", pa.bool_()), ("audio", pa.binary())]
)


def things_of(root: Path) -> list[str]:
    """Path stems under `root` that have both a caption and a picture, sorted."""
    stems = (file.relative_to(root).with_suffix("").as_posix() for file in root.rglob("*.txt"))
    return sorted(stem for stem in stems if any((root / f"{stem}{s}").exists() for s in (".png", ".svg")))


def captions_of(file: Path) -> dict[str, str]:
    """Language -> caption: the first line is English, the others say `language.utf8=caption`."""
    first, *others = file.read_text(encoding="utf-8-sig").splitlines()
    captions = {"en": first.strip()}
    for line in others:
        if (found := TRANSLATION.match(line)) and found["caption"].strip():
            captions[found["language"]] = found["caption"].strip()
    return captions


def picture_of(root: Path, thing: str) -> Image.Image:
    """RGBA, cropped; the SVG where there is one, as Tux Paint does, unless its letters need a system font."""
    svg, png = root / f"{thing}.svg", root / f"{thing}.png"
    if svg.exists() and not (png.exists() and SVG_TEXT.search(svg.read_text(encoding="utf-8"))):
        picture = drawings.render_svg(svg.read_text(encoding="utf-8"), RENDER_SIDE)
    else:
        with Image.open(png) as opened:
            picture = opened.convert("RGBA")
    return drawings.crop_and_shrink(picture, SIDE)


def family(thing: str) -> str:
    return next((name for name, pattern in FAMILIES if pattern.match(thing)), "other")


def base(thing: str) -> str:
    """What a thing shares with its variants: topmost folder and file name without number, side, colour, pose.

    Letters are one in upper and lower case, filled and outlined; the coins of a country are one.
    """
    top, name = thing.split("/")[0], thing.rsplit("/", 1)[-1].lower()
    if family(thing) in ("digits", "hand signs"):
        return f"{top}/{name}"  # numbers tell these apart
    if family(thing) == "money":
        return thing.rsplit("/", 1)[0]
    name = CHESS_COLOUR.sub("", name)
    while (shorter := VARIANT.sub("", name)) and shorter != name:
        name = shorter
    return f"{top}/{name}"


def components(names: list[str], pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Name -> the first name (in order) of all that it is joined with, however many pairs lie between."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for a, b in pairs:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return {name: root(name) for name in names}


def sharing(things: list[str], keys: list[str]) -> list[tuple[str, str]]:
    """Pairs of things with the same key."""
    first: dict[str, str] = {}
    return [(first.setdefault(key, thing), thing) for thing, key in zip(things, keys)]


def recordings_of(root: Path, things: set[str]) -> tuple[dict[tuple[str, str], Path], dict[str, Path]]:
    """(language, thing) -> spoken description, and thing -> sound effect.

    Sounds of no thing are left out; so are the digits and letters spoken in other languages ("7_fr.ogg").
    """
    spoken: dict[tuple[str, str], Path] = {}
    effects: dict[str, Path] = {}
    for file in sorted([*root.rglob("*.ogg"), *root.rglob("*.wav")]):
        stem = file.relative_to(root).with_suffix("").as_posix()
        if found := DESCRIPTION.search(stem):
            thing, language = stem[: found.start()], found["language"] or "en"
            if thing in things:
                spoken.setdefault((language, thing), file)
        elif stem in things:
            effects.setdefault(stem, file)
    return spoken, effects


def build(out: Path, work: Path, threads: int) -> None:
    """Fetches the package and writes the three tables, the licence and the hashes."""
    package = debian_package(*PACKAGE, work)
    root = package / "usr/share/tuxpaint/stamps"
    names = things_of(root)
    captions = [captions_of(root / f"{thing}.txt") for thing in names]
    pictures = [picture_of(root, thing) for thing in track(names, "pictures")]
    with ThreadPool(threads) as pool:
        images = pool.map(lambda picture: drawings.webp(picture, QUALITY), pictures)
    near = [(names[a], names[b]) for a, b, _ in near_pairs(pictures, NEAR, mirrored=True)]
    english = [normalised(caption["en"]) for caption in captions]
    # What looks nearly equal, is captioned equally or is a variant in name stays on one side of the split.
    groups = components(
        names, near + sharing(names, english) + sharing(names, [base(thing) for thing in names])
    )
    rows = []
    for thing, caption, picture, image in zip(names, captions, pictures, images):
        fold = tables.fraction_hash(f"stamps:{groups[thing]}") % FOLDS
        rows.append(
            {
                "thing": thing,
                "category": "/".join(thing.split("/")[:-1][:2]),
                "family": family(thing),
                "group": groups[thing],
                "split": "test" if fold in TEST_FOLDS else "train",
                "fold": fold,
                "caption": caption["en"],
                "captions": dict(sorted(caption.items())),
                "width": picture.width,
                "height": picture.height,
                "image": image,
            }
        )
    tables.write_mixed(rows, STAMPS, out / "stamps.parquet", rows_a_group=256, media="image")
    spoken, effects = recordings_of(root, set(names))
    wanted = sorted(
        (key for key in spoken if key[0] in LANGUAGES), key=lambda key: (LANGUAGES.index(key[0]), key[1])
    )

    def recording(file: Path, bits: int, application: str) -> dict:
        samples = sounds.read(file)[: LONGEST * sounds.RATE]
        heard = len(samples) and np.abs(samples).max() > SILENT
        audio = sounds.opus(samples, bits_a_second=bits, application=application) if heard else b""
        return {"seconds": len(samples) / sounds.RATE, "audio": audio}

    def speech_row(key: tuple[str, str]) -> dict:
        return {"thing": key[1], "language": key[0], **recording(spoken[key], SPEECH_BITS, "voip")}

    def effect_row(thing: str) -> dict:
        voice = family(thing) in ("letters", "digits")
        return {"thing": thing, "spoken": voice, **recording(effects[thing], EFFECT_BITS, "audio")}

    with ThreadPool(threads) as pool:
        speech_rows = list(track(pool.imap(speech_row, wanted, 16), "speech", total=len(wanted)))
        effect_rows = list(track(pool.imap(effect_row, sorted(effects)), "effects", total=len(effects)))
    for kind, all_rows in (("speech", speech_rows), ("effects", effect_rows)):
        silent = [row["thing"] for row in all_rows if not row["audio"]]
        print(f"{kind}: {len(silent)} silent recordings left out: {', '.join(silent)}")
        all_rows[:] = [row for row in all_rows if row["audio"]]
    tables.write_mixed(speech_rows, SPEECH, out / "speech.parquet", rows_a_group=1024, media="audio")
    tables.write_mixed(effect_rows, EFFECTS, out / "effects.parquet", rows_a_group=1024, media="audio")
    notes = package / "usr/share/doc" / PACKAGE[0]
    licences.write_stamps(out / "LICENSES", work, notes / "copyright", notes / "changelog.gz")
    tables.record(out)
    print(f"{len(rows)} things, {len(speech_rows)} descriptions, {len(effect_rows)} sounds -> {out}")


def main(out: Path = DATASETS / "stamps", work: Path = WORK, check: bool = False, threads: int = 2) -> None:
    """Build the stamps data set.

    out: folder to write to; work: folder for downloads; check: only compare the files with SHA256SUMS.
    """
    if check:
        tables.report_check(out)
        return
    try:
        build(out, work, threads)
    except FetchError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
