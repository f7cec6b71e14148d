"""Co-, pooled, modality-specific and gated attention: each by two routes, and what all of them owe to masks."""

import pytest
import torch
from torch import nn

from sensorium.layers import (
    Attention,
    AttentionBlock,
    AttentionPooling,
    CoAttention,
    GatedAttention,
    HierarchicalAttention,
    ModalityAttention,
    ParallelCoAttention,
    SampleGatedAttention,
)

REAL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]]).bool()
OTHER = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 0]]).bool()


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_co_attention_is_two_attentions_at_once():
    torch.manual_seed(0)
    layer = CoAttention(8, 2, other_width=6)
    x, y = torch.randn(3, 4, 8), torch.randn(3, 3, 6)
    of_x, of_y = layer(x, y, OTHER, REAL)
    close(of_x, layer.of_x(x, y, OTHER))
    close(of_y, layer.of_y(y, x, REAL))
    for part, weights, own, read in (
        (layer.of_x, layer.weights(x, y, OTHER, REAL)[0], of_x, y),
        (layer.of_y, layer.weights(x, y, OTHER, REAL)[1], of_y, x),
    ):
        values = part.value(read).view(3, read.shape[1], 2, -1).transpose(1, 2)
        close(part.output((weights @ values).transpose(1, 2).flatten(2)), own)


def test_parallel_co_attention_is_the_paper_s_equations_row_by_row():
    torch.manual_seed(0)
    layer = ParallelCoAttention(8, other_width=6, inner=5)
    x, y = torch.randn(3, 4, 8), torch.randn(3, 3, 6)
    of_x, of_y = layer(x, y, OTHER, REAL)
    for row in range(3):
        Q, V = (
            x[row, REAL[row]].T,
            y[row, OTHER[row]].T,
        )  # the paper's columns: a question's words, a picture's regions
        C = torch.tanh(Q.T @ layer.fit.weight.T @ V)
        HV = torch.tanh(layer.map_y.weight @ V + layer.map_x.weight @ Q @ C)
        HQ = torch.tanh(layer.map_x.weight @ Q + layer.map_y.weight @ V @ C.T)
        close(of_y[row], V @ (layer.score_y.weight @ HV).softmax(-1)[0])
        close(of_x[row], Q @ (layer.score_x.weight @ HQ).softmax(-1)[0])
    shares_x, shares_y = layer.weights(x, y, OTHER, REAL)
    assert shares_x.shape == (3, 1, 1, 4)
    assert shares_y.shape == (3, 1, 1, 3)
    close(shares_x.sum(-1), torch.ones(3, 1, 1))


def test_pooling_by_hand():
    layer = AttentionPooling(1)
    with torch.no_grad():
        layer.hidden.weight.fill_(1.0)
        layer.hidden.bias.fill_(0.0)
        layer.question.weight.fill_(2.0)
    x = torch.tensor([[[0.0], [3.0]]])
    share = 1 / (1 + torch.exp(-2 * torch.tensor(3.0).tanh()))  # softmax of (0, 2 · tanh 3)
    close(layer(x), (3 * share).view(1, 1))
    close(layer.weights(x), torch.stack([1 - share, share]).view(1, 1, 1, 2))
    close(layer(x, torch.tensor([[True, False]])), torch.zeros(1, 1))


def test_hierarchical_attention_is_pooling_twice():
    torch.manual_seed(0)
    layer = HierarchicalAttention(8)
    x = torch.randn(2, 3, 4, 8)
    mask = torch.rand(2, 3, 4) > 0.4
    mask[0, 1] = False  # a sentence without words
    mask[0, 0, 0] = mask[1, :, 0] = True
    found = layer(x, mask)
    for row in range(2):
        sentences = torch.stack([layer.words(s[m][None])[0] for s, m in zip(x[row], mask[row]) if m.any()])
        close(found[row], layer.sentences(sentences[None])[0])
    weights = layer.weights(x, mask)
    close(weights.sum((2, 3)), torch.ones(2, 1))
    close((weights[:, 0, :, :, None] * x).sum((1, 2)), found)
    close(weights.sum(-1), layer.sentence_weights(x, mask)[:, :, 0])


