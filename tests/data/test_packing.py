"""However conversations are laid out in rows, the loss is the one that they have alone."""

import chat
import numpy as np
import pytest
import torch

from sensorium.data import packing, templates
from sensorium.data.conversation import Renderer
from sensorium.data.packing import pack, pair, real_share
from sensorium.objectives.next_token import NextToken

A, B = chat.picture(0), chat.picture(1)
STATE = np.array([0.5, -1.0, 2.0], np.float32)

# Three about one picture, one of which goes on; two about another with a state; words alone; a picture late.
TALKS = [
    chat.said([chat.image(A), "what is it?"], "the sea"),
    [*chat.said([chat.image(A), "what is this thing?"], "he"), *chat.said("and this?", "the tea is hot")],
    chat.said([chat.image(A), "is it red?"], ""),
    chat.said([chat.image(B), {"type": "state", "state": STATE}, "is it?"], "no"),
    chat.said([chat.image(B), {"type": "state", "state": STATE + 1}, "is it?"], "yes"),
    chat.said("what is the time?", "the time is two"),
    [*chat.said("hello", "he"), *chat.said(["see ", chat.image(A), chat.image(B)], "this")],
]
LENGTHS = {"image": 4, "object": 4, "state": len}


def rendered(talks=TALKS, **options):
    render = Renderer(options.pop("tokenizer", None) or chat.byte_level(), LENGTHS, **options)
    return [render(talk) for talk in talks]


def batch(model, packed):
    return packed.batch({name: model.encoders[name].prepare(media) for name, media in packed.media.items()})


def loss(model, packed):
    """The mean loss and over how many targets."""
    with torch.no_grad():
        value = NextToken()(model, batch(model, packed))["next_token"].item()
    return value, int((packed.targets != -100).sum())


def alone(model, conversations, one_by_one=lambda one: pack([one])):
    """The mean over all targets of the conversations, each in a batch of its own."""
    found = [loss(model, one_by_one(one)) for one in conversations]
    return sum(value * count for value, count in found) / sum(count for _, count in found)


def by_hand(model, one):
    """Losses of one conversation with transformers' own mask, positions and shift, summed."""
    embeddings = model.embed(batch(model, pack([one])))
    whole = torch.cat([embeddings[0], model.backbone.embed(torch.from_numpy(one.ids[embeddings.shape[1] :]))])
    logits = model.backbone.lm(inputs_embeds=whole[None]).logits[0, :-1]
    labels = torch.from_numpy(np.where(one.supervised, one.ids, -100))[1:]
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum"), int((labels != -100).sum())


@pytest.fixture(params=["llama", "gpt2"])
def model(request):
    return chat.model(request.param, chat.byte_level())


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("length", [None, 150, 400])
def test_the_packed_loss_is_the_unpacked_loss(model, share, length):
    conversations = rendered()
    packed = pack(conversations, length, share_prefixes=share)
    assert loss(model, packed)[0] == pytest.approx(alone(model, conversations), abs=1e-5)


def test_alone_is_what_transformers_computes(model):
    with torch.no_grad():
        sums, counts = zip(*(by_hand(model, one) for one in rendered()))
    assert alone(model, rendered()) == pytest.approx(float(sum(sums)) / sum(counts), abs=1e-5)


def test_gradients_are_those_of_the_unpacked_conversations(model):
    def gradient(packs):
        model.zero_grad()
        total = sum(loss_ * count for loss_, count in packs) / sum(count for _, count in packs)
        total.backward()
        return model.projectors["image"].linear.weight.grad.clone()

    def with_graph(packed):
        return NextToken()(model, batch(model, packed))["next_token"], int((packed.targets != -100).sum())

    conversations = rendered()
    together = gradient([with_graph(pack(conversations))])
    apart = gradient([with_graph(pack([one])) for one in conversations])
    assert together.abs().max() > 1e-3
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-3)


def test_what_padding_holds_changes_nothing(model):
    packed = pack(rendered(), length=150)
    before = loss(model, packed)
    padding = packed.attend.sum(1) + packed.attend.sum(2) == 2
    assert padding.any()
    packed.ids[padding] = 77
    packed.positions[padding] = 3
    assert loss(model, packed) == pytest.approx(before, abs=1e-6)


