from collections import Counter
from itertools import combinations

from sensorium.data import bundled
from sensorium.data.scenes import held_out, vocabulary
from sensorium.data.scenes.vocabulary import GROUPS, SEEN, UNSEEN


def test_the_names_follow_the_rule():
    samples = bundled.emoji()
    drawn = Counter(sample.columns["text"] for sample in samples)
    split_of = {sample.columns["text"]: sample.fields["split"] for sample in samples}
    group_of = {sample.columns["text"]: sample.fields["group"] for sample in samples}
    assert (len(SEEN), len(UNSEEN)) == (150, 30)
    assert {drawn[name] for name in (*SEEN, *UNSEEN)} == {5}
    assert {group_of[name] for name in (*SEEN, *UNSEEN)} <= set(GROUPS)
    assert {split_of[name] for name in SEEN} == {"train"}
    assert {split_of[name] for name in UNSEEN} == {"unseen_thing"}
    assert [name for name in (*SEEN, *UNSEEN) if " " in name] == ["alarm clock"]


def test_no_two_things_share_a_name_in_either_language():
    things = vocabulary() + vocabulary(unseen=True)
    assert len({thing.en for thing in things}) == len({thing.zh for thing in things}) == 180
    assert all("\u4e00" <= letter <= "\u9fff" for thing in things for letter in thing.zh)


def test_a_tenth_of_the_pairs_is_held_out():
    pairs = list(combinations(vocabulary(), 2))
    assert sum(held_out(*pair) for pair in pairs) == 10 * (15 * 14 // 2)  # of 11,175 pairs
    assert not held_out(*[vocabulary()[0]] * 2)


def test_plurals_and_articles():
    things = {thing.en: thing for thing in vocabulary() + vocabulary(unseen=True)}
    said = (
        "wolf",
        "fish",
        "bus",
        "fox",
        "strawberry",
        "monkey",
        "key",
        "potato",
        "mouse",
        "dog",
        "alarm clock",
    )
    plurals = [
        "wolves",
        "fish",
        "buses",
        "foxes",
        "strawberries",
        "monkeys",
        "keys",
        "potatoes",
        "mice",
        "dogs",
    ]
    assert [things[name].plural for name in said] == [*plurals, "alarm clocks"]
    assert things["umbrella"].with_article == "an umbrella"
    assert things["unicorn"].with_article == "a unicorn"
    assert things["dog"].with_article == "a dog"
