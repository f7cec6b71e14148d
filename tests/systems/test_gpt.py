"""GPT against `transformers`: logits and loss on the same text; its weights there and back; its sizes."""

import json

import numpy as np
import pytest
import torch
import transformers
from talking import randomise

from sensorium.data.text_corpus import as_batch
from sensorium.data.trained_tokenizer import as_json, byte_pairs
from sensorium.objectives.next_token import NextToken
from sensorium.systems import gpt

ATOL = 1e-4


@pytest.fixture(scope="module")
def pairs():
    return byte_pairs(["red fox: animal, red", "blue whale: animal, sea"], 270)


@pytest.fixture
def theirs(pairs):
    config = transformers.GPT2Config(vocab_size=len(pairs), n_positions=32, n_embd=32, n_layer=3, n_head=4)
    return randomise(transformers.GPT2LMHeadModel(config))


def test_gpt_is_transformers_gpt2_in_logits_and_loss(theirs, pairs):
    ours = gpt.from_transformers(theirs, pairs)
    rows = np.random.default_rng(0).integers(0, len(pairs), (2, 17))
    batch = as_batch(rows.tolist())
    ids = torch.from_numpy(rows)
    with torch.no_grad():
        want = theirs(input_ids=ids, labels=ids)
        got, loss = ours.logits(ours(batch).hidden), NextToken()(ours, batch)["next_token"]
    order = batch.owners[:, 0]  # rows stand as they were packed
    torch.testing.assert_close(got, want.logits[order, :-1], atol=ATOL, rtol=0)
    torch.testing.assert_close(loss, want.loss, atol=ATOL, rtol=0)

    back = gpt.to_transformers(ours)
    mine, given = back.state_dict(), theirs.state_dict()
    assert mine.keys() == given.keys()
    assert all(torch.equal(mine[name], given[name]) for name in given)


def test_packed_texts_do_not_see_each_other(theirs, pairs):
    """Two short texts in one row get the losses that they get alone."""
    ours = gpt.from_transformers(theirs, pairs)
    short, long = [1, 5, 9, 30], [7, 8, 2, 40, 41, 3, 6]
    together = as_batch([short, long, long + long])
    with torch.no_grad():
        alone = [NextToken()(ours, as_batch([ids]))["next_token"] for ids in (short, long, long + long)]
        joined = NextToken()(ours, together)["next_token"]
    weights = torch.tensor([3.0, 6.0, 13.0])
    torch.testing.assert_close(
        joined, (torch.stack(alone) * weights).sum() / weights.sum(), atol=ATOL, rtol=0
    )
    assert len(together) < 3


def test_a_built_one_reads_its_tokenizer_from_json(pairs):
    model = gpt.gpt("tiny", json.loads(json.dumps(as_json(pairs))))
    text = "red whale: sea, 海"
    assert model.backbone.tokenizer.decode(model.backbone.tokenizer(text)["input_ids"]) == text
    assert model.backbone.lm.config.eos_token_id == pairs.eos_token_id


@pytest.mark.parametrize(("size", "millions"), [("124M", 124.4), ("1558M", 1557.6)])
def test_sizes_are_the_published_ones(size, millions):
    """With the 50,257 words of GPT-2."""

    class Words(list):
        bos_token_id = eos_token_id = 50256

    with torch.device("meta"):
        config = gpt._config(gpt.SIZES[size], Words([0] * 50257), 0.1)
        model = transformers.GPT2LMHeadModel(config)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
