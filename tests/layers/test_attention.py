"""Attention: parity with torch's module, masks, and rows that may see nothing."""

import pytest
import torch
from torch import nn

from sensorium.layers import Attention, FeedForward, SquaredReLU, attend


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = Attention(8, 2, key_width=6)
    theirs = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True)
    with torch.no_grad():
        for name, layer in (("q", ours.query), ("k", ours.key), ("v", ours.value)):
            getattr(theirs, f"{name}_proj_weight").copy_(layer.weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    x, y = torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    mask = torch.rand(3, 5) > 0.4
    mask[:, 0] = True
    expected, _ = theirs(x, y, y, key_padding_mask=~mask)
    torch.testing.assert_close(ours(x, y, mask), expected)
    expected, _ = theirs(x, y, y)
    torch.testing.assert_close(ours(x, y), expected)


def test_a_mask_for_each_query_is_that_many_masks_of_keys():
    torch.manual_seed(0)
    layer = Attention(8, 2).eval()
    x = torch.randn(2, 4, 8)
    causal = torch.ones(4, 4, dtype=torch.bool).tril().expand(2, 4, 4)
    found = layer(x, mask=causal)
    for last in range(4):
        seen = x[:, : last + 1]
        torch.testing.assert_close(found[:, last], layer(x, seen)[:, last])


def test_a_query_that_may_see_nothing_gets_zeros_and_finite_gradients():
    torch.manual_seed(0)
    layer = Attention(8, 2)
    x = torch.randn(3, 4, 8, requires_grad=True)
    keys = torch.tensor([[True] * 4, [False] * 4, [True, False, False, False]])
    out = layer(x, mask=keys)
    assert torch.equal(out[1], torch.zeros(4, 8))
    assert out[0].abs().min() > 0
    out.sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    assert torch.equal(x.grad[1], torch.zeros(4, 8))

    each = torch.ones(3, 4, 4, dtype=torch.bool)
    each[0, 2] = False
    out = layer(x, mask=each)
    assert torch.equal(out[0, 2], torch.zeros(8))
    torch.testing.assert_close(out[0, 1], layer(x)[0, 1])


def test_one_key_gives_its_value_by_hand():
    query, key = torch.randn(1, 2, 4), torch.randn(1, 3, 4)
    value = torch.arange(12.0).view(1, 3, 4)
    mask = torch.tensor([[False, True, False]])
    assert attend(query, key, value, 2, mask)[0].tolist() == [[4, 5, 6, 7]] * 2
    assert attend(query, key, value, 2, torch.zeros_like(mask))[0].tolist() == [[0, 0, 0, 0]] * 2
    # two heads of width 1, one query: logits ln 1 and ln 3 give weights 1/4 and 3/4; none, 1/2 and 1/2
    query = torch.tensor([[[1.0, 0.0]]])
    key = torch.tensor([[[0.0, 5.0], [torch.tensor(3.0).log(), 9.0]]])
    value = torch.tensor([[[0.0, 0.0], [8.0, 8.0]]])
    torch.testing.assert_close(attend(query, key, value, 2), torch.tensor([[[6.0, 4.0]]]))


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="got width=8, heads=3"):
        Attention(8, 3)
    assert Attention(8, 3, head_width=5).output.in_features == 15


def test_feed_forward_by_hand():
    layer = FeedForward(1, 2, activation=SquaredReLU())
    with torch.no_grad():
        layer.lift.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.lift.bias.copy_(torch.tensor([1.0, 0.0]))
        layer.lower.weight.copy_(torch.tensor([[1.0, 10.0]]))
        layer.lower.bias.fill_(0.5)
    assert layer(torch.tensor([[[2.0], [-3.0]]])).flatten().tolist() == [9.5, 90.5]
