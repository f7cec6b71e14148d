"""Licence texts and attributions that travel with the data.

spdx-license-list (npm) + what is known of each author -> LICENSES/*.txt
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from fetch import npm_package

# The full texts, by their SPDX names.
TEXTS_PACKAGE = (
    "spdx-license-list",
    "6.12.0",
    "sha512-+nUYqm3aZMSHbjsthK+i/HHI2okTElCvqwUd4k8QcSk+FTGgjq+fsdFj2wZOaX6XmR2JdWhf/NeflNnvKOjcnQ==",
)
DRAWING_CHANGES = (
    "each SVG drawing was rendered to pixels, cropped to what is seen, made at most 160 pixels long, and "
    "compressed as lossy WebP with alpha; skin tones, flags, keycaps and clock faces were left out"
)


@dataclass(frozen=True)
class Work:
    """One author's work: what must be said wherever it is passed on."""

    title: str
    author: str
    project: str
    package: str
    licence: str  # SPDX
    changes: str
    notice: str = ""  # copyright line that takes the place of the one in the licence's text


EMOJI = {
    "twemoji": Work(
        "Twemoji",
        "Copyright 2014-2021 Twitter, Inc and other contributors; since then jdecked and contributors",
        "https://github.com/jdecked/twemoji",
        "@iconify-json/twemoji 1.2.5 (npm)",
        "CC-BY-4.0",
        DRAWING_CHANGES,
    ),
    "noto": Work(
        "Noto Emoji",
        "Google Inc",
        "https://github.com/googlefonts/noto-emoji",
        "@iconify-json/noto 1.2.9 (npm)",
        "Apache-2.0",
        DRAWING_CHANGES,
    ),
    "openmoji": Work(
        "OpenMoji",
        "OpenMoji, the open-source emoji and icon project of HfG Schwäbisch Gmünd, and contributors",
        "https://github.com/hfg-gmuend/openmoji",
        "@iconify-json/openmoji 1.2.29 (npm)",
        "CC-BY-SA-4.0",
        DRAWING_CHANGES + "; the changed pictures are passed on under the same licence",
    ),
    "fluent-emoji-flat": Work(
        "Fluent Emoji (flat)",
        "Microsoft Corporation",
        "https://github.com/microsoft/fluentui-emoji",
        "@iconify-json/fluent-emoji-flat 1.2.6 (npm)",
        "MIT",
        DRAWING_CHANGES,
        "Copyright (c) Microsoft Corporation.",
    ),
    "emojione": Work(
        "Emoji One 2.3.0 (today EmojiTwo)",
        "Emoji One / Ranks.com Inc., EmojiTwo and contributors",
        "https://github.com/EmojiTwo/emojitwo",
        "@iconify-json/emojione 1.2.3 (npm)",
        "CC-BY-4.0",
        DRAWING_CHANGES,
    ),
    "emojibase": Work(
        "emojibase-data: names, tags and groups in 28 languages",
        "Miles Johnson; the names come from the Unicode Common Locale Data Repository",
        "https://github.com/milesj/emojibase",
        "emojibase-data 17.0.0 (npm)",
        "MIT",
        "selected, keyed by code points, and stored as Parquet; families, splits and folds were added",
        "Copyright (c) 2017-2019 Miles Johnson",
    ),
}

STAMPS = Work(
    "Tux Paint Stamps 2022.06.04",
    "Bill Kendrick and the contributors named in CONTRIBUTORS-AND-CHANGES.txt",
    "http://www.tuxpaint.org",
    "tuxpaint-stamps-default 2022.06.04-1 (Debian)",
    "GPL-2.0-or-later",
    "in November 2026: pictures cropped to what is seen, made at most 256 pixels long, and compressed as lossy "
    "WebP with alpha; recordings made mono at 16 kHz, cut after 15 seconds, and compressed as Opus; captions, "
    "pictures and recordings collected in Parquet files; some languages' recordings left out. "
    "tools/build_stamps.py does it from the package, which is the source",
)


def write_emoji(folder: Path, work: Path) -> None:
    """One attribution file an author, and one full text a licence."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = npm_package(*TEXTS_PACKAGE, work) / "licenses"
    for name, made in EMOJI.items():
        (folder / f"{name}.txt").write_text(attribution(made))
    for licence in sorted({made.licence for made in EMOJI.values()} - {"MIT"}):
        (folder / f"{licence}.txt").write_text(_text(texts, licence))
    for name, made in EMOJI.items():
        if made.licence == "MIT":  # its text carries the author's name, so each author has an own one
            text = _text(texts, "MIT").replace("Copyright (c) <year> <copyright holders>", made.notice)
            assert made.notice in text
            (folder / f"MIT-{name}.txt").write_text(text)


def write_stamps(folder: Path, work: Path, copyright: Path, changes: Path) -> None:
    """The GPL's text, the package's copyright file, and its list of changes, which names the contributors."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = npm_package(*TEXTS_PACKAGE, work) / "licenses"
    (folder / "tuxpaint-stamps.txt").write_text(attribution(STAMPS))
    (folder / f"{STAMPS.licence}.txt").write_text(_text(texts, STAMPS.licence))
    (folder / "copyright.txt").write_text(copyright.read_text())
    (folder / "CONTRIBUTORS-AND-CHANGES.txt").write_bytes(gzip.decompress(changes.read_bytes()))


def attribution(made: Work) -> str:
    """What CC-BY asks for, said of every author: title, author, project, licence, changes."""
    name = made.package.split(" ")[0].split("/")[-1].removesuffix("-data")
    text = f"MIT-{name}.txt" if made.notice else f"{made.licence}.txt"
    return (
        f"Title:    {made.title}\nAuthor:   {made.author}\nProject:  {made.project}\n"
        f"Taken from: {made.package}\nLicence:  {made.licence} (full text: {text})\n"
        f"Changes:  {made.changes}\n"
    )


def _text(texts: Path, licence: str) -> str:
    return json.loads((texts / f"{licence}.json").read_text())["licenseText"].rstrip() + "\n"
