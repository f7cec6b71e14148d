"""The tables of the data cards, out of the census.

census -> Markdown -> README.md between the two census marks
"""

from __future__ import annotations

from collections.abc import Iterable

BEGIN, END = "<!-- census: begin (python tools/census.py) -->", "<!-- census: end -->"


def insert(card: str, name: str, census: dict) -> str:
    """The card with new tables between its marks. Raises ValueError when it has not got both."""
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"card of {name}: got no census marks; expected the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{TABLES[name](census)}\n{END}{after}"


def emoji(census: dict) -> str:
    alike = census["look-alikes"]
    artists = census["pictures by artist and split"]
    splits = list(census["things by split"])
    return "\n\n".join(
        [
            f"**{census['things']:,} things, {census['pictures']:,} pictures**, {_megabytes(census)}; "
            f"median long side {census['median long side']:.0f} pixels; drawn by "
            + " and by ".join(f"{n} artists: {k:,}" for n, k in census["things by number of artists"].items())
            + ".",
            _table(
                ["pictures by", *splits, "all"],
                [
                    [artist, *(counts.get(split, 0) for split in splits), sum(counts.values())]
                    for artist, counts in artists.items()
                ]
                + [["things", *census["things by split"].values(), census["things"]]],
            ),
            _table(["group", "things"], census["things by group"].items()),
            f"{census['families']:,} families; {census['families of several things']} of them have several members "
            f"({census['things in families of several']} things). "
            f"{census['unseen things with a relative in train']} of the {census['things by split']['unseen_thing']} "
            "unseen things have a relative of their family in train.",
            f"Names in {len(census['things named by language'])} languages, of all things unless a number says "
            "otherwise; in brackets the median number of tags: "
            + ", ".join(
                f"{language}{'' if n == census['things'] else f' {n}'} "
                f"({census['median tags by language'].get(language, 0):g})"
                for language, n in census["things named by language"].items()
            )
            + ".",
            _table(
                ["look-alikes, two things by one artist", "equal", "of these one unseen", "equal or nearly"],
                [
                    [artist, n["equal"], n["equal, one of them unseen"], n["nearly equal"]]
                    for artist, n in alike["two things, one artist"].items()
                ],
            ),
            "Across artists: "
            + "; ".join(f"{what}: {n}" for what, n in alike["across artists"].items())
            + ". `census.json` lists the equal pairs.",
            _table(
                [
                    "test pictures with a look-alike in train",
                    "pictures",
                    "equal",
                    "equal or nearly",
                    "of the same thing",
                ],
                [
                    [name, *n.values()]
                    for name, n in alike["test pictures with a look-alike in train"].items()
                ],
            ),
        ]
    )


def stamps(census: dict) -> str:
    effects = census["effects"]
    captions = census["captions by language"]
    return "\n\n".join(
        [
            f"**{census['things']} things with picture and English caption**, {_megabytes(census)}; "
            f"{census['distinct English captions']} distinct captions of {census['median words of a caption']:g} "
            f"words (median); {census['things that share a caption']} things share theirs with another; "
            f"{census['captions that name an emoji too']} captions are the name of an emoji too.",
            _table(
                ["family", "train", "test"],
                [
                    [family, counts.get("train", 0), counts.get("test", 0)]
                    for family, counts in census["things by family and split"].items()
                ]
                + [["all", census["things by split"]["train"], census["things by split"]["test"]]],
            ),
            f"{census['groups']} groups, {census['groups of several things']} of them of several things "
            f"({census['things in groups of several']} things); {len(census['near-duplicate pictures'])} pairs of "
            "near-duplicate pictures: "
            + ", ".join(f"`{a}` and `{b.rsplit('/', 1)[-1]}`" for a, b in census["near-duplicate pictures"])
            + ".",
            _table(
                ["spoken in", "clips", "train", "test", "minutes", "median seconds"],
                [
                    [language, n["clips"], n["train"], n["test"], n["minutes"], n["median seconds"]]
                    for language, n in census["speech by language"].items()
                ],
            ),
            f"{effects['clips']} sound effects ({effects['train']} train, {effects['test']} test), "
            f"{effects['minutes']} minutes, median {effects['median seconds']} s; "
            f"{effects['spoken letters and digits']} of them are spoken letters and digits.",
            _table(["long side, pixels", "pictures"], census["things by long side"].items()),
            f"Captions in {len(captions)} languages and variants: "
            + ", ".join(f"{language} {n}" for language, n in captions.items())
            + ".",
        ]
    )


TABLES = {"emoji": emoji, "stamps": stamps}


def _table(head: list, rows: Iterable) -> str:
    """Markdown; every column but the first is of numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _megabytes(census: dict) -> str:
    return f"{sum(census['bytes'].values()) / 1e6:.1f} MB"
