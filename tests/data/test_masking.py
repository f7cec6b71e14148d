"""Words hidden in pairs of texts: how many, in which way, and which second texts are swapped."""

import numpy as np
import pytest
import torch

from sensorium.data.masking import ALL_HIDDEN, Masking, PairCollator, _cut
from sensorium.data.text_corpus import Document
from sensorium.data.tokens import NO_TARGET
from sensorium.data.trained_tokenizer import word_pieces

TEXTS = [("red fox", "animal, red"), ("blue whale", "animal, sea"), ("green pear", "fruit, food, green")]
DOCUMENTS = [
    *(Document(str(place), "en", *texts) for place, texts in enumerate(TEXTS)),
    *(Document(str(place), "de", one.upper(), other) for place, (one, other) in enumerate(TEXTS)),
    Document("9", "en", "alone", ""),
]
TOKENIZER = word_pieces([document.text for document in DOCUMENTS], 60)


def test_the_shares_are_the_papers():
    np.random.seed(0)
    ids, mask, words = np.arange(100, 300), 4, np.arange(1000, 2000)
    special = np.arange(200) < 100
    asked = hidden = random = left = 0
    for _ in range(200):
        shown, targets = Masking()(ids, special, mask, words)
        where = targets != NO_TARGET
        assert not (where & special).any()
        assert (targets[where] == ids[where]).all()
        assert (shown[~where] == ids[~where]).all()
        asked += where.sum()
        hidden += (shown[where] == mask).sum()
        random += (shown[where] >= 1000).sum()
        left += (shown == ids)[where].sum()
    assert asked == 200 * 15
    assert hidden + random + left == asked
    for count, share in ((hidden, 0.8), (random, 0.1), (left, 0.1)):
        assert count / asked == pytest.approx(share, abs=4 * (share * (1 - share) / asked) ** 0.5)


def test_a_text_of_one_word_is_asked_for_it_and_all_hidden_hides():
    shown, targets = ALL_HIDDEN(np.array([2, 7, 3]), np.array([True, False, True]), 4, np.arange(5, 9))
    assert shown.tolist() == [2, 4, 3]
    assert targets.tolist() == [NO_TARGET, 7, NO_TARGET]
    with pytest.raises(ValueError, match="two parts of it"):
        Masking(hidden=0.8, random=0.3)


def test_pairs_are_their_own_or_of_another_thing_in_the_same_language():
    np.random.seed(0)
    collate = PairCollator(DOCUMENTS, TOKENIZER, masking=Masking(hidden=0.0, random=0.0))
    end = TOKENIZER.sep_token_id
    strange, seen = 0, set()
    for _ in range(100):
        batch = collate(range(7))
        for row in range(6):
            ids = batch.inputs["ids"][row][batch.inputs["mask"][row]]
            segments = batch.inputs["segments"][row][batch.inputs["mask"][row]]
            first, second = ids[segments == 0].tolist(), ids[segments == 1].tolist()
            assert first == [TOKENIZER.cls_token_id, *collate.first[row], end]
            which = [place for place in range(6) if second == [*collate.second[place], end]]
            same = batch.strange[row] == 0
            assert (row in which) == same
            seen.update((DOCUMENTS[row].thing, DOCUMENTS[place].thing) for place in which if not same)
            strange += int(not same)
        assert batch.strange[6] == NO_TARGET  # has no second text
        assert batch.inputs["segments"][6].sum() == 0
    assert len(seen) == 6  # every thing met each other one
    assert strange / 600 == pytest.approx(0.5, abs=0.08)


def test_the_loops_seed_alone_decides():
    collate = PairCollator(DOCUMENTS, TOKENIZER)
    np.random.seed(5)
    one = collate(range(6))
    np.random.seed(5)
    same = collate(range(6))
    other = collate(range(6))
    assert torch.equal(one.inputs["ids"], same.inputs["ids"])
    assert torch.equal(one.targets, same.targets)
    assert not torch.equal(one.targets, other.targets)


def test_the_longer_text_gives_way():
    assert _cut(3, 4, 9) == (3, 4)
    assert _cut(10, 4, 9) == (5, 4)
    assert _cut(10, 10, 9) == (5, 4)
    batch = PairCollator(DOCUMENTS, TOKENIZER, limit=7)(range(6))
    assert batch.inputs["ids"].shape[1] == 7


def test_what_cannot_be_swapped_is_said():
    with pytest.raises(ValueError, match="only one thing has two texts"):
        PairCollator(DOCUMENTS[:1], TOKENIZER)
