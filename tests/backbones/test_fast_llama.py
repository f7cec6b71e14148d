"""FastLlama computes what the backbone does: whole, step by step, padded, with LoRA, in few bits."""

import pytest
import torch
import transformers

from sensorium.backbones import CausalBackbone
from sensorium.backbones.fast_llama import FastLlama
from sensorium.backbones.packed_linear import _levels, pack

LLAMA = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def backbone_of(**changes) -> CausalBackbone:
    torch.manual_seed(0)
    lm = transformers.LlamaForCausalLM(transformers.LlamaConfig(**(LLAMA | changes))).eval()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return CausalBackbone(lm, None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": True, "num_key_value_heads": 4},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
        {"head_dim": 32},
    ],
)
@torch.no_grad()
def test_whole_and_step_by_step_give_the_backbones_logits(changes):
    backbone = backbone_of(**changes)
    fast = FastLlama(backbone, "fp32")
    ids = torch.randint(0, 96, (2, 300))
    embeddings = fast.embed(ids)
    expected = backbone.logits(backbone(backbone.embed(ids)))
    torch.testing.assert_close(fast.logits(fast(embeddings)), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(embeddings, backbone.embed(ids))  # they are summed upon, but elsewhere
    cache = fast.new_cache()
    parts = [
        fast.logits(fast(fast.embed(ids[:, start:end]), cache=cache))
        for start, end in [(0, 5), (5, 6), (6, 7), (7, 290), *((n, n + 1) for n in range(290, 300))]
    ]
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-4, rtol=1e-4)
    assert cache.get_seq_length() == 300


@torch.no_grad()
def test_a_cropped_cache_goes_on_as_if_the_rest_had_never_been():
    fast = FastLlama(backbone_of(), "fp32")
    ids = torch.randint(0, 96, (1, 20))
    cache = fast.new_cache()
    fast(fast.embed(ids), cache=cache)
    cache.crop(-8)
    again = fast(fast.embed(ids[:, :4]), cache=cache)
    expected = fast(fast.embed(torch.cat([ids[:, :12], ids[:, :4]], 1)))[:, 12:]
    torch.testing.assert_close(again, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_masks_and_positions_are_the_backbones():
    backbone = backbone_of()
    fast = FastLlama(backbone, "fp32")
    embeddings = torch.randn(2, 9, 64)
    attend = torch.ones(9, 9, dtype=torch.bool).tril().repeat(2, 1, 1)
    attend[1, :, :4] = torch.eye(9, dtype=torch.bool)[:, :4]
    positions = torch.stack([torch.arange(9), (torch.arange(9) - 4).clamp(min=0)])
    expected = backbone(embeddings, attend, positions)
    torch.testing.assert_close(fast(embeddings, attend, positions), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_lora_is_merged_and_the_backbone_keeps_its_adapters():
    backbone = backbone_of()
    backbone.add_lora(rank=2)
    for name, parameter in backbone.lm.named_parameters():
        if ".lora_" in name:
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    ids = torch.randint(0, 96, (1, 8))
    expected = backbone.logits(backbone(backbone.embed(ids)))
    fast = FastLlama(backbone, "fp32")
    torch.testing.assert_close(fast.logits(fast(fast.embed(ids))), expected, atol=1e-4, rtol=1e-4)
    assert any(".lora_" in name for name, _ in backbone.lm.named_parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@torch.no_grad()
def test_the_likeliest_token_is_that_of_the_logits(precision, monkeypatch):
    fast = FastLlama(backbone_of(), precision)
    hidden = fast(fast.embed(torch.randint(0, 96, (1, 40))))[0]
    expected = fast.logits(hidden).argmax(-1).tolist()
    for _ in range(2):
        assert [fast.likeliest(one).item() for one in hidden.split(1)] == expected
        assert fast.likeliest(hidden).tolist() == expected
        monkeypatch.setattr("sensorium.backbones.screened_head.MOST", 0)  # all logits after all


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.9995), ("int8", 0.999), ("int4", 0.9)])
@torch.no_grad()
def test_few_bits_keep_the_direction_of_the_logits(precision, least):
    backbone = backbone_of()
    fast = FastLlama(backbone, precision)
    ids = torch.randint(0, 96, (1, 24))
    expected = backbone.logits(backbone(backbone.embed(ids)))[0]
    cache = fast.new_cache()
    got = torch.cat([fast.logits(fast(fast.embed(ids[:, n : n + 1]), cache=cache)) for n in range(24)], 1)[0]
    assert torch.cosine_similarity(got.float(), expected, dim=-1).min() > least


def test_weights_of_sixteen_levels_are_kept_in_four_bits():
    levels = torch.randint(0, 16, (64, 2, 32))
    levels[..., 0], levels[..., 1] = 0, 15
    scale, low = torch.rand(64, 2) + 0.5, torch.randn(64, 2)
    weight = (levels * scale[..., None] + low[..., None]).view(64, 64)
    found, found_scale, found_low = _levels(weight)
    assert torch.equal(found.long(), levels.view(64, 64))
    torch.testing.assert_close(found_scale, scale)
    torch.testing.assert_close(found_low, low)
    rows = torch.randn(3, 64)
    got = pack(weight, "int4")(rows.bfloat16()).float()
    assert torch.cosine_similarity(got, rows @ weight.T).min() > 0.9999


def test_other_models_and_precisions_are_refused():
    gpt2 = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=16)
    )
    assert not FastLlama.fits(CausalBackbone(gpt2, None))
    with pytest.raises(ValueError, match="'gpt2' language model; expected a plain Llama"):
        FastLlama(CausalBackbone(gpt2, None))
    with pytest.raises(ValueError, match="precision='int3'; expected one of fp32, bf16, int8, int4"):
        FastLlama(backbone_of(), "int3")
