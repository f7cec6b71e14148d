"""Naming and describing with retrieval: neighbours that cannot cheat, choosing, and the recipe at a debug size."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sensorium.data.bundled import normalised
from sensorium.data.sample import Sample
from sensorium.evaluation.blind import Blind
from sensorium.evaluation.generated import Measured
from sensorium.evaluation.scores import interval
from sensorium.models.decoding import Decoding
from sensorium.recipes import retrieval_tests
from sensorium.recipes.caption_items import Item, item_of, sentence, taught
from sensorium.recipes.caption_tests import (
    Belief,
    CaptionTest,
    Offered,
    best,
    chosen_trust,
    described_scores,
    fixed_caption,
)
from sensorium.recipes.captions import captions
from sensorium.recipes.neighbours import Known, Neighbours, folds
from sensorium.recipes.open_words import SENSE, Words
from sensorium.recipes.retrieval_tests import (
    CaptionMeasures,
    NameTest,
    Ranked,
    Rule,
    Said,
    chosen_rule,
    head_noun,
)
from sensorium.systems import smol_captioner, system_builder
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit


def known(things: int, artists: int) -> Known:
    """Every thing has a direction of its own; an artist's drawings all lean the same way besides."""
    generator = torch.Generator().manual_seed(0)
    of_thing, of_artist, of_word = (
        torch.randn(n, 24, generator=generator) for n in (things, artists, things)
    )
    samples, image = [], []
    for thing in range(things):
        for artist in range(artists):
            fields = {"thing": thing, "artist": artist, "fold": thing % 5}
            columns = {"text": f"thing {thing}"}
            meanings = (f"caption:thing {thing}",)
            samples.append(Sample(f"{artist}/{thing}", columns, {"text": "text"}, meanings, fields))
            noise = torch.randn(24, generator=generator)
            image.append(of_thing[thing] + 0.5 * of_artist[artist] + 0.1 * noise)
    return Known(samples, torch.stack(image), of_word.repeat_interleave(artists, 0))


def rows_of(all_known: Known, artist: int) -> list[int]:
    return [row for row, sample in enumerate(all_known.samples) if sample.fields["artist"] == artist]


def test_an_unseen_artist_is_looked_up_among_the_others():
    drawn = known(things=12, artists=3)
    gallery = rows_of(drawn, 0) + rows_of(drawn, 1)
    found = drawn.neighbours(rows_of(drawn, 2), gallery, gallery, k=3)
    assert [one.captions[0] for one in found] == [f"thing {n}" for n in range(12)]
    assert [one.nearest for one in found] == [f"thing {n}" for n in range(12)]
    for one in found:
        assert len(set(one.captions)) == 3
        assert list(one.scores) == sorted(one.scores, reverse=True)


def test_a_picture_that_the_space_has_seen_is_refused():
    drawn = known(things=6, artists=2)
    with pytest.raises(ValueError, match="6 queries are in the gallery"):
        drawn.neighbours(rows_of(drawn, 1), rows_of(drawn, 0), range(12), k=2)


