"""Token-wise, pooling and stacking projectors: Features -> Features of stated width and length."""

import pytest
import torch
from torch import nn

from sensorium.features import Features
from sensorium.projectors import (
    Chain,
    DropFirst,
    FrameStacking,
    GridPooling,
    LinearProjector,
    MlpProjector,
    PerceiverResampler,
    PixelShuffle,
    PlaceStacking,
    QFormer,
)


def linear() -> LinearProjector:
    torch.manual_seed(0)
    return LinearProjector(nn.Linear(5, 3))


def mlp(width: int = 5) -> MlpProjector:
    torch.manual_seed(0)
    return MlpProjector(nn.Linear(width, 7), nn.Linear(7, 3))


def test_linear_and_mlp_projectors_are_their_layers_on_every_token(features_of):
    features = features_of([4, 2], 5)
    projector = mlp()
    for row, token in ((0, 3), (1, 1)):
        x = features.tokens[row, token]
        torch.testing.assert_close(linear()(features).tokens[row, token], linear().linear(x))
        lifted = x @ projector.lift.weight.T + projector.lift.bias
        gelu = lifted * 0.5 * (1 + torch.erf(lifted / 2**0.5))
        expected = gelu @ projector.lower.weight.T + projector.lower.bias
        torch.testing.assert_close(projector(features).tokens[row, token], expected)
    out = projector(features)
    torch.testing.assert_close(out.pooled[1], out.tokens[1, :2].mean(0))  # the real tokens only
    assert (projector.width, projector.length, projector.length_of(4)) == (3, None, 4)


def test_an_mlp_projector_is_the_projector_of_llava(features_of):
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    config = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=5, intermediate_size=8, num_attention_heads=1),
        text_config=LlamaConfig(hidden_size=6, num_attention_heads=1, vocab_size=11),
    )
    theirs = LlavaMultiModalProjector(config)
    ours = MlpProjector(nn.Linear(5, 6), nn.Linear(6, 6))
    names = {"linear_1": "lift", "linear_2": "lower"}
    ours.load_state_dict(
        {".".join((names[k.split(".")[0]], k.split(".")[1])): v for k, v in theirs.state_dict().items()}
    )
    features = features_of([4, 4], 5)
    torch.testing.assert_close(ours(features).tokens, theirs(features.tokens))


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected lower to take the 7"):
        MlpProjector(nn.Linear(5, 7), nn.Linear(8, 3))


