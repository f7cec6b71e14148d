"""What guessing without looking gets: the references that every score on scenes is printed beside.

[Question] -> share of right answers by kind
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from sensorium.data.scenes.questions import Question

BOUNDS = {
    "ground": 0.20,
    "there": 0.54,
    "how_many": 0.28,
    "name": 0.04,
    "left_of": 0.04,
    "above": 0.04,
    "how_many_x": 0.33,
    "biggest": 0.04,
    "is_left": 0.56,
    "is_above": 0.56,
    "moves": 0.04,
    "direction": 0.29,
    "faster": 0.56,
    "clear_path": 0.04,
}
"""By kind, the most that guessing without looking gets on two thousand scenes of `unseen_artist`: chance, plus three
standard errors or so of that many questions. Tests hold the generator to it."""


def by_kind(questions: Iterable[Question]) -> dict[str, list[Question]]:
    kinds: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        kinds[question.kind].append(question)
    return dict(kinds)


def majority(questions: Iterable[Question]) -> dict[str, float]:
    """Share of right answers, by kind, of the best constant answer (chosen on these questions themselves)."""
    return {
        kind: max(Counter(question.answer for question in asked).values()) / len(asked)
        for kind, asked in by_kind(questions).items()
    }


def blind(train: Iterable[Question], test: Iterable[Question]) -> dict[str, float]:
    """Share of right answers, by kind, of one who reads the questions and sees no picture.

    Learned from `train` for each kind: naive Bayes with add-one smoothing, P(answer) times P(thing named at place k
    given the answer) for every name in the question; or, where that beats the majority answer in `train`, always
    the name at one place of the question ("the X or the Y?"). A text tells nothing beyond its kind and its names.
    """
    learned = {kind: _Guesser(asked) for kind, asked in by_kind(train).items()}
    shares = {}
    for kind, asked in by_kind(test).items():
        right = sum(learned[kind].guess(question.about) == question.answer for question in asked)
        shares[kind] = right / len(asked)
    return shares


def names_only(questions: Iterable[Question]) -> dict[str, float]:
    """Expected share of right answers of a perfect namer who is blind to place and size, for kinds where names help.

    Asked what is left of the X he guesses among the other names in the scene. No skill in places may be claimed at
    or below this share times the share of things named right.
    """
    shares = {}
    for kind, asked in by_kind(questions).items():
        if all(question.candidates for question in asked):
            shares[kind] = sum(1 / question.candidates for question in asked) / len(asked)
    return shares


class _Guesser:
    def __init__(self, questions: list[Question]) -> None:
        self.answers = Counter(question.answer for question in questions)
        self.words = Counter(
            (place, name, question.answer)
            for question in questions
            for place, name in enumerate(question.about)
        )
        self.names = len({name for question in questions for name in question.about}) + 1
        echoes = Counter(
            place
            for question in questions
            for place, name in enumerate(question.about)
            if name == question.answer
        )
        self.echo: int | None = None  # the place in the question whose name is the answer
        if echoes and max(echoes.values()) > max(self.answers.values()):
            self.echo = max(echoes, key=lambda place: echoes[place])

    def guess(self, about: tuple[str, ...]) -> str:
        if self.echo is not None:
            return about[self.echo]

        def score(answer: str) -> float:
            seen = self.answers[answer]
            logs = (
                math.log((self.words[place, name, answer] + 1) / (seen + self.names))
                for place, name in enumerate(about)
            )
            return math.log(seen) + sum(logs)

        return max(sorted(self.answers), key=score)
