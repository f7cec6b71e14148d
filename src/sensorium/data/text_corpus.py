"""The names, tags and captions of the bundled data as a corpus of short documents in several languages.

emoji and stamps ──► [Document] ──► a tokenizer's ids ──► pairs (masking.py) | windows of a language

A document is one thing in one language: an emoji's name and the words that people search it by, or a stamp's caption.
All languages of a thing stand on one side of the published splits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.data import bundled
from sensorium.data.conversation import Rendered
from sensorium.data.packing import pack
from sensorium.data.tokens import TokenBatch

# In both data sets, in four scripts and of four families; others that have both can be asked for.
LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "nl", "ru")
SPLITS = {"train": ("train", "train"), "test": ("unseen_thing", "test")}  # -> splits of emoji and of stamps
WORDS = 4  # that a caption must have to be read as two spans
LABEL = ": "  # between a name and its tags, as a model of running text reads them


@dataclass(frozen=True)
class Document:
    """One thing in one language.

    first, second: two spans of text, the second following the first: a name and its tags, or the halves of a
                   caption ("sentences" in the sense of Devlin et al. 2019, §3.1); second is "" where a text
                   is too short to have two
    text:          the whole of it
    group:         of an emoji, as Unicode sorts them; None for a stamp
    """

    thing: str
    language: str
    first: str
    second: str
    tags: tuple[str, ...] = ()
    group: str | None = None

    @property
    def text(self) -> str:
        return self.worded(self.tags)

    def worded(self, tags: Sequence[str]) -> str:
        """The whole text with its tags in this order."""
        if self.tags:
            return f"{self.first}{LABEL}{', '.join(tags)}"
        return f"{self.first} {self.second}".strip()


def documents(
    split: str = "train", languages: Sequence[str] = LANGUAGES, limit: int | None = None
) -> list[Document]:
    """The corpus, things in the order of the data sets, a thing's languages side by side.

    split: "train", or "test": things that no training text speaks of
    limit: so many things of either data set, evenly spread

    Raises ValueError for an unknown split and for a language that a data set does not have.
    """
    if split not in SPLITS:
        raise ValueError(f"split of the corpus: got {split!r}; expected one of {', '.join(SPLITS)}")
    of_emoji, of_stamps = SPLITS[split]
    emoji = _some([sample.fields for sample in bundled.emoji(of_emoji, ["twemoji"])], limit)
    stamps = _some([sample.fields for sample in bundled.stamps(of_stamps, language=None)], limit)
    known = sorted({*emoji[0]["names"]} & {language for fields in stamps for language in fields["captions"]})
    if not languages or (strange := [language for language in languages if language not in known]):
        got = ", ".join(strange) if languages else "none"
        raise ValueError(f"languages: got {got}; expected some of {', '.join(known)}")
    made = []
    for fields in emoji:
        for language in languages:
            tags = tuple(tidy(tag) for tag in fields["tags"].get(language, ()))
            name = tidy(fields["names"][language])
            made.append(Document(fields["thing"], language, name, ", ".join(tags), tags, fields["group"]))
    for fields in stamps:
        for language in languages:
            if language in fields["captions"]:
                first, second = halves(tidy(fields["captions"][language]))
                made.append(Document(fields["thing"], language, first, second))
    return made


def _some(things: list[Any], limit: int | None) -> list[Any]:
    """So many, evenly spread: neighbours are alike."""
    return things if limit is None else things[:: max(1, len(things) // limit)][:limit]


def tidy(text: str) -> str:
    """One form of each character, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def halves(caption: str) -> tuple[str, str]:
    """Two spans of as many words, the first one longer by a word if they are odd; a short text stays whole."""
    words = caption.split(" ")
    if len(words) < WORDS:
        return caption, ""
    middle = (len(words) + 1) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])


class Windows(Sequence[np.ndarray]):
    """Documents of one language behind each other, cut to one length, as a causal language model trains on.

        end │ document i │ end │ another, by chance │ end │ … cut at `length` + 1 tokens

    Item i begins with document i; which others follow, and the order of every document's tags, are drawn anew each
    time from NumPy's global generator, which the training loop seeds for every item. What stands before a document
    so tells its language and the form of its text, as a prompt with examples does.

    documents: of any languages; tokenizer: of `transformers`, with an end token; length: tokens predicted an item
    """

    def __init__(self, documents: Sequence[Document], tokenizer: Any, length: int = 128) -> None:
        self.documents, self.tokenizer, self.length = list(documents), tokenizer, length
        self.of_language: dict[str, list[int]] = {}
        for place, document in enumerate(self.documents):
            self.of_language.setdefault(document.language, []).append(place)

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, place: Any) -> Any:
        """int64[length + 1]"""
        if not 0 <= place < len(self):
            raise IndexError(place)
        others = self.of_language[self.documents[place].language]
        ids = [self.tokenizer.eos_token_id]
        while len(ids) <= self.length:
            document = self.documents[place]
            tags = [document.tags[which] for which in np.random.permutation(len(document.tags))]
            ids += [*self.tokenizer(document.worded(tags))["input_ids"], self.tokenizer.eos_token_id]
            place = others[np.random.randint(len(others))]
        return np.array(ids[: self.length + 1])


def as_batch(rows: Sequence[Sequence[int] | np.ndarray], names: Sequence[str] = ()) -> TokenBatch:
    """Token ids -> one row a sequence (several where short ones fit), every token but the first a target."""
    read = [Rendered(np.array(ids), np.arange(len(ids)) > 0, (), ()) for ids in rows]
    return pack(read, share_prefixes=False).batch({}, names or [str(row) for row in range(len(rows))])
