"""The blind column of a model card."""

from dataclasses import asdict

from sensorium.evaluation.generated import GeneratedScore
from sensorium.training.card import score_lines


def row(entry):
    return next(line for line in score_lines((5, {"score": entry}), 5) if line.startswith("| score | 0"))


def test_of_several_blind_numbers_the_best_stands_in_the_card():
    answers = GeneratedScore(
        0.8, 0.7, 0.9, 100, blind_withheld=0.1, blind_shuffled=0.5, majority=0.4, copy=0.6
    )
    assert row(asdict(answers)) == "| score | 0.8 | 0.7 – 0.9 | 0.5 | – | – | 100 |"
    words = GeneratedScore(0.3, 0.2, 0.4, 50, blind_withheld=1.2, majority=0.9, unit="error")
    assert row(asdict(words)) == "| score | 0.3 | 0.2 – 0.4 | 0.9 | – | – | 50 |"
    alone = GeneratedScore(0.3, 0.2, 0.4, 50)
    assert row(asdict(alone)) == "| score | 0.3 | 0.2 – 0.4 | – | – | – | 50 |"
    assert row({"value": 0.5, "blind": 0.0, "n": 9}) == "| score | 0.5 | – – – | 0 | – | – | 9 |"
