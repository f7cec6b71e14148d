"""Attention by blocks against the eager attention of `transformers`."""

import pytest
import torch
import transformers

from sensorium.backbones import CausalBackbone, block_attention
from sensorium.backbones.block_attention import blocks

HEADS, KEY_HEADS, CHANNELS = 6, 2, 8


def packed(*rows):
    """bool[B, L, L]: rows of stretches (of how many positions), each causal and alone."""
    attend = torch.zeros(len(rows), sum(rows[0]), sum(rows[0]), dtype=torch.bool)
    for row, lengths in enumerate(rows):
        end = 0
        for length in lengths:
            start, end = end, end + length
            attend[row, start:end, start:end] = torch.ones(length, length).tril().bool()
    return attend


def test_blocks_are_the_stretches_that_do_not_see_each_other(monkeypatch):
    monkeypatch.setattr(block_attention, "AT_LEAST", 1)
    attend = packed((3, 4, 2), (9,))
    assert blocks(attend) == [(0, 0, 3), (0, 3, 7), (0, 7, 9), (1, 0, 9)]
    attend[0, 8, 0] = True  # the last position sees the first: everything between hangs together
    assert blocks(attend) == [(0, 0, 9), (1, 0, 9)]


def test_branches_of_a_shared_beginning_are_one_block(monkeypatch):
    monkeypatch.setattr(block_attention, "AT_LEAST", 1)
    attend = packed((2, 2, 2, 3))
    attend[0, 2:6, :2] = True  # two branches see a beginning, and not each other
    assert blocks(attend) == [(0, 0, 6), (0, 6, 9)]


def test_small_blocks_are_joined(monkeypatch):
    monkeypatch.setattr(block_attention, "AT_LEAST", 4)
    assert blocks(packed((3, 3, 5, 1, 1))) == [(0, 0, 6), (0, 6, 11), (0, 11, 13)]


def test_outputs_and_gradients_are_those_of_the_eager_attention(monkeypatch):
    from transformers.models.llama.modeling_llama import eager_attention_forward

    monkeypatch.setattr(block_attention, "AT_LEAST", 3)
    attend = packed((3, 4, 1, 1), (5, 4, 0, 0))
    mask = torch.zeros(attend.shape).masked_fill_(~attend, torch.finfo(torch.float32).min)[:, None]
    module = torch.nn.Module()
    module.num_key_value_groups = HEADS // KEY_HEADS
    torch.manual_seed(0)
    inputs = [
        torch.randn(2, heads, 9, CHANNELS, requires_grad=True) for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]

    def run(function, **options):
        out, _ = function(module, *inputs, mask, scaling=0.4, **options)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        return [out, *torch.autograd.grad((out * weights).sum(), inputs)]

    ours = run(block_attention.attention, blocks=blocks(attend))
    for mine, theirs in zip(ours, run(eager_attention_forward)):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    assert ours[0].shape == (2, 9, HEADS, CHANNELS)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("recomputed", [False, True])
def test_a_backbone_computes_the_same_in_blocks(masked, recomputed, llama, ids, monkeypatch):
    monkeypatch.setattr(block_attention, "AT_LEAST", 1)
    backbone = CausalBackbone(llama, None).checkpoint_gradients(recomputed)
    embeddings = backbone.embed(ids).detach().requires_grad_()
    options = {"attend": packed((4, 5), (6, 3))} if masked else {}

    def run():
        out = backbone(embeddings, **options)
        return out, torch.autograd.grad(out.square().sum(), embeddings)[0]

    before = run()
    seen = []
    whole = block_attention.blocks
    monkeypatch.setattr(block_attention, "blocks", lambda attend: seen.append(whole(attend)) or seen[-1])
    after = backbone.attend_in_blocks() and run()
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-5)
    assert seen == ([[(0, 0, 4), (0, 4, 9), (1, 0, 6), (1, 6, 9)]] if masked else [])


def test_decoding_with_a_cache_is_as_before(llama, ids):
    backbone = CausalBackbone(llama, None)

    def run():
        cache = transformers.DynamicCache(config=llama.config)
        with torch.no_grad():
            parts = [backbone(backbone.embed(ids[:, a:b]), cache=cache) for a, b in ((0, 6), (6, 7), (7, 9))]
            return torch.cat(parts, 1), llama.generate(ids, max_new_tokens=4, do_sample=False)

    states, written = run()
    backbone.attend_in_blocks()
    again, rewritten = run()
    torch.testing.assert_close(again, states, atol=1e-5, rtol=0)
    assert rewritten.tolist() == written.tolist()


def test_other_attention_is_left_alone():
    lm = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9))
    with pytest.raises(ValueError, match="got a 'gpt2' language model; expected one of llama, qwen2"):
        CausalBackbone(lm, None).attend_in_blocks()