def test_every_conversation_keeps_its_targets():
    conversations = rendered()
    counts = sum(int(one.supervised.sum()) for one in conversations)
    for share in (True, False):
        assert (pack(conversations, share_prefixes=share).targets != -100).sum() == counts


def test_every_target_knows_whose_it_is():
    conversations = rendered()
    packed = pack(conversations)
    for number, one in enumerate(conversations):
        mine = packed.targets[packed.owners == number]
        assert mine.tolist() == one.ids[one.supervised].tolist()
    assert ((packed.owners >= 0) == (packed.targets != -100)).all()
    pairs = pair(plain(TALKS[:2]), start=0)
    assert ((pairs.owners >= 0) == (pairs.targets != -100)).all()
    assert pairs.owners.max(1).tolist() == [0, 1]


def test_a_prompt_keeps_its_last_token():
    prompt = Renderer(chat.byte_level(), LENGTHS)([*TALKS[5], *chat.said("and now?")], generation=True)
    assert pack([prompt]).ids[0].tolist() == prompt.ids.tolist()


# ---- sharing ----------------------------------------------------------------------------------------------


def test_a_shared_picture_is_stored_once_and_seen_by_all_its_questions():
    first, second = rendered(TALKS[:2])
    packed = pack([first, second])
    assert len(packed.media["image"]) == 1
    assert packed.media["image"][0] is A
    common = int(np.flatnonzero(first.ids[: len(first)] != second.ids[: len(first)])[0])
    ends = [int(np.flatnonzero(one.supervised)[-1]) for one in (first, second)]
    assert packed.ids.shape == (1, common + sum(end - common for end in ends))
    at = common + ends[0] - common  # where the second branch begins
    assert packed.positions[0, at] == common
    assert packed.attend[0, at, :common].all()
    assert not packed.attend[0, at, common:at].any()
    assert not packed.attend[0, common:at, at:].any()


def test_targets_never_hang_on_a_shared_token():
    same = [chat.said([chat.image(A), "what is it?"], answer) for answer in ("the sea", "tea", "the sea")]
    packed = pack(rendered(same))
    ends = [int(one.supervised.sum()) for one in rendered(same)]
    assert (packed.targets != -100).sum() == sum(ends)  # each answer's first token has a position of its own


def test_groups_and_media_decide_what_may_be_shared():
    def pictures(talks, **options):
        return len(pack(rendered(talks), **options).media["image"])

    about_a, about_b = TALKS[0], TALKS[3]
    copy = chat.said([chat.image(A.copy()), "what is it?"], "the sea")
    assert pictures([about_a, about_a]) == 1
    assert pictures([about_a, about_a], share_prefixes=False) == 2
    assert pictures([about_a, copy]) == 2  # another object, for all that packing knows
    assert pictures([about_a, about_a], groups=["x", "y"]) == 2
    assert pictures([about_a, about_a, about_b], groups=["x"] * 3) == 2
    texts = [chat.said("what is the time here?", "he"), chat.said("what is the time there?", "she")]
    assert pack(rendered(texts)).ids.size > pack(rendered(texts), groups=["x", "x"]).ids.size


def test_a_state_is_the_same_when_its_numbers_are():
    def talk(numbers):
        return chat.said([{"type": "state", "state": numbers}, "is it?"], "no")

    assert len(pack(rendered([talk([1, 2]), talk([1, 2])])).media["state"]) == 1
    assert len(pack(rendered([talk([1, 2]), talk([1, 3])])).media["state"]) == 2


def test_pictures_that_differ_late_are_not_shared(model):
    talks = [
        chat.said([chat.image(A), chat.image(B), "is it?"], "no"),
        chat.said([chat.image(A), chat.image(A), "is it?"], "yes"),
        chat.said([chat.image(A), {"type": "image", "image": A, "as": "object"}, "is it?"], "yes"),
    ]
    packed = pack(rendered(talks))
    assert [medium is A for medium in packed.media["image"]] == [True, False, True]
    assert len(packed.media["object"]) == 1
    assert loss(model, packed)[0] == pytest.approx(alone(model, rendered(talks)), abs=1e-5)


