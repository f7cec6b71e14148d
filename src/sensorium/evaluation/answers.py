"""Answers to questions: exact match and VQA accuracy, in all and for each kind of question.

answers, accepted answers, kinds -> {"accuracy": Measured, "<kind>.accuracy": Measured, …}
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from sensorium.evaluation.generated import Measured, one_each

ARTICLES = frozenset(("a", "an", "the"))
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'

# The contractions that the VQA evaluation knows. Each is also recognised with any one of its apostrophes left
# out. Forms that lose their apostrophe to another word ("we'll", "she'd", "I'm" in lower case) are not listed.
CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've
why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
you've
"""
REPAIRED = {
    word[:at] + word[at + 1 :]: word
    for word in CONTRACTIONS.split()
    for at, sign in enumerate(word)
    if sign == "'"
} | {"somebody'd": "somebodyd"}  # the published table has this one the wrong way round


def vqa_punctuation(text: str) -> str:
    """The punctuation rule of the VQA evaluation.

    A sign that touches a space anywhere in the answer is dropped everywhere, another becomes a space; all are
    dropped where the answer has a comma between digits ("1,000"). A full stop stays only before a digit.
    """
    thousands = re.search(r"\d,\d", text) is not None
    made = text
    for sign in PUNCTUATION:
        dropped = thousands or f"{sign} " in text or f" {sign}" in text
        made = made.replace(sign, "" if dropped else " ")
    return re.sub(r"\.(?!\d)", "", made)


def vqa_words(text: str) -> str:
    """Lower case, number words up to ten as digits, no articles, contractions with their apostrophes."""
    words = (DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(REPAIRED.get(word, word) for word in words if word not in ARTICLES)


def vqa_normalised(answer: str) -> str:
    """An answer in the normal form of the VQA evaluation (Antol et al. 2015; visualqa.org/evaluation)."""
    return vqa_words(vqa_punctuation(answer.replace("\n", " ").replace("\t", " ").strip()))


def normalised(answer: str) -> str:
    """An answer for exact match: that form, after Unicode NFKC, with typographic and Chinese signs as ASCII.

    "The cat." = "cat"; "Two" = "2"; "it’s" = "it's"; "左边。" = "左边". Accents are kept. An answer of which
    nothing would be left ("A", "?") stays as it is: it must not equal an empty one.
    """
    plain = unicodedata.normalize("NFKC", answer).translate(str.maketrans("’‘。、", "''.,"))
    return vqa_normalised(plain) or plain.strip().casefold()


def vqa_accuracy(answer: str, humans: Sequence[str], released: bool = False) -> float:
    """min(number of other humans who said it / 3, 1), averaged over leaving out each human in turn.

    humans:   the answers of at least two people, ten in VQA
    released: compare with the humans' answers as the VQA annotations have them, which are in normal form
              already; only their punctuation is removed, and only where the humans disagree. That is what the
              published program does. False normalises both sides alike, which answers of one's own need.
    """
    said = vqa_normalised(answer)
    if not released:
        humans = [vqa_normalised(human) for human in humans]
    elif len(set(humans)) > 1:
        humans = [vqa_punctuation(human) for human in humans]
    agree = np.array([human == said for human in humans])
    return float(np.minimum((agree.sum() - agree) / 3, 1).mean())


class ExactMatch:
    """Whether an answer is one of the accepted ones, both `normalised`. Measures "accuracy".

    accepted: for each question its right answer or its right answers
    kinds:    for each question its kind; "<kind>.accuracy" is measured too, kinds in order of appearance

        >>> ExactMatch(["two", ["cat", "kitten"]])(["2", "A kitten."])["accuracy"].value
        1.0
    """

    def __init__(self, accepted: Sequence[str | Sequence[str]], kinds: Sequence[str] | None = None) -> None:
        lists = [[answers] if isinstance(answers, str) else list(answers) for answers in accepted]
        if empty := [n for n, answers in enumerate(lists) if not answers or not all(map(str.strip, answers))]:
            raise ValueError(
                f"accepted: question {empty[0]} has the right answers {lists[empty[0]]}; expected at least "
                "one, and none that is empty"
            )
        self.accepted = [{normalised(answer) for answer in answers} for answers in lists]
        self.kinds = one_each("kinds", kinds, len(lists), "question")

    def __call__(self, answers: Sequence[str]) -> dict[str, Measured]:
        one_each("answers", answers, len(self.accepted), "question")
        right = [normalised(answer) in accepted for answer, accepted in zip(answers, self.accepted)]
        return by_kind("accuracy", np.array(right, float), self.kinds)


class VqaAccuracy:
    """Agreement with several people's answers (see `vqa_accuracy`). Measures "vqa_accuracy".

    humans: for each question the answers of at least two people; kinds, released: as above
    """

    def __init__(
        self, humans: Sequence[Sequence[str]], kinds: Sequence[str] | None = None, released: bool = False
    ) -> None:
        for n, answers in enumerate(humans):
            if isinstance(answers, str) or len(answers) < 2:
                raise ValueError(
                    f"humans: question {n} has {answers!r}; expected the answers of two or more people "
                    "(ten in VQA); use ExactMatch for one right answer"
                )
        self.humans, self.released = humans, released
        self.kinds = one_each("kinds", kinds, len(humans), "question")

    def __call__(self, answers: Sequence[str]) -> dict[str, Measured]:
        one_each("answers", answers, len(self.humans), "question")
        values = [vqa_accuracy(said, humans, self.released) for said, humans in zip(answers, self.humans)]
        return by_kind("vqa_accuracy", np.array(values), self.kinds)


def by_kind(name: str, values: np.ndarray, kinds: Sequence[str] | None) -> dict[str, Measured]:
    """{name: over all items, "<kind>.<name>": over the items of each kind}; float[N], one number an item."""
    found = {name: Measured(values)}
    labels = np.asarray(kinds if kinds is not None else [])
    for kind in dict.fromkeys(labels.tolist()):
        rows = np.flatnonzero(labels == kind)
        found[f"{kind}.{name}"] = Measured(values[rows], rows=rows)
    return found
