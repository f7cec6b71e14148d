"""Full and low-rank tensor fusion: two routes to one number."""

import pytest
import torch
from three_columns import HERE, NAMES, drawn, everywhere, pooled_of

from sensorium.fusion import LowRank, TensorProduct

W = 3


def written_out(fusion: LowRank) -> torch.Tensor:
    """The weights that the factors stand for, float[W + 1, …, W + 1, out]: a sum of outer products."""
    rows = []  # of each column, float[rank, size + 1, out]: its units' weights, then that of the 1
    for name in fusion.columns:
        factor = fusion.factors[name]
        whole = torch.cat([factor.weight.T, factor.bias[None]])  # [size + 1, rank · out]
        rows.append(whole.view(len(whole), fusion.rank, fusion.width).transpose(0, 1))
    return torch.einsum("raw,rbw,rcw->abcw", *rows)


def same_as(tensor: TensorProduct, weights: torch.Tensor, bias: torch.Tensor) -> TensorProduct:
    with torch.no_grad():
        tensor.linear.weight.copy_(weights.flatten(0, -2).T)
        tensor.linear.bias.copy_(bias)
    return tensor


def test_low_rank_is_the_full_tensor_of_its_factors():
    torch.manual_seed(0)
    low, features = LowRank(NAMES, W, rank=2), drawn(width=W)
    torch.nn.init.normal_(low.bias)
    full = same_as(TensorProduct(NAMES, W, size=None), written_out(low), low.bias)
    for here in (everywhere(features), HERE):
        found, expected = (fusion(features, here).branches["fused"].pooled for fusion in (low, full))
        torch.testing.assert_close(found, expected)


def test_at_full_rank_any_tensor_has_factors():
    torch.manual_seed(0)
    S, features = W + 1, drawn(width=W)
    full = TensorProduct(NAMES, W, size=None)
    weights = full.linear.weight.T.reshape(S, S, S, W)
    low = LowRank(NAMES, W, rank=S * S)
    with (
        torch.no_grad()
    ):  # term (a, b): unit a of the first, unit b of the second, their weights in the third
        rows = torch.zeros(3, S * S, S, W)
        for a in range(S):
            for b in range(S):
                rows[0, a * S + b, a] = rows[1, a * S + b, b] = 1
                rows[2, a * S + b] = weights[a, b]
        for name, of_column in zip(NAMES, rows):
            flat = of_column.transpose(0, 1).reshape(S, -1)
            low.factors[name].weight.copy_(flat[:-1].T)
            low.factors[name].bias.copy_(flat[-1])
        low.bias.copy_(full.linear.bias)
    for here in (everywhere(features), HERE):
        found, expected = (fusion(features, here).branches["fused"].pooled for fusion in (low, full))
        torch.testing.assert_close(found, expected)


def test_rank_one_by_hand():
    fusion = LowRank(("image", "text"), 1, rank=1)
    with torch.no_grad():
        for name, weight, bias in (("image", 2.0, 3.0), ("text", 5.0, 7.0)):
            fusion.factors[name].weight.fill_(weight)
            fusion.factors[name].bias.fill_(bias)
        fusion.bias.fill_(0.5)
    features = pooled_of([[10.0], [10.0]], [[100.0], [100.0]])
    here = everywhere(features) | {"text": torch.tensor([True, False])}
    found = fusion(features, here).branches["fused"].pooled
    assert found.tolist() == [[23 * 507 + 0.5], [23 * 7 + 0.5]]  # without text only its 1 is left


def test_the_tensor_by_hand():
    fusion = TensorProduct(("image", "text"), 1, size=None)
    with torch.no_grad():  # of image · text, image, text, 1
        fusion.linear.weight.copy_(torch.tensor([[2.0, 3.0, 5.0, 7.0]]))
        fusion.linear.bias.zero_()
    features = pooled_of([[10.0], [10.0]], [[100.0], [100.0]])
    here = everywhere(features) | {"text": torch.tensor([True, False])}
    assert fusion(features, here).branches["fused"].pooled.tolist() == [[2537.0], [37.0]]


def test_narrowing_leaves_absent_columns_out():
    torch.manual_seed(0)
    features = drawn(width=W)
    for fusion in (TensorProduct(NAMES, W, size=2), LowRank(NAMES, W, size=2)):
        before = fusion(features, HERE).branches["fused"].pooled
        with torch.no_grad():
            fusion.narrow["image"].bias.add_(1.0)
        after = fusion(features, HERE).branches["fused"].pooled
        assert torch.equal((after - before).abs().amax(1) > 1e-6, HERE["image"])


def test_low_rank_starts_with_every_order_of_the_same_size():
    torch.manual_seed(0)
    for rank in (1, 16):
        fusion = LowRank(NAMES, 256, rank=rank)
        x = {name: torch.randn(64, 256) for name in NAMES}
        rows = {name: factor(x[name]) for name, factor in fusion.factors.items()}
        product = (rows["image"] * rows["text"] * rows["audio"]).view(64, rank, 256).sum(1)
        alone = (rows["image"] * fusion.factors["text"].bias * fusion.factors["audio"].bias).view(
            64, rank, 256
        )
        assert 2.0 < product.std() < 4.0  # sqrt(8): eight products of unit size
        assert 1.0 < alone.sum(1).std() < 2.0  # sqrt(2)


def test_what_cannot_fit_is_refused_with_what_would():
    with pytest.raises(
        ValueError, match=r"257\^3 × 256 = 4.3e\+09.*options={'size': 63} or less, or .*low_rank"
    ):
        TensorProduct(NAMES, 256, size=None)
    fits = TensorProduct(NAMES, 256, size=12)
    assert fits.linear.weight.shape == (256, 13**3)
    with pytest.raises(ValueError, match=r"are allowed. Type fusion='low_rank'"):
        TensorProduct([f"c{n}" for n in range(20)], 256)
    with pytest.raises(ValueError, match="size: got 0"):
        TensorProduct(NAMES, 8, size=0)
    with pytest.raises(ValueError, match="rank and size: got 0"):
        LowRank(NAMES, 8, rank=0)
