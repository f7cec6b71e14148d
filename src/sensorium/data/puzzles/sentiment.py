"""How someone feels about a thing: a sentence, the way in which a voice names the thing, and a face.

Three signs, each + or - by a coin: what the sentence says, how lively the voice is, what the face shows.
The sentiment is what most of them say, its strength their sum. Any two signs may cancel out, so one column
is right three times in four at best, and all three always.

text    an English sentence about a stamp                                  "What a lovely seahorse!"
audio   a recorded description of the same stamp in another language, its prosody changed (prosody.py)
image   a drawn face

train, validation   drawings by four artists, voices in French, Spanish and Catalan; validation has one fold of
                    the faces and of the things, and sentences of its own
test                drawings by the unseen artist, the test things of stamps, a voice in Russian more, other sentences
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import product

from sensorium.data import bundled
from sensorium.data.puzzles.definition import VALIDATION_FOLD, Puzzle, balanced
from sensorium.data.puzzles.prosody import said
from sensorium.data.sample import Sample
from sensorium.media import Audio, Source
from sensorium.tasks import Number, OneOf

LABELS = {-1: "negative", 1: "positive"}
SIGNS = tuple(product((-1, 1), repeat=3))  # text, audio, image

# By their English names: faces that smile or laugh, and faces that are sad, afraid or angry. Left out: what means both
# or neither (upside-down, thinking, sweating with a grin), kisses, tongues, ill faces and cats.
POSITIVE_FACES = (
    "grinning face",
    "grinning face with big eyes",
    "grinning face with smiling eyes",
    "beaming face with smiling eyes",
    "grinning squinting face",
    "rolling on the floor laughing",
    "face with tears of joy",
    "slightly smiling face",
    "winking face",
    "smiling face",
    "smiling face with smiling eyes",
    "smiling face with halo",
    "smiling face with hearts",
    "smiling face with heart-eyes",
    "smiling face with open hands",
    "smiling face with sunglasses",
    "star-struck",
    "face savoring food",
    "partying face",
    "cowboy hat face",
)
NEGATIVE_FACES = (
    "unamused face",
    "pensive face",
    "confused face",
    "face with diagonal mouth",
    "worried face",
    "slightly frowning face",
    "frowning face",
    "frowning face with open mouth",
    "anguished face",
    "fearful face",
    "anxious face with sweat",
    "crying face",
    "loudly crying face",
    "face screaming in fear",
    "confounded face",
    "persevering face",
    "disappointed face",
    "downcast face with sweat",
    "weary face",
    "tired face",
    "face with steam from nose",
    "enraged face",
    "angry face",
    "angry face with horns",
    "face with symbols on mouth",
)

# By split: sentences for both signs with a word of the sign, the words, and sentences of one sign.
FRAMES = {
    "train": (
        "What {a_word} {thing}!",
        "This {thing} is {word}.",
        "I find the {thing} {word}.",
        "Have you seen the {thing}? It is really {word}.",
        "The {thing} looks {word} to me.",
        "Another {thing}, and it is {word} too.",
    ),
    "validation": ("I must say, {a_word} {thing}.", "To me the {thing} seems {word}."),
    "test": (
        "Look, {a_word} {thing}.",
        "Everybody here thinks that the {thing} is {word}.",
        "So this is the {thing}: {word}, if you ask me.",
    ),
}
WORDS: dict[str, dict[int, tuple[str, ...]]] = {
    "train": {
        1: ("wonderful", "lovely", "delightful", "beautiful", "charming", "brilliant", "perfect", "great"),
        -1: ("awful", "horrible", "dreadful", "ugly", "disgusting", "terrible", "useless", "bad"),
    },
    "validation": {1: ("marvellous", "superb", "nice"), -1: ("ghastly", "unpleasant", "poor")},
    "test": {
        1: ("fantastic", "gorgeous", "excellent", "amazing", "pleasant"),
        -1: ("disappointing", "nasty", "hideous", "annoying", "pathetic"),
    },
}
SENTENCES: dict[str, dict[int, tuple[str, ...]]] = {
    "train": {
        1: (
            "I love this {thing}.",
            "The {thing} makes me so happy.",
            "I am very pleased with the {thing}.",
            "Thank you for the {thing}, what a joy!",
        ),
        -1: (
            "I hate this {thing}.",
            "The {thing} makes me so sad.",
            "I am very angry about the {thing}.",
            "Take the {thing} away, what a pain!",
        ),
    },
    "validation": {
        1: ("We enjoy the {thing} every day.",),
        -1: ("We regret the {thing} every day.",),
    },
    "test": {
        1: ("I adore that {thing}.", "The {thing} was a great success.", "That {thing} cheered me up."),
        -1: (
            "I cannot stand that {thing}.",
            "The {thing} was a complete failure.",
            "That {thing} upset me a lot.",
        ),
    },
}

VOICES = {
    "train": ("fr", "es", "ca"),
    "validation": ("fr", "es", "ca"),
    "test": ("fr", "es", "ca", "ru"),
}
_NAME = re.compile(r"An? ([a-z]+( [a-z]+)?)\.")  # captions that are a name: "A seahorse.", not "Happy!"


def rows(split: str, seed: int) -> Callable[[int], Sample]:
    faces, things = _faces(split), _things(split)

    def row(i: int) -> Sample:
        id = f"sentiment/{split}/{seed}/{i}"
        signs = balanced(SIGNS, f"sentiment/{split}/{seed}", i)
        text, audio, image = signs
        draw = random.Random(id)
        thing, name = draw.choice(things)
        language = draw.choice([code for code in VOICES[split] if thing in _speech()[code]])
        face = draw.choice(faces[image])
        return Sample(
            id=id,
            columns={
                "text": _sentence(draw, split, text, name),
                "audio": _voice(language, thing, audio),
                "image": face.columns["image"],
            },
            modality=PUZZLE.modality,
            fields={
                "sentiment": LABELS[1 if sum(signs) > 0 else -1],
                "strength": sum(signs),
                "hidden": {"text": text, "audio": audio, "image": image},
                "thing": thing,
                "language": language,
                "face": face.fields["thing"],
                "artist": face.fields["artist"],
            },
        )

    return row


def _sentence(draw: random.Random, split: str, sign: int, thing: str) -> str:
    template = draw.choice(FRAMES[split] + SENTENCES[split][sign])
    word = draw.choice(WORDS[split][sign])
    article = "an" if word[0] in "aeiou" and word != "useless" else "a"
    return template.format(thing=thing, word=word, a_word=f"{article} {word}")


@lru_cache(maxsize=4096)
def _voice(language: str, thing: str, sign: int) -> Audio:
    """A clip is changed once in each way: features of it can be computed once and kept."""
    audio = _speech()[language][thing].decode()
    assert isinstance(audio, Audio)
    return said(audio, sign, f"{language}/{thing}")


@lru_cache(maxsize=1)
def _speech() -> dict[str, dict[str, Source]]:
    return bundled.speech(VOICES["test"])


@lru_cache(maxsize=4)
def _things(split: str) -> tuple[tuple[str, str], ...]:
    """Stamps whose caption is a name and whom somebody describes aloud: (thing, "seahorse")."""
    found = []
    for sample in bundled.stamps("test" if split == "test" else "train", language=None):
        name = _NAME.fullmatch(str(sample.columns["text"]))
        spoken = any(sample.fields["thing"] in _speech()[language] for language in VOICES[split])
        validates = sample.fields["fold"] == VALIDATION_FOLD
        if (
            name
            and spoken
            and sample.fields["family"] == "other"
            and (split == "test" or validates == (split == "validation"))
        ):
            found.append((sample.fields["thing"], name[1]))
    return tuple(found)


@lru_cache(maxsize=4)
def _faces(split: str) -> dict[int, list[Sample]]:
    """Drawings of faces by sign."""
    if split == "test":
        drawn = bundled.emoji(artists=[bundled.UNSEEN_ARTIST])
    else:
        drawn = [
            sample
            for sample in bundled.emoji("train", bundled.TRAIN_ARTISTS)
            if (sample.fields["fold"] == VALIDATION_FOLD) == (split == "validation")
        ]
    names = {1: POSITIVE_FACES, -1: NEGATIVE_FACES}
    return {sign: [s for s in drawn if s.columns["text"] in names[sign]] for sign in (-1, 1)}


PUZZLE = Puzzle(
    name="sentiment",
    tasks=(OneOf("sentiment", [LABELS[-1], LABELS[1]]), Number("strength", scale=2.0)),
    modality={"text": "text", "audio": "audio", "image": "image"},
    alone={"text": 0.75, "audio": 0.75, "image": 0.75},
    metric="accuracy",
    about="What a sentence, the sound of a voice and a face say together: the majority of three signs.",
    rows=rows,
)