def test_a_word_that_no_training_picture_has_may_describe():
    """Things 10 and 11 are only words; the space knows their texts by those of the others."""
    drawn = known(things=12, artists=3)
    gallery = [row for row in range(30) if row % 3 < 2]
    unseen = [30, 33]
    text = torch.cat([drawn.text, torch.zeros(36, SENSE)], 1)  # nothing but the classifier knows their sense
    text[torch.arange(36), 24 + torch.arange(36) // 3] = 1.0
    image = torch.cat([drawn.image, torch.zeros(36, 2)], 1)
    image[30, -2], image[33, -1] = 1.0, 1.0
    said = ["thing 10", "thing 11", "Thing 0."]
    words = Words(said, text[[30, 33, 0]], torch.tensor([0, 1]), 100 * torch.eye(2), torch.zeros(2))
    all_known = Known(drawn.samples, image, text, words)
    found = all_known.described(unseen, gallery, k=3, share=10.0)
    assert [one.captions[0] for one in found] == ["thing 10", "thing 11"]
    assert all(one.nearest in {f"thing {n}" for n in range(10)} for one in found)  # copies what was drawn

    every = all_known.described(unseen, gallery, k=99, share=0.0)[0]
    assert sorted(every.captions) == sorted(f"thing {n}" for n in range(12))  # "Thing 0." is none besides
    assert list(every.scores) == sorted(every.scores, reverse=True)
    maps = all_known.maps(gallery)
    looked, told = F.normalize(maps["image"](image[30]), dim=0), F.normalize(maps["text"](text[33]), dim=0)
    assert every.scores[every.captions.index("thing 11")] == pytest.approx(float(looked @ told), abs=1e-5)
    with pytest.raises(ValueError, match="2 queries are in the gallery"):
        all_known.described(unseen, range(36), k=3)


def test_folds_stay_whole():
    drawn = known(things=10, artists=2)
    parts = folds(range(20), drawn.samples, 2)
    assert sorted(row for part in parts for row in part) == list(range(20))
    numbers = [{drawn.samples[row].fields["fold"] for row in part} for part in parts]
    assert numbers == [{0, 2, 4}, {1, 3}]


def test_the_rule_is_the_best_on_what_it_is_given():
    ranked = Ranked(
        [("a", "b"), ("a", "b"), ("a",)],
        totals=np.array([[-1.0, -2.0], [-1.0, -3.0], [-9.0, -np.inf]]),
        means=np.array([[-1.0, -0.5], [-1.0, -1.5], [-9.0, -np.inf]]),
        cosines=np.array([[0.1, 0.3], [0.1, 0.2], [0.5, 0.0]]),
    )
    assert ranked.best(Rule(0.0, mean=False)) == ["a", "a", "a"]
    assert ranked.best(Rule(0.0, mean=True)) == ["b", "a", "a"]
    assert ranked.best(Rule(1000.0, mean=False)) == ["b", "b", "a"]

    def measure(wanted):
        return lambda said: Measured(np.array([one == right for one, right in zip(said, wanted)], float))

    assert chosen_rule(ranked, measure("bba")) == Rule(50.0, mean=False)  # at 20 the second are equal
    assert chosen_rule(ranked, measure("aaa")) == Rule(0.0, mean=False)


def test_trust_and_belief_decide_between_the_likeliest_caption_and_what_the_others_share():
    texts = ("A red ball.", "A small dog.", "A small cat.")
    ranked = Ranked([texts], *(np.array([row]) for row in ([-3.0, -4.0, -9.0], [0.0] * 3, [0.5, 0.4, 0.4])))
    offered = Offered.of(ranked)
    assert Belief(np.log(2) / 0.1, 0.0).chances(np.array([0.5, 0.4, 0.4]), np.zeros(3)) == pytest.approx(
        [0.5, 0.25, 0.25]
    )
    # Under equal chances the first shares 1/3 with two, each of the others 2/3 with one and 1/3 with one.
    assert offered.consensus(Belief(0.0, 0.0)) == ["A small dog."]
    assert offered.consensus(Belief(30.0, 0.0)) == ["A red ball."]
    assert offered.consensus(Belief(0.0, 0.1)) == ["A small dog."]
    assert offered.consensus(Belief(0.0, 1.0)) == ["A red ball."]

    measure = CaptionMeasures(["A red ball."], ("ROUGE-L",))
    beliefs = [Belief(trust, 0.0) for trust in (0.0, 4.0, 6.0, 10.0)]  # of 1.5 times the chance: 4.05
    assert best(beliefs, offered, measure) == Belief(6.0, 0.0)
    found = Neighbours(texts, (0.5, 0.4, 0.4), "A small cat.")
    item = Item(0, None, "caption", "A red ball.", found, ())
    assert chosen_trust([item]) == 6.0


def test_pictures_of_one_thing_are_drawn_together():
    """Four pictures of a ball and four of a cat; "A red ball." is said of all, and all copy a cat."""
    found = Neighbours(("A red ball.", "A small cat."), (0.5, 0.4), "A small cat.")
    shown = [Sample(f"{n}", {}, {}, (), {"thing": n // 4}) for n in range(8)]
    right = ["A red ball."] * 4 + ["A small cat."] * 4
    items = [Item(n, shown[n], "caption", right[n], found, ()) for n in range(8)]
    texts = {"always": ["A red ball."] * 8, "right": right}
    scores = described_scores("drawn", items, texts, fixed="A red cat.")
    head = scores["drawn.always.head_noun"]
    assert (head.value, head.copy, head.majority, head.blind_shuffled, head.n) == (0.5, 0.5, 0.5, 0.5, 8)
    assert (head.low, head.high) == (0.0, 1.0)  # of two things; of eight pictures it would be 0.125 … 0.875
    assert scores["drawn.right.head_noun"].blind_shuffled == 0.0  # of another thing, never the same again


def test_where_the_language_model_is_not_believed_it_is_not_asked(monkeypatch):
    found = [Neighbours((a, b), (0.9, 0.1), b) for a, b in (("A cat.", "A dog."), ("A hat.", "A cup."))]
    items = [Item(row, None, "caption", "A cat.", one, ()) for row, one in enumerate(found)]
    monkeypatch.setattr(retrieval_tests, "write", lambda model, collate, asked: ["A pen."] * len(asked))
    monkeypatch.setattr(retrieval_tests, "rank", None)
    said = CaptionTest("captions", items, rule=Belief(10.0, 0.0), brief=True).said(None, None)
    assert said.texts["chooses"] == said.texts["retrieval_consensus"] == ["A cat.", "A hat."]
    assert said.blind["chooses"].shuffled == [["A hat.", "A cat."]]


def test_the_fixed_caption_is_what_all_captions_agree_with_most():
    assert fixed_caption(["A dog.", "The letter A.", "A cat.", "A dog."]) == "A dog."
    assert fixed_caption(["The letter B.", "The letter C.", "A cat."]) == "The letter B."


def test_the_margins_over_copy_and_retrieval_are_of_the_same_names():
    found = Neighbours(("cat", "dog"), (0.5, 0.4), "dog")
    items = [
        Item(row, None, "name", name, found, ()) for row, name in enumerate(["cat", "cat", "owl", "dog"])
    ]
    rule = Rule(2.0, mean=False)
    texts = {
        "chooses": ["cat", "cat", "cow", "dog"],
        "retrieval": ["cat"] * 4,
        "writes_with_retrieval": ["owl"] * 4,
    }
    blind = Blind(["x"] * 4, [["cow"] * 4], copy=["dog"] * 4)
    scores = NameTest("names", items).scores(Said(texts, {"chooses": blind}, str(rule)))
    chooses = scores["names.chooses.accuracy"]
    assert (chooses.value, chooses.copy, chooses.copy_margin) == (0.75, 0.25, 0.5)
    assert (chooses.blind_withheld, chooses.blind_shuffled) == (0.0, 0.0)
    low, high = interval(
        np.array([0.0, 0.0, 0.0, 1.0]), groups=[0, 1, 2, 3]
    )  # the one that only it has right
    assert f"accuracy +25.0 ({100 * low:.1f} … {100 * high:.1f}) over retrieval alone" in chooses.note
    assert "+50.0 (" in chooses.note  # over what it writes
    assert chooses.note.startswith("chooses: sum log p + 2 · cosine")
    assert (scores["names.retrieval.accuracy"].copy_margin, scores["names.retrieval.accuracy"].note) == (
        0.25,
        "",
    )
    assert scores["names.among_retrieved.accuracy"].value == 0.75


def test_of_a_caption_as_much_is_held_as_is_asked_for():
    brief = CaptionMeasures(["A red cat.", "A dog."], ("ROUGE-L", "CIDEr"))(["A cat.", "A dog."])
    assert list(brief) == ["head_noun", "ROUGE-L", "CIDEr"]
    assert brief["head_noun"].value == 1.0
    measured = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr")
    full = CaptionMeasures(["A red cat.", "A dog."], measured)(["A cat.", "A dog."])
    assert list(full) == ["head_noun", *measured]
    assert {name: full[name].value for name in brief} == {name: one.value for name, one in brief.items()}


@pytest.mark.parametrize(
    ("caption", "head"),
    [
        ("A red apple on a plate.", "apple"),
        ("A birthday cake.", "cake"),
        ("The letter h.", "h"),
        ("Mars—the red planet. It’s just beyond earth.", "mars"),
        ("", ""),
    ],
)
def test_head_nouns(caption, head):
    assert head_noun(caption) == head


def test_names_become_captions_and_captions_stay():
    assert sentence("red apple") == "A red apple."
    assert sentence("elephant") == "An elephant."
    assert sentence("A crow.") == "A crow."
    found = Neighbours(("red apple", "A crow."), (0.9, 0.8), "red apple")
    sample = Sample("x", {"text": "A pear."}, {"text": "text"})
    item = item_of([sample], 0, "caption", found, shown=2)
    assert item.found.captions == ("A red apple.", "A crow.")
    assert item.shown == ("A red apple", "A crow")
    assert item_of([sample], 0, "caption", found, shown=1).shown == ("A red apple",)
    named = item_of([sample], 0, "name", found, shown=2)
    assert (named.found.captions, named.answer) == (("red apple", "A crow."), "A pear.")
    assert named.shown == ("red apple", "crow")
    drawing = Sample("x", {"text": "pear"}, {"text": "text"})
    assert item_of([drawing], 0, "caption", found, shown=2).answer == "A pear."
    assert item_of([drawing], 0, "name", found, shown=2).answer == "pear"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    items: list[Item] = []
    options = {"size": 32, "limit": 60, "tested": 2, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smol_captioner, "STAGES", (6,))  # 112 numbers a picture: a closed form takes no time
        patch.setattr(retrieval_tests, "WRITING", Decoding(max_tokens=2))  # it has learned nothing to say
        patch.setattr("sensorium.recipes.captions.PARTS", 2)
        patch.setattr("sensorium.recipes.captions.taught", lambda item: items.append(item) or taught(item))
        patch.setattr("sensorium.recipes.caption_tests.HELD", ("ROUGE-L",))  # without Java
        patch.setattr("sensorium.recipes.captions.class_names", lambda: [["tree frog", "frog"], ["ox"]])
        patch.setattr("sensorium.recipes.captions.classifier", lambda: (torch.eye(2, 112), torch.zeros(2)))
        patch.setattr("sensorium.recipes.captions.nouns", lambda tokenizer: ["cup", "hat"])
        run = captions(folder, steps=1, batch_size=2, cache=folder / "cache", **options)
        before = {
            name: p.detach().clone()
            for name, p in run.model.named_parameters()
            if not name.startswith("backbone")
        }
        yield folder, run, before, fit(run), items


@pytest.mark.parametrize(("option", "least"), [("k", 1), ("tested", 1), ("limit", 16)])
def test_what_leaves_nothing_to_learn_or_test_is_refused_at_once(option, least):
    with pytest.raises(ValueError, match=f"{option}={least - 1}; expected at least {least}"):
        captions(**{option: least - 1})


def test_the_recipe_trains_lora_only_and_scores_beside_copy_and_blind(trained):
    folder, _, before, result, _ = trained
    scores = result.scores
    for name in ("names.unseen_artist.chooses.accuracy", "captions.unseen_things.chooses.head_noun"):
        assert None not in [scores[name][key] for key in ("copy", "blind_withheld", "blind_shuffled")]
        assert "chosen on validation pictures" in scores[name]["note"]
    assert scores["captions.unseen_things.chooses.ROUGE-L"]["majority"] is not None
    drawn = [f"captions.unseen_drawings{who}.writes_with_retrieval.ROUGE-L" for who in ("", ".unseen_artist")]
    validated = "captions.validation.writes_with_retrieval.ROUGE-L"
    for name in ("captions.looked_up.retrieval_consensus.ROUGE-L", validated, *drawn):
        assert None not in [scores[name][key] for key in ("copy", "majority", "blind_shuffled")]
    assert scores[drawn[0]]["n"] > scores[drawn[1]]["n"] > 0
    stamps, every = (
        scores[f"captions.{test}.writes_with_retrieval.ROUGE-L"] for test in ("unseen_things", "unseen")
    )
    assert every["n"] == scores[drawn[0]]["n"] + stamps["n"]
    parts = (stamps["value"] * stamps["n"] + scores[drawn[0]]["value"] * scores[drawn[0]]["n"]) / every["n"]
    assert every["value"] == pytest.approx(parts)
    best = scores["names.unseen_artist.among_retrieved.accuracy"]["value"]
    assert scores["names.unseen_artist.chooses.accuracy"]["value"] <= best
    reopened = load_model(folder, system_builder)
    for name, parameter in reopened.named_parameters():
        if name in before:
            assert torch.equal(parameter, before[name]), name
    assert any(p.abs().max() > 0 for name, p in reopened.named_parameters() if "lora_B" in name)


def test_a_prompt_names_neighbours_and_never_its_own_thing_unless_the_test_does(trained):
    *_, items = trained
    described = [item for item in items if item.task == "caption"]
    assert {item.picture.id.split("/")[0] for item in described} == {"stamps", "emoji"}
    words = {"A tree frog.", "A frog.", "An ox.", "A cup.", "A hat."}
    for item in described:
        assert item.answer not in set(item.found.captions) - words
        assert item.found.nearest != item.answer
    (text,) = [part["text"] for part in items[0].messages("x")[0]["content"] if part["type"] == "text"]
    assert text.startswith("Similar pictures: " + items[0].shown[0])


def test_what_is_taught_stands_in_the_prompt(trained):
    _, run, *_ = trained
    assert len(run.data) > len(set(map(id, run.data)))  # stamps stand there several times
    for lesson in run.data:
        (text,) = [
            part["text"] for part in lesson.columns["messages"][0]["content"] if part["type"] == "text"
        ]
        offered = text.removeprefix("Similar pictures: ").split(".\n")[0].split("; ")
        answer = lesson.columns["messages"][1]["content"]
        assert normalised(answer) in [normalised(one) for one in offered]


def test_the_best_of_what_is_shown_is_taught():
    found = Neighbours(("A dog.", "A red fish.", "A fish."), (0.5, 0.25, 0.2), "A dog.")
    assert taught(Item(0, None, "caption", "A fish.", found, ("A dog", "A red fish"))) == "A red fish."
    assert taught(Item(0, None, "caption", "A fish.", found, ("A dog", "A red fish", "A fish"))) == "A fish."
    assert taught(Item(0, None, "caption", "An owl.", found, ("A dog", "A red fish"))) == "A dog."
    named = Neighbours(("red fish", "Owl"), (0.5, 0.25), "red fish")
    assert taught(Item(0, None, "name", "owl", named, ("red fish", "owl"))) == "Owl"
    assert taught(Item(0, None, "name", "fish", named, ("red fish", "owl"))) == "red fish"