def test_a_picture_with_many_questions_is_repeated_where_a_row_ends(model):
    talks = [chat.said([chat.image(A), f"is it {number}?"], "no") for number in range(9)]
    conversations = rendered(talks)
    longest = max(map(len, conversations))
    packed = pack(conversations, length=2 * longest)
    assert packed.ids.shape[1] <= 2 * longest
    assert 1 < len(packed.media["image"]) < 9
    assert loss(model, packed)[0] == pytest.approx(alone(model, conversations), abs=1e-5)


# ---- filling ----------------------------------------------------------------------------------------------


def test_nearly_all_positions_are_real_at_the_lengths_of_training():
    numbers = np.random.default_rng(0)
    talks = []
    for scene in range(16):  # as the composed scenes: 4 to 10 questions a picture, answers of 1 to 8 words
        medium = chat.picture(scene)
        for _ in range(numbers.integers(4, 11)):
            question = " ".join(["word"] * numbers.integers(4, 14))
            talks.append(chat.said([chat.image(medium), question], " ".join(["he"] * numbers.integers(1, 9))))
    conversations = rendered(talks)
    assert real_share(pack(conversations)) >= 0.95
    assert real_share(pack(conversations, share_prefixes=False)) >= 0.95
    assert (
        real_share(pack(conversations, length=2048)) >= 0.8
    )  # so few units fill no third row of this length
    packed = pack(conversations)
    assert len(packed.media["image"]) == 16


def test_the_share_of_real_positions_is_counted_exactly():
    short, long = rendered([TALKS[0], TALKS[5]])
    read = [int(np.flatnonzero(one.supervised)[-1]) for one in (short, long)]
    packed = pack([short, long], length=max(read))
    assert packed.ids.shape == (2, max(read))
    assert real_share(packed) == pytest.approx(sum(read) / (2 * max(read)))


def test_first_fit_takes_the_first_row_with_room():
    units = [range(size) for size in (2, 5, 4, 3, 6)]
    assert [[len(unit) for unit in row] for row in packing._rows(units, 10)] == [[6, 4], [5, 3, 2]]


def test_a_conversation_longer_than_a_row_is_refused():
    with pytest.raises(ValueError, match=r"takes \d+ positions, a row has length=20; raise it"):
        pack(rendered(), length=20)


# ---- encoder-decoder --------------------------------------------------------------------------------------


def plain(talks):
    return rendered(talks, tokenizer=chat.byte_level(None, False), template=templates.READ_AND_ANSWER)


def test_pairs_read_all_before_the_last_answer_and_write_it():
    tokenizer = chat.byte_level(None, False)
    packed = pair(plain(TALKS[:2]), start=9)
    assert tokenizer.decode(packed.ids[1][packed.attend[1]][4:]) == (
        "what is this thing?<|endoftext|>he<|endoftext|>and this?<|endoftext|>"
    )
    answer = packed.targets[1][packed.targets[1] != -100]
    assert tokenizer.decode(answer) == "the tea is hot<|endoftext|>"
    assert packed.decoder_ids[1, : len(answer)].tolist() == [9, *answer[:-1]]
    assert packed.decoder_attend.sum(1).tolist() == (packed.targets != -100).sum(1).tolist()
    assert packed.positions is None
    assert len(packed.media["image"]) == 2  # one a row: rows do not share


def test_the_loss_of_pairs_is_that_of_each_alone():
    model = chat.model("t5", chat.byte_level(None, False))
    conversations = plain(TALKS)
    together, _ = loss(model, pair(conversations, start=0))
    apart = alone(model, conversations, lambda one: pair([one], start=0))
    assert together == pytest.approx(apart, abs=1e-5)


def test_a_pair_needs_an_answer():
    with pytest.raises(ValueError, match="conversation 1 has no answer"):
        pair(plain([TALKS[0], chat.said("hello")]), start=0)
    with pytest.raises(ValueError, match="conversation 0 begins with its answer"):
        pair(plain([[{"role": "assistant", "content": "hello"}]]), start=0)
