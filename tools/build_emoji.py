"""Builds datasets/emoji from npm packages: the same things drawn by five artists, named in many languages.

emojibase-data -> things.parquet
@iconify-json/… (SVG) -> RGBA -> pictures.parquet

    python tools/build_emoji.py            # fetches the packages, writes the data set (about two minutes)
    python tools/build_emoji.py --check    # only compares the files that are there with SHA256SUMS
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import tyro
from rich.progress import track

import drawings
import licences
import tables
from fetch import WORK, FetchError, npm_package
from tables import DATASETS

# name, version, integrity of the archive as npm gives it
NAMES_PACKAGE = (
    "emojibase-data",
    "17.0.0",
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
)
ARTISTS = {
    "twemoji": (
        "1.2.5",
        "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    "noto": (
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "openmoji": (
        "1.2.29",
        "sha512-vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ==",
    ),
    "fluent-emoji-flat": (
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
    "emojione": (
        "1.2.3",
        "sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
    ),
}
FEWEST_ARTISTS = 4
RENDER_SIDE, SIDE, QUALITY = 320, 160, 75  # pixels, pixels, WebP quality
FOLDS, UNSEEN_FOLD = 10, 0
LEFT_OUT_GROUPS = {"component", "flags"}
LEFT_OUT_SUBGROUPS = {"keycap"}
CLOCK_FACE = re.compile(r"(o’clock|-thirty)$")

# One person drawn as man, woman, child or facing the other way is one family: these words do not count.
PEOPLE_WORDS = re.compile(
    r"\b(m[ae]n|wom[ae]n|persons?|people|boys?|girls?|child(ren)?|adult|and|older|old|facing right)\b"
)
COUPLES = ("family:", "kiss:", "couple with heart:")
NAMED_FAMILIES = {
    "prince": "royalty",
    "princess": "royalty",
    "person with crown": "royalty",
    "Santa Claus": "claus",
    "Mrs. Claus": "claus",
    "Mx Claus": "claus",
    "mermaid": "merperson",
    "merman": "merperson",
}

THINGS = pa.schema(
    [
        ("thing", pa.string()),
        ("emoji", pa.string()),
        ("group", pa.string()),
        ("subgroup", pa.string()),
        ("family", pa.string()),
        ("split", pa.string()),
        ("fold", pa.int8()),
        ("caption", pa.string()),
        ("names", pa.map_(pa.string(), pa.string())),
        ("tags", pa.map_(pa.string(), pa.list_(pa.string()))),
    ]
)
PICTURES = pa.schema(
    [
        ("thing", pa.string()),
        ("artist", pa.string()),
        ("width", pa.int16()),
        ("height", pa.int16()),
        ("image", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Artist:
    """One icon set: drawings by name, other names of them, and the name of each code point sequence."""

    name: str
    icons: dict
    names: dict[str, str]  # "1f600" -> "grinning-face"

    @classmethod
    def read(cls, name: str, folder: Path) -> Artist:
        icons = json.loads((folder / "icons.json").read_text())
        chars = json.loads((folder / "chars.json").read_text())
        return cls(name, icons, {plain_code(code): icon for code, icon in chars.items()})

    def root(self, icon: str) -> str | None:
        """The drawing that a name stands for, None if there is none."""
        while icon in self.icons["aliases"]:
            icon = self.icons["aliases"][icon]["parent"]
        return icon if icon in self.icons["icons"] else None

    def svg(self, icon: str) -> str:
        """The drawing as an SVG document; mirrored or turned names are drawn so (IconifyJSON, "aliases")."""
        chain = []
        while icon in self.icons["aliases"]:
            chain.append(self.icons["aliases"][icon])
            icon = chain[-1]["parent"]
        drawn = self.icons["icons"][icon]
        width, height = (drawn.get(side, self.icons[side]) for side in ("width", "height"))
        assert not {"rotate", "left", "top"} & set().union(drawn, *chain), (
            f"{self.name} {icon}: not drawn here"
        )
        turns = ""
        if sum(alias.get("hFlip", False) for alias in chain) % 2:
            turns += f"translate({width} 0) scale(-1 1) "
        if sum(alias.get("vFlip", False) for alias in chain) % 2:
            turns += f"translate(0 {height}) scale(1 -1) "
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
            f'<g transform="{turns.strip()}">{drawn["body"]}</g></svg>'
        )


def plain_code(code: str) -> str:
    """A code point sequence in lower case without variation selectors: how the sources agree on a thing."""
    return "-".join(point for point in code.lower().split("-") if point != "fe0f")


def slug(label: str) -> str:
    """As icon sets name their drawings: "piñata: O'Brien & co" -> "pinata-obrien-and-co"."""
    ascii_label = unicodedata.normalize("NFKD", label.replace("’", "")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_label.lower().replace("&", "and").replace("'", "")).strip("-")


def family(group: str, label: str) -> str:
    """Things that differ only in who is drawn (man, woman, person, child, facing right) share one key."""
    if group != "people-body":
        return slug(label)
    if label in NAMED_FAMILIES:
        return NAMED_FAMILIES[label]
    label = label.split(":")[0] if label.startswith(COUPLES) else label
    return slug(PEOPLE_WORDS.sub(" ", label.replace("’s", ""))) or "person"


def candidates(names_folder: Path) -> list[dict]:
    """Emoji that are things, in the order of the standard: no skin tones, flags, keycaps or clock faces."""
    labels = json.loads((names_folder / "meta" / "groups.json").read_text())
    found = []
    for emoji in json.loads((names_folder / "en" / "data.json").read_text()):
        if "group" not in emoji:  # regional indicators
            continue
        group, subgroup = labels["groups"][str(emoji["group"])], labels["subgroups"][str(emoji["subgroup"])]
        if group in LEFT_OUT_GROUPS or subgroup in LEFT_OUT_SUBGROUPS or CLOCK_FACE.search(emoji["label"]):
            continue
        found.append({**emoji, "group": group, "subgroup": subgroup, "thing": plain_code(emoji["hexcode"])})
    return sorted(found, key=lambda emoji: emoji["order"])


def icons_of(artist: Artist, emoji: list[dict], others: list[Artist]) -> dict[str, str]:
    """Thing -> name of the artist's drawing of it.

    emojione comes without code points: its drawings are found by today's name first, then by the names that
    the other artists give to the same code points. A drawing is used once.
    """
    if artist.names:
        return {e["thing"]: artist.names[e["thing"]] for e in emoji if e["thing"] in artist.names}
    found: dict[str, str] = {}
    taken: set[str] = set()
    for tries in (
        lambda e: [slug(e["label"])],
        lambda e: [o.names[e["thing"]] for o in others if e["thing"] in o.names],
        lambda e: [
            alias
            for o in others
            for alias, entry in sorted(o.icons["aliases"].items())
            if entry["parent"] == o.names.get(e["thing"])
        ],
    ):
        for e in emoji:
            for name in tries(e) if e["thing"] not in found else ():
                root = artist.root(name)
                if root is not None and root not in taken:
                    found[e["thing"]] = name
                    taken.add(root)
                    break
    return found


def names_and_tags(names_folder: Path) -> dict[str, dict[str, dict]]:
    """Thing -> {"names": {language: label}, "tags": {language: labels}} in every language of the package."""
    table: dict[str, dict[str, dict]] = {}
    for file in sorted(names_folder.glob("*/data.json")):
        language = file.parent.name
        for emoji in json.loads(file.read_text()):
            entry = table.setdefault(plain_code(emoji["hexcode"]), {"names": {}, "tags": {}})
            entry["names"][language] = emoji["label"]
            if emoji.get("tags"):
                entry["tags"][language] = emoji["tags"]
    return table


def build(out: Path, work: Path) -> None:
    """Fetches the packages and writes the two tables, the licences and the hashes."""
    names_folder = npm_package(*NAMES_PACKAGE, work)
    artists = [
        Artist.read(name, npm_package(f"@iconify-json/{name}", version, integrity, work))
        for name, (version, integrity) in ARTISTS.items()
    ]
    emoji = candidates(names_folder)
    icons = {a.name: icons_of(a, emoji, [o for o in artists if o.names]) for a in artists}
    words = names_and_tags(names_folder)
    things = []
    for e in emoji:
        if sum(e["thing"] in drawn for drawn in icons.values()) < FEWEST_ARTISTS:
            continue
        fold = tables.fraction_hash(f"emoji:{e['thing']}") % FOLDS
        things.append(
            {
                "thing": e["thing"],
                "emoji": e["emoji"],
                "group": e["group"],
                "subgroup": e["subgroup"],
                "family": family(e["group"], e["label"]),
                "split": "unseen_thing" if fold == UNSEEN_FOLD else "train",
                "fold": fold,
                "caption": e["label"],
                "names": sorted(words[e["thing"]]["names"].items()),
                "tags": sorted(words[e["thing"]]["tags"].items()),
            }
        )
    pictures = []
    for artist in artists:
        for thing in track(things, description=f"drawing {artist.name}"):
            icon = icons[artist.name].get(thing["thing"])
            if icon is None:
                continue
            drawn = drawings.crop_and_shrink(drawings.render_svg(artist.svg(icon), RENDER_SIDE), SIDE)
            pictures.append(
                {
                    "thing": thing["thing"],
                    "artist": artist.name,
                    "width": drawn.width,
                    "height": drawn.height,
                    "image": drawings.webp(drawn, QUALITY),
                }
            )
    tables.write(things, THINGS, out / "things.parquet", rows_a_group=256)
    tables.write(pictures, PICTURES, out / "pictures.parquet", rows_a_group=128, media=True)
    licences.write_emoji(out / "LICENSES", work)
    tables.record(out)
    print(f"{len(things)} things, {len(pictures)} pictures -> {out}")


def main(out: Path = DATASETS / "emoji", work: Path = WORK, check: bool = False) -> None:
    """Build the emoji data set.

    out: folder to write to; work: folder for downloads; check: only compare the files with SHA256SUMS.
    """
    if check:
        tables.report_check(out)
        return
    try:
        build(out, work)
    except FetchError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