def numbered_grid(side: int) -> Features:
    """Two items of side² tokens [row, column] (the second has them ten times as large)."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    tokens = torch.stack([rows, columns], -1).reshape(1, side * side, 2).float()
    tokens = torch.cat([tokens, 10 * tokens])
    return Features(tokens, torch.ones(2, side * side, dtype=torch.bool), tokens[:, 0])


def test_grid_pooling_averages_windows():
    out = GridPooling(2, 4, 2)(numbered_grid(4))
    assert out.tokens[0].tolist() == [[0.5, 0.5], [0.5, 2.5], [2.5, 0.5], [2.5, 2.5]]
    assert out.tokens[1, 3].tolist() == [25.0, 25.0]
    # 7 -> 4: windows over rows 0–1, 1–3, 3–5, 5–6
    pooling = GridPooling(2, 7, 4)
    assert pooling(numbered_grid(7)).tokens[0].reshape(4, 4, 2)[:, 0, 0].tolist() == [0.5, 2.0, 4.0, 5.5]
    assert (pooling.length, pooling.length_of(49), pooling.width) == (16, 16, 2)


def test_grid_pooling_leaves_masked_tokens_out_of_the_mean():
    grid = numbered_grid(4)
    mask = grid.mask.clone()
    mask[0, [0, 1, 4]] = False  # of the first window only the token [1, 1] is real
    mask[1, [2, 3, 6, 7]] = False  # none of the second
    out = GridPooling(2, 4, 2)(Features(grid.tokens, mask, grid.pooled))
    assert out.tokens[0, 0].tolist() == [1.0, 1.0]
    assert out.mask.tolist() == [[True] * 4, [True, False, True, True]]


def test_pixel_shuffle_puts_neighbours_side_by_side():
    shuffle = PixelShuffle(2, 4, 2)
    out = shuffle(numbered_grid(4))
    assert out.tokens[0, 1].tolist() == [0, 2, 0, 3, 1, 2, 1, 3]  # [row, column] of four neighbours
    assert out.tokens[0, 2].tolist() == [2, 0, 2, 1, 3, 0, 3, 1]
    assert (shuffle.width, shuffle.length) == (8, 4)


def test_pixel_shuffle_is_that_of_idefics3(features_of):
    from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector

    features = features_of([36, 36], 4)
    theirs = Idefics3Connector.pixel_shuffle(None, features.tokens, 3)
    torch.testing.assert_close(PixelShuffle(4, 6, 3)(features).tokens, theirs)


def test_a_tail_of_frames_is_filled_with_zeros():
    tokens = torch.arange(1.0, 6.0).reshape(1, 5, 1).repeat(2, 1, 1)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    out = FrameStacking(1, 2)(Features(tokens, mask, tokens[:, 0]))
    assert out.tokens[0].tolist() == [[1, 2], [3, 4], [5, 0]]
    assert out.tokens[1].tolist() == [[1, 2], [3, 0], [0, 0]]
    assert out.mask.tolist() == [[True] * 3, [True, True, False]]
    assert out.pooled[1].tolist() == [2, 1]


def test_a_class_token_is_dropped_before_the_grid():
    grid = numbered_grid(4)
    tokens = torch.cat([torch.full((2, 1, 2), 99.0), grid.tokens], 1)
    features = Features(tokens, torch.ones(2, 17, dtype=torch.bool), tokens[:, 0])
    chain = Chain(DropFirst(2), GridPooling(2, 4, 2))
    assert torch.equal(chain(features).tokens, GridPooling(2, 4, 2)(grid).tokens)
    with pytest.raises(ValueError, match=r"17 real tokens; expected a grid of 4 × 4 = 16.*DropFirst"):
        GridPooling(2, 4, 2)(features)
    with pytest.raises(ValueError, match="16 real tokens; expected a grid of 6 × 6 = 36"):
        PixelShuffle(2, 6)(grid)


def test_a_chain_knows_the_width_and_length_that_leave():
    chain = Chain(GridPooling(5, 7, 4), PixelShuffle(5, 4, 2), mlp(20))
    assert (chain.width, chain.length, chain.length_of(49)) == (3, 4, 4)
    stacked = Chain(DropFirst(5), FrameStacking(5, 4), mlp(20))
    assert (stacked.width, stacked.length, stacked.length_of(10)) == (3, None, 3)
    assert Chain(GridPooling(5, 4, 2), FrameStacking(5, 3)).length == 2


@pytest.mark.parametrize(
    ("make", "lengths"),
    [
        (linear, [6, 3, 0]),
        (mlp, [6, 3, 0]),
        (lambda: DropFirst(5), [6, 3, 1, 0]),
        (lambda: GridPooling(5, 3, 2), [9, 9, 0]),
        (lambda: PixelShuffle(5, 4, 2), [16, 16, 0]),
        (lambda: FrameStacking(5, 3), [7, 3, 1, 0]),
        (lambda: Chain(DropFirst(5), FrameStacking(5, 2), mlp(10)), [8, 4, 0]),
        (lambda: Chain(GridPooling(5, 4, 2), mlp()), [16, 16, 0]),
    ],
)
def test_padding_never_changes_a_result(make, lengths, features_of, padding_never_counts):
    padding_never_counts(make(), features_of(lengths, 5))


@pytest.mark.parametrize(
    "make",
    [
        linear,
        mlp,
        lambda: QFormer(6, 5, layers=2, heads=2, hidden=8, queries=3),
        lambda: PerceiverResampler(5, layers=2, heads=1, latents=3, frames=2),
    ],
)
def test_padding_never_changes_a_gradient(make, features_of):
    features, projector = features_of([6, 3, 0], 5), make()
    spoiled = features.tokens.masked_fill(~features.mask[..., None], float("nan"))
    gradients = []
    for tokens in (features.tokens, spoiled):
        out = projector(Features(tokens, features.mask, features.pooled))
        gradients.append(
            torch.autograd.grad(out.tokens.sum() + out.pooled.square().sum(), projector.parameters())
        )
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: GridPooling(5, 4, 5),
        lambda: PixelShuffle(5, 7, 2),
        lambda: FrameStacking(5, 0),
        lambda: DropFirst(5, 0),
        Chain,
    ],
)
def test_impossible_shapes_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (mlp, (0, 4, 3)),
        (lambda: GridPooling(5, 2, 1), (0, 1, 5)),
        (lambda: FrameStacking(5, 3), (0, 2, 15)),
        (lambda: QFormer(6, 5, layers=1, heads=2, hidden=8, queries=3), (0, 3, 6)),
        (lambda: PerceiverResampler(5, layers=1, heads=1, latents=3, frames=2), (0, 3, 5)),
    ],
)
def test_no_items_give_no_items(make, shape):
    """A batch of texts alone has no row for the picture projector."""
    empty = Features(torch.zeros(0, 4, 5), torch.zeros(0, 4, dtype=torch.bool), torch.zeros(0, 5))
    assert make()(empty).tokens.shape == shape
    if not isinstance(make(), GridPooling):  # items without a single token, too
        none = Features(torch.zeros(2, 0, 5), torch.zeros(2, 0, dtype=torch.bool), torch.zeros(2, 5))
        out = make()(none)
        assert not out.mask.any()
        assert torch.equal(out.pooled, torch.zeros(2, shape[2]))


def test_the_frames_of_one_place_stand_side_by_side(features_of):
    features = features_of([6, 6], 5)
    stacked = PlaceStacking(5, frames=3, places=2)(features)
    assert stacked.tokens.shape == (2, 2, 15)
    for place in (0, 1):
        seen = [features.tokens[1, 2 * frame + place] for frame in range(3)]
        torch.testing.assert_close(stacked.tokens[1, place], torch.cat(seen))
    partly = PlaceStacking(5, frames=3, places=2)(features_of([6, 5], 5))
    assert partly.mask.tolist() == [[True, True], [True, False]]
    with pytest.raises(ValueError, match="got items of 6 tokens; expected 2 frames of 2 places = 4"):
        PlaceStacking(5, frames=2, places=2)(features)