def test_sentences_may_see_each_other_in_between():
    torch.manual_seed(0)
    layer = HierarchicalAttention(8, between=AttentionBlock(8, 2))
    x = torch.randn(1, 3, 4, 8)
    sentences = layer.words(x[0])
    close(layer(x), layer.sentences(layer.between(sentences[None])))
    alone = torch.ones(1, 3, 4, dtype=torch.bool)
    alone[0, 2] = False
    close(layer(x, alone), layer(x[:, :2]))


def test_modality_attention_maps_each_token_by_its_modality():
    torch.manual_seed(0)
    layer = ModalityAttention(8, 2, ("text", "image"))
    x, which = torch.randn(3, 4, 8), torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]])
    found = layer(x, which, REAL)

    def by_token(maps):
        return torch.stack([torch.stack([maps.maps[m](t) for t, m in zip(*row)]) for row in zip(x, which)])

    query, key, value = (
        by_token(m).view(3, 4, 2, 4).transpose(1, 2) for m in (layer.query, layer.key, layer.value)
    )
    logits = (query @ key.transpose(2, 3) / 2).masked_fill(~REAL[:, None, None], float("-inf"))
    weights = logits.softmax(-1)
    close(layer.weights(x, which, REAL), weights)
    read = (weights @ value).transpose(1, 2).flatten(2)
    for row in range(3):
        for place in range(4):
            close(found[row, place], layer.output.maps[which[row, place]](read[row, place]))
    close(layer(x[:1], which[0]), layer(x[:1], which[:1]))  # one order for all rows


def test_modalities_of_equal_maps_are_plain_attention():
    torch.manual_seed(0)
    plain, layer = Attention(8, 2), ModalityAttention(8, 2, ("text", "image", "audio"))
    for name in ("query", "key", "value", "output"):
        for one in getattr(layer, name).maps:
            one.load_state_dict(getattr(plain, name).state_dict())
    x = torch.randn(3, 4, 8)
    close(layer(x, torch.tensor([2, 0, 1, 1]), REAL), plain(x, mask=REAL))


def test_modalities_that_do_not_fit_are_refused():
    layer = ModalityAttention(8, 2, ("text", "image"))
    with pytest.raises(ValueError, match=r"numbers from 0 to 2; expected places in text, image: 0 to 1"):
        layer(torch.randn(1, 3, 8), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="different names"):
        ModalityAttention(8, 2, ("text", "text"))
    with pytest.raises(ValueError, match="got width=8, heads=3"):
        ModalityAttention(8, 3, ("text",))


def test_a_tanh_gate_is_shut_at_first_and_opens():
    torch.manual_seed(0)
    layer = GatedAttention(8, 2, key_width=6)
    x, y = torch.randn(3, 4, 8), torch.randn(3, 3, 6)
    assert torch.equal(layer(x, y, OTHER), x)
    layer(x, y, OTHER).square().sum().backward()
    assert layer.alpha.grad.abs() > 0
    with torch.no_grad():
        layer.alpha.fill_(0.5493061)  # tanh is 1/2
    close(layer(x, y, OTHER), x + layer.attention(x, y, OTHER) / 2)
    close(layer.gates(x, y, OTHER), torch.full((3,), 0.5))


def test_a_sample_s_gate_is_between_none_and_all_of_what_is_read():
    torch.manual_seed(0)
    layer = SampleGatedAttention(8, 2, key_width=6)
    x, y = torch.randn(3, 4, 8), torch.randn(3, 3, 6)
    read, gates = layer.attention(x, y, OTHER), layer.gates(x, y, OTHER, REAL)
    for row in range(3):
        means = torch.cat([x[row, REAL[row]].mean(0), read[row, REAL[row]].mean(0)])
        close(gates[row], torch.sigmoid(layer.gate(means))[0])
        close(layer(x, y, OTHER, REAL)[row], x[row] + gates[row] * read[row])
    assert gates.unique().numel() == 3
    own = SampleGatedAttention(8, 2)
    close(own(x, mask=REAL), own(x, x, REAL, REAL))


