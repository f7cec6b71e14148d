"""The two data sets that come along, as samples: `emoji` and `stamps`.

datasets/emoji:   drawings of ~1,600 things by five artists, named in English
datasets/stamps:  ~950 drawn or photographed things, captioned in English, described aloud in other languages

Columns are named "image", "text" and "audio". What the data holds, where it is from, how it was split and what
it falls short of stands in the README.md of each folder.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sensorium.data.sample import Sample
from sensorium.media import Media, Source

DATASETS = ("emoji", "stamps")
ARTISTS = ("twemoji", "noto", "openmoji", "fluent-emoji-flat", "emojione")
UNSEEN_ARTIST = "fluent-emoji-flat"  # test only, by the published splits
TRAIN_ARTISTS = tuple(artist for artist in ARTISTS if artist != UNSEEN_ARTIST)
EMOJI_SPLITS = ("train", "unseen_thing")
STAMPS_SPLITS = ("train", "test")
FOLDER_VARIABLE = "SENSORIUM_DATASETS"

_ARTICLE = re.compile(r"^(an?|the|some) (?=\w)")


class BundledDataError(ValueError):
    """Bundled data that is not there, or a part of it that it does not have."""


def data_folder(name: str) -> Path:
    """The folder of a bundled data set.

    $SENSORIUM_DATASETS/<name> when that variable is set, else datasets/<name> of the checkout that this file
    lies in.
    Raises BundledDataError when the name is unknown or the folder is not there.
    """
    _one_of("bundled data set", name, DATASETS)
    if named := os.environ.get(FOLDER_VARIABLE):
        places = [Path(named)]
    else:
        places = [parent / "datasets" for parent in Path(__file__).resolve().parents]
    for place in places:
        if any((place / name).glob("*.parquet")):
            return place / name
    looked = f"in ${FOLDER_VARIABLE} ({named})" if named else "in the folders above the installed package"
    raise BundledDataError(
        f"bundled data {name!r}: got no datasets/{name} with Parquet files {looked}; clone the repository "
        f"and set {FOLDER_VARIABLE}=<clone>/datasets"
    )


def emoji(
    split: str | None = None, artists: Sequence[str] | None = None, folder: Path | None = None
) -> list[Sample]:
    """One sample a drawing: columns "image" and "text" (its English name).

    split: "train", "unseen_thing" (one thing in ten, held out in every drawing) or None for both
    artists: whose drawings, all by default. Train on TRAIN_ARTISTS; UNSEEN_ARTIST is for tests
    folder: another place of the data set

    Drawings of one thing share a meaning. Fields: thing, artist, split, fold, family, group, emoji, names
    (language -> name), tags (language -> tags).
    Raises BundledDataError for an unknown split or artist, or when the data is not there.
    """
    if split is not None:
        _one_of("split of emoji", split, EMOJI_SPLITS)
    for artist in artists or ():
        _one_of("artist", artist, ARTISTS)
    folder = folder or data_folder("emoji")
    things = _read(folder / "things.parquet")
    names, tags = _maps(things, "names"), _maps(things, "tags")
    plain = things.select(["thing", "split", "fold", "family", "group", "emoji", "caption"]).to_pylist()
    known = {row["thing"]: {**row, "names": n, "tags": t} for row, n, t in zip(plain, names, tags)}
    pictures = _read(folder / "pictures.parquet")
    if artists is not None:
        pictures = pictures.filter(pc.is_in(pictures["artist"], pa.array(list(artists), pa.string())))
    if split is not None:
        wanted = [thing for thing, row in known.items() if row["split"] == split]
        pictures = pictures.filter(pc.is_in(pictures["thing"], pa.array(wanted, pa.string())))
    samples = []
    for thing, artist, data in _columns(pictures, "thing", "artist", "image"):
        fields = {**known[thing], "artist": artist}
        caption = fields.pop("caption")
        samples.append(
            Sample(
                id=f"emoji/{artist}/{thing}",
                columns={
                    "image": Source("image", data=data, name=f"emoji/{artist}/{thing}"),
                    "text": caption,
                },
                modality={"image": "image", "text": "text"},
                meanings=(f"emoji:{thing}", f"caption:{normalised(caption)}"),
                fields=fields,
            )
        )
    return samples


def stamps(split: str | None = None, language: str | None = "fr", folder: Path | None = None) -> list[Sample]:
    """One sample a thing: columns "image", "text" (English caption) and, where someone speaks it, "audio".

    split: "train", "test" or None for both; near-duplicates and equal captions stand on one side
    language: of the spoken descriptions; None leaves them out
    folder: another place of the data set

    Equal captions are one meaning. Things that look nearly equal or are variants of each other ("p" and "q",
    "less than" and "greater than", the coins of a country) are not: they share a group, which only keeps them on
    one side of the split. Fields: thing, split, fold, family ("letters", "digits", "hand signs", "money",
    "symbols": reported apart from "other"), group, category, captions (language -> caption), language.
    Raises BundledDataError for an unknown split or language, or when the data is not there.
    """
    if split is not None:
        _one_of("split of stamps", split, STAMPS_SPLITS)
    folder = folder or data_folder("stamps")
    spoken = {} if language is None else speech([language], folder)[language]
    table = _read(folder / "stamps.parquet")
    if split is not None:
        table = table.filter(pc.equal(table["split"], split))
    plain = table.select(["thing", "split", "fold", "family", "group", "category"]).to_pylist()
    samples = []
    for fields, captions, (caption, data) in zip(
        plain, _maps(table, "captions"), _columns(table, "caption", "image")
    ):
        thing = fields["thing"]
        columns: dict[str, Media | Source] = {
            "image": Source("image", data=data, name=f"stamps/{thing}"),
            "text": caption,
        }
        if thing in spoken:
            columns["audio"] = spoken[thing]
        samples.append(
            Sample(
                id=f"stamps/{thing}",
                columns=columns,
                modality={"image": "image", "text": "text", "audio": "audio"},
                meanings=(f"stamps:{thing}", f"caption:{normalised(caption)}"),
                fields={**fields, "captions": captions, "language": language},
            )
        )
    return samples


def speech(
    languages: Sequence[str] | None = None, folder: Path | None = None
) -> dict[str, dict[str, Source]]:
    """Spoken descriptions of stamps: language -> thing -> sound; every language by default.

    Raises BundledDataError for a language that nobody speaks here.
    """
    folder = folder or data_folder("stamps")
    table = _read(folder / "speech.parquet")
    spoken = tuple(dict.fromkeys(table["language"].to_pylist()))
    for language in languages or ():
        _one_of("language of speech", language, spoken)
    found: dict[str, dict[str, Source]] = {language: {} for language in languages or spoken}
    for language, thing, data in _columns(table, "language", "thing", "audio"):
        if language in found:
            found[language][thing] = Source("audio", data=data, name=f"stamps/{thing}, spoken in {language}")
    return found


def effects(folder: Path | None = None) -> list[Sample]:
    """What stamps sound like, one sample a sound: columns "image" and "audio".

    Fields: thing, split, family, category, caption, spoken (True: a spoken letter or digit, not a noise).
    """
    folder = folder or data_folder("stamps")
    things = {sample.fields["thing"]: sample for sample in stamps(language=None, folder=folder)}
    samples = []
    for thing, spoken, data in _columns(_read(folder / "effects.parquet"), "thing", "spoken", "audio"):
        stamp = things[thing]
        sound = Source("audio", data=data, name=f"stamps/{thing}, its sound")
        samples.append(
            Sample(
                id=f"effects/{thing}",
                columns={"image": stamp.columns["image"], "audio": sound},
                modality={"image": "image", "audio": "audio"},
                meanings=stamp.meanings,
                fields={
                    **{name: stamp.fields[name] for name in ("thing", "split", "family", "category")},
                    "caption": stamp.columns["text"],
                    "spoken": spoken,
                },
            )
        )
    return samples


def normalised(caption: str) -> str:
    """ "A  Crow." -> "crow": captions that say the same in other letters are one meaning."""
    plain = " ".join(unicodedata.normalize("NFKC", caption).casefold().split())
    return _ARTICLE.sub("", plain.strip(" .!?…"))


def _one_of(what: str, got: str, valid: Sequence[str]) -> None:
    if got not in valid:
        raise BundledDataError(f"{what}: got {got!r}; expected one of {', '.join(valid)}")


def _read(path: Path) -> pa.Table:
    if not path.exists():
        raise BundledDataError(f"bundled data: got no {path}; expected a Parquet file (tools/ rebuilds it)")
    try:
        return pq.read_table(path, partitioning=None).combine_chunks()
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise BundledDataError(f"bundled data: got a damaged {path} ({reason}); fetch it again") from error


def _columns(table: pa.Table, *names: str) -> zip:
    return zip(*(table[name].to_pylist() for name in names))


def _maps(table: pa.Table, name: str) -> list[dict[str, Any]]:
    """A map column as dicts. NumPy slices of the flat arrays: `to_pylist` takes a second for the tags."""
    column = table[name].combine_chunks()
    keys = column.keys.to_numpy(zero_copy_only=False).tolist()
    items = column.items
    if pa.types.is_list(items.type):
        flat = items.values.to_numpy(zero_copy_only=False).tolist()
        ends = items.offsets.to_pylist()
        values: list = [flat[start:end] for start, end in pairwise(ends)]
    else:
        values = items.to_numpy(zero_copy_only=False).tolist()
    bounds = column.offsets.to_pylist()
    return [dict(zip(keys[start:end], values[start:end])) for start, end in pairwise(bounds)]
