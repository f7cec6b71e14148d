"""The weights of attention: two routes to one output, and those of torch's module."""

import pytest
import torch
from torch import nn

from sensorium.layers import Attention, AttentionBlock, attend, attention_weights, masked_softmax


def twins(width: int, heads: int, key_width: int) -> tuple[Attention, nn.MultiheadAttention]:
    ours = Attention(width, heads, key_width=key_width)
    theirs = nn.MultiheadAttention(width, heads, kdim=key_width, vdim=key_width, batch_first=True)
    with torch.no_grad():
        maps = [ours.query.weight, ours.key.weight, ours.value.weight]
        if key_width == width:
            theirs.in_proj_weight.copy_(torch.cat(maps))
        else:
            for name, weight in zip("qkv", maps):
                getattr(theirs, f"{name}_proj_weight").copy_(weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    return ours, theirs


@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("masks", ["none", "padding", "attention", "both"])
def test_outputs_and_weights_are_those_of_torch(crossed, masks):
    torch.manual_seed(0)
    ours, theirs = twins(8, 2, 6 if crossed else 8)
    x = torch.randn(3, 5, 8)
    y = torch.randn(3, 5, 6) if crossed else x
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1]]).bool()
    causal = torch.ones(5, 5).tril().bool()
    mask = {
        "none": None,
        "padding": real,
        "attention": causal.expand(3, 5, 5),
        "both": causal & real[:, None, :],
    }[masks]
    expected, weights = theirs(
        x,
        y,
        y,
        key_padding_mask=~real if masks in ("padding", "both") else None,
        attn_mask=~causal if masks in ("attention", "both") else None,
        average_attn_weights=False,
    )
    torch.testing.assert_close(ours(x, y if crossed else None, mask), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.weights(x, y if crossed else None, mask), weights, atol=1e-6, rtol=1e-5)


def test_weights_times_values_are_what_is_read():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 8), torch.randn(2, 4, 8), torch.randn(2, 4, 8)
    mask = torch.rand(2, 3, 4) > 0.4
    mask[0, 1] = False
    weights = attention_weights(query, key, 2, mask)
    read = weights @ value.view(2, 4, 2, 4).transpose(1, 2)
    torch.testing.assert_close(read.transpose(1, 2).reshape(2, 3, 8), attend(query, key, value, 2, mask))
    assert torch.equal(weights[0, :, 1], torch.zeros(2, 4))
    assert weights[~mask[:, None].expand(-1, 2, -1, -1)].abs().max() == 0


def test_masked_softmax_by_hand():
    logits = torch.tensor([[0.0, 3.0, 0.0], [1.0, 2.0, 3.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(logits, mask)
    assert weights.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    (weights * torch.tensor([1.0, 5.0, 2.0])).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.0, 0.25], [0.0, 0.0, 0.0]]))


def test_a_block_is_torch_s_pre_norm_layer():
    torch.manual_seed(0)
    ours = AttentionBlock(8, 2, hidden=12).eval()
    theirs = nn.TransformerEncoderLayer(
        8, 2, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    attention = ours.attention
    with torch.no_grad():
        maps = (attention.query, attention.key, attention.value)
        theirs.self_attn.in_proj_weight.copy_(torch.cat([m.weight for m in maps]))
        theirs.self_attn.in_proj_bias.copy_(torch.cat([m.bias for m in maps]))
    theirs.self_attn.out_proj.load_state_dict(attention.output.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.lift.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.lower.state_dict())
    x, real = torch.randn(2, 4, 8), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    expected = theirs(x, src_key_padding_mask=~real)
    torch.testing.assert_close(ours(x, mask=real)[real], expected[real], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        ours(x, x, real), ours(x, mask=real)
    )  # crossed with itself is attention to itself
    shown = ours.weights(x, mask=real)
    torch.testing.assert_close(shown, attention.weights(ours.norm(x), mask=real))