class Pooled(nn.Module):
    """Two sentences of each row, so that a layer of [B, S, T, D] can stand among the others."""

    def __init__(self):
        super().__init__()
        self.layer = HierarchicalAttention(8)

    def forward(self, x, mask):
        return self.layer(torch.stack([x, x.flip(-1)], 1), torch.stack([mask, mask], 1))


def two_streams(layer, x, mask):
    """x and a changed x read each other; sequences end to end, vectors too."""
    return torch.cat(layer(x, x.flip(-1), mask, mask), 1)


def over_two(layer, x, mask):
    return layer(x, torch.arange(x.shape[1]) % 2, mask)


def over_itself(layer, x, mask):
    return layer(x, mask=mask)


EVERY = {
    "attention": (lambda: Attention(8, 2), over_itself),
    "block": (lambda: AttentionBlock(8, 2), over_itself),
    "co": (lambda: CoAttention(8, 2), two_streams),
    "parallel co": (lambda: ParallelCoAttention(8), two_streams),
    "pooling": (lambda: AttentionPooling(8), over_itself),
    "hierarchical": (Pooled, lambda layer, x, mask: layer(x, mask)),
    "modality": (lambda: ModalityAttention(8, 2, ("a", "b")), over_two),
    "gated": (lambda: GatedAttention(8, 2), over_itself),
    "sample gated": (lambda: SampleGatedAttention(8, 2), over_itself),
}


def opened(make):
    torch.manual_seed(0)
    layer = make()
    if isinstance(layer, GatedAttention):
        nn.init.constant_(layer.alpha, 0.7)
    return layer


def rows_of(found, mask):
    """Each row's result without its padding: of a sequence the real positions (of two: both), of a vector all."""
    if found.dim() == 2:
        return list(found)
    mask = mask.repeat(1, found.shape[1] // mask.shape[1])
    return [row[real] for row, real in zip(found, mask)]


@pytest.mark.parametrize("kind", EVERY)
def test_neither_padding_nor_other_rows_change_a_row(kind):
    make, call = EVERY[kind]
    layer, x = opened(make), torch.randn(3, 4, 8)
    expected = rows_of(call(layer, x, REAL), REAL)
    longer = torch.cat([x.masked_fill(~REAL[..., None], 1e3), torch.full((3, 2, 8), -1e3)], 1)
    mask = torch.cat([REAL, torch.zeros(3, 2, dtype=torch.bool)], 1)
    for row in range(3):
        alone = rows_of(call(layer, x[row : row + 1], REAL[row : row + 1]), REAL[row : row + 1])[0]
        padded = rows_of(call(layer, longer, mask), mask)[row]
        torch.testing.assert_close(alone, expected[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(padded, expected[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_a_row_with_nothing_real_reads_nothing_and_gradients_stay_finite(kind):
    make, call = EVERY[kind]
    layer = opened(make)
    x = torch.randn(3, 4, 8, requires_grad=True)
    mask = REAL.clone()
    mask[1] = False
    found = call(layer, x, mask)
    if kind == "block":
        close(found[1], (x + layer.feed_forward(layer.feed_forward_norm(x)))[1])
    elif "gated" in kind:
        assert torch.equal(found[1], x[1])
    else:
        assert found[1].abs().max() == 0
    assert found[0].abs().max() > 0
    found.square().sum().backward()
    assert x.grad.isfinite().all()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # a number added to all keys' logits leaves a softmax what it is
        assert "key.bias" in name or parameter.grad.abs().max() > 0, name
