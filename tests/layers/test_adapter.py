"""Adapters start as nothing, are all that learns, and stand behind every sublayer or stage."""

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    CLIPTextConfig,
    CLIPTextModel,
    GPT2Config,
    GPT2Model,
    ViTConfig,
    ViTModel,
)

from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.layers import Adapter, adapt

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
WORDS = {"input_ids": torch.tensor([[1, 5, 7, 2]])}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 3}
MODELS = {
    "bert": (lambda: BertModel(BertConfig(vocab_size=20, **SMALL)), WORDS),
    "clip": (lambda: CLIPTextModel(CLIPTextConfig(vocab_size=20, **SMALL, **SPECIAL)), WORDS),
    "gpt2": (lambda: GPT2Model(GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, **SPECIAL)), WORDS),
    "vit": (
        lambda: ViTModel(ViTConfig(image_size=16, patch_size=8, **SMALL)),
        {"pixel_values": torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)},
    ),
}


def test_an_adapter_by_hand():
    adapter = Adapter(2, 1)
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 1.0]]))
        adapter.down.bias.zero_()
        adapter.up.weight.copy_(torch.tensor([[2.0], [0.0]]))
    waist = nn.functional.gelu(torch.tensor(3.0))
    assert torch.allclose(adapter(torch.tensor([1.0, 2.0])), torch.tensor([1 + 2 * waist, 2.0]))


def test_an_adapter_of_maps_is_that_of_tokens_place_by_place():
    torch.manual_seed(0)
    tokens, maps = Adapter(6, 3), Adapter(6, 3, maps=True)
    for one, other in zip(tokens.parameters(), maps.parameters(), strict=True):
        nn.init.normal_(one)
        other.data = one.detach().view_as(other)
    x = torch.randn(2, 6, 4, 5)
    by_token = tokens(x.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(x)
    assert torch.allclose(maps(x), by_token, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_a_transformer_computes_the_same_until_its_adapters_learn(kind):
    make, inputs = MODELS[kind]
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        before = model(**inputs).last_hidden_state
        names = adapt(model, inner=3)
        assert len(names) == 4  # two layers, each behind attention and behind the feed-forward
        assert (model(**inputs).last_hidden_state - before).abs().max() <= 1e-6
    model(**inputs).last_hidden_state[..., 0].sum().backward()  # of a norm's squares the sum is fixed
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.rpartition(".adapter.")[0] for name in learning} == set(names)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == learning
    step(model)
    with torch.no_grad():
        assert (model(**inputs).last_hidden_state - before).abs().max() > 1e-4


def test_a_convolutional_encoder_computes_the_same_until_its_adapters_learn():
    torch.manual_seed(0)
    encoder = EfficientNetLite(size=32, width_factor=0.25).eval()
    inputs = {"pixels": torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)}
    with torch.no_grad():
        before = encoder(inputs).pooled
        assert adapt(encoder, inner=2) == [f"blocks.{stage}" for stage in range(7)]
        assert (encoder(inputs).pooled - before).abs().max() <= 1e-6
    encoder(inputs).pooled.sum().backward()
    learning = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert all(".adapter." in name for name in learning)
    assert len(learning) == 7 * 4
    step(encoder)
    with torch.no_grad():
        changed = encoder(inputs).pooled
        assert (changed - before).abs().max() > 1e-4
    pictures = [picture.permute(1, 2, 0).numpy() for picture in inputs["pixels"]]
    folded = encoder.encode(pictures, dtype=torch.float32).pooled  # batch norms folded, adapters not
    assert torch.allclose(folded, changed, rtol=1e-3, atol=1e-4)


def test_what_has_no_place_for_adapters_says_so():
    with pytest.raises(ValueError, match="no module's name fits"):
        adapt(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="expected it to end in"):
        adapt(nn.ModuleDict({"blocks": nn.ModuleList([nn.LayerNorm(2)])}))
    model = MODELS["bert"][0]()
    adapt(model)
    with pytest.raises(ValueError, match="has adapters already"):
        adapt(model)
    with pytest.raises(ValueError, match="inner: got 0"):
        Adapter(4, 0)


def step(model: nn.Module) -> None:
    """One of plain gradient descent, large enough to be seen."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
