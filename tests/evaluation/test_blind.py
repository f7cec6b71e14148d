import numpy as np
import pytest

from sensorium.evaluation.answers import ExactMatch
from sensorium.evaluation.blind import (
    Blind,
    beside_blind,
    deranged,
    majority,
    names_only,
    nearest_copy,
    swapped,
    withheld,
)


def picture(name: str) -> dict:
    return {"type": "image", "image": name}


def sound(name: str) -> dict:
    return {"type": "audio", "audio": name}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def asked(*media: dict) -> list[dict]:
    return [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": [*media, text("what is this?")]},
    ]


def test_withheld_takes_the_media_out_and_leaves_every_word() -> None:
    conversation = asked(picture("a"), sound("b"))
    assert withheld(conversation) == asked()
    assert withheld(conversation, ["image"]) == asked(sound("b"))
    assert conversation == asked(picture("a"), sound("b"))  # untouched
    words_between = [{"role": "user", "content": [picture("a"), "is this", picture("b")]}]
    assert withheld(words_between) == [{"role": "user", "content": ["is this"]}]
    assert swapped(words_between, asked(picture("x")))[0]["content"] == [
        picture("x"),
        "is this",
        picture("x"),
    ]


def test_swapped_gives_each_part_the_other_s_of_its_modality() -> None:
    mine, other = asked(picture("a"), sound("b"), picture("c")), asked(picture("x"), picture("y"))
    assert swapped(mine, other) == asked(picture("x"), picture("y"))
    assert swapped(other, mine) == asked(picture("a"), picture("c"))
    assert swapped(mine, asked(picture("x"), sound("z"))) == asked(picture("x"), sound("z"), picture("x"))


@pytest.mark.parametrize("seed", range(20))
def test_deranged_never_gives_an_item_its_own_media(seed: int) -> None:
    media = np.random.default_rng(seed).choice(["a", "b", "c", "d", "e"], 40).tolist()
    order = deranged(media, seed)
    given = [media[n] for n in order]
    assert all(mine != other for mine, other in zip(media, given))
    assert len(set(zip(media, given))) == len(set(media))  # all questions of one picture get the same other
    assert set(given) == set(media)


def test_deranged_is_the_same_for_the_same_seed_and_needs_two_media() -> None:
    assert deranged("abcdefgh", 1).tolist() == deranged("abcdefgh", 1).tolist()
    assert deranged("abcdefgh", 1).tolist() != deranged("abcdefgh", 2).tolist()
    with pytest.raises(ValueError, match="got 1 different key"):
        deranged("aaa")


def test_majority_is_per_kind_and_of_the_training_answers() -> None:
    seen = [("count", "3"), ("count", "2"), ("count", "3"), ("there", "yes"), ("there", "no")]
    kinds, answers = zip(*seen)
    assert majority(["there", "count", "count"], kinds, answers) == ["no", "3", "3"]  # a tie: the alphabet
    with pytest.raises(ValueError, match="biggest not among seen_kinds"):
        majority(["biggest"], kinds, answers)


def test_nearest_copy_is_by_direction_and_within_a_kind() -> None:
    seen = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    queries = np.array([[9.0, 1.0], [0.1, 0.2]])
    assert nearest_copy(queries, seen, ["east", "north", "between"]) == ["east", "between"]
    kinds = ["name", "name"], ["colour", "name", "colour"]
    assert nearest_copy(queries, seen, ["east", "north", "between"], *kinds) == ["north", "north"]
    with pytest.raises(ValueError, match="'count' not among seen_kinds"):
        nearest_copy(queries, seen, ["a", "b", "c"], ["count", "name"], kinds[1])


def test_names_only_equals_a_simulated_namer_that_is_blind_to_place() -> None:
    rng = np.random.default_rng(0)
    candidates = rng.integers(1, 4, 4000)
    right = np.minimum(candidates, rng.integers(1, 3, 4000))
    picked = rng.random((200, 4000)) * candidates < right  # the thing it picks is one of the right ones
    named = rng.random((200, 4000)) < 0.53
    assert names_only(0.53, candidates, right) == pytest.approx((picked & named).mean(), abs=0.002)
    assert names_only(1.0, [1, 2]) == 0.75
    with pytest.raises(ValueError, match="no more right ones"):
        names_only(0.5, [1], [2])


def test_a_model_that_reads_only_the_question_has_no_margin_and_one_that_looks_has() -> None:
    pictures = [f"thing{n % 10}" for n in range(60)]
    conversations = [asked(picture(name)) for name in pictures]

    def blind_model(given) -> list[str]:
        return ["thing0" for _ in given]

    def sees(given) -> list[str]:
        media = [[part for part in c[1]["content"] if part["type"] == "image"] for c in given]
        return [parts[0]["image"] if parts else "thing0" for parts in media]

    scorer = ExactMatch(pictures, ["name"] * 60)
    found = {}
    for model in (blind_model, sees):
        runs = Blind.of(model, conversations, media=pictures)
        runs = runs.with_majority(["name"] * 60, ["name"] * 3, ["thing1", "thing1", "thing2"])
        runs = runs.with_copy(["thing3"] * 30 + pictures[30:])
        found[model] = beside_blind(scorer, model(conversations), runs, names_only={"accuracy": 0.4})
    score = found[sees]["name.accuracy"]
    assert (score.value, score.blind_withheld, score.blind_shuffled, score.majority) == (1.0, 0.1, 0.0, 0.1)
    assert score.copy == pytest.approx((3 + 30) / 60)
    assert score.margin == pytest.approx(0.9)
    assert score.clears is True
    assert found[sees]["accuracy"].names_only == 0.4
    useless = found[blind_model]["accuracy"]
    assert (useless.value, useless.margin) == (0.1, 0.0)
    assert useless.clears is False
    with pytest.raises(ValueError, match=r"names_only: got left; there are accuracy, name\.accuracy"):
        beside_blind(scorer, pictures, Blind(), names_only={"left": 0.4})
