"""The closed-form aligner against other routes to its numbers, and on synthetic modalities of one world."""

import numpy as np
import pytest
import scipy.linalg
import torch

from sensorium.objectives.canonical_correlation import align

RIDGE = {"picture": 0.5, "caption": 0.01}


def world(N: int, widths: dict[str, int], noise: float = 1.0, seed: int = 0) -> dict[str, torch.Tensor]:
    """Views of N things with 12 hidden traits, in float64, off centre."""
    generator = torch.Generator().manual_seed(seed)
    traits = torch.randn(N, 12, generator=generator, dtype=torch.float64)
    return {
        name: 3
        + traits @ torch.randn(12, width, generator=generator, dtype=torch.float64)
        + noise * torch.randn(N, width, generator=generator, dtype=torch.float64)
        for name, width in widths.items()
    }


def recall_at_1(queries: torch.Tensor, keys: torch.Tensor) -> float:
    queries, keys = (torch.nn.functional.normalize(rows, dim=1) for rows in (queries, keys))
    return ((queries @ keys.T).argmax(1) == torch.arange(len(queries))).double().mean().item()


def ridged(covariance: np.ndarray, ridge: float) -> np.ndarray:
    return covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


def eigenproblem(
    C_xx: np.ndarray, C_yy: np.ndarray, C_xy: np.ndarray, rank: int
) -> tuple[np.ndarray, np.ndarray]:
    """[0 C; C' 0] w = ρ [C_xx 0; 0 C_yy] w: correlations, and w with both halves of unit variance."""
    zero_x, zero_y = np.zeros_like(C_xx), np.zeros_like(C_yy)
    values, vectors = scipy.linalg.eigh(
        np.block([[zero_x, C_xy], [C_xy.T, zero_y]]), np.block([[C_xx, C_xy * 0], [C_xy.T * 0, C_yy]])
    )
    return values[::-1][:rank], vectors[:, ::-1][:, :rank] * np.sqrt(2)


def assert_same_up_to_sign(ours: torch.Tensor, theirs: np.ndarray) -> None:
    expected = torch.from_numpy(theirs)
    signs = (ours.double() * expected).sum(0).sign()
    torch.testing.assert_close(ours.double() * signs, expected, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("power", [0.0, 1.0, 0.5])
def test_two_columns_solve_the_generalised_eigenproblem(power):
    features = world(200, {"picture": 20, "caption": 15})
    alignment = align(features, rank=6, ridge=RIDGE, power=power)
    covariance = np.cov(np.hstack([features["picture"], features["caption"]]).T, bias=True)
    rho, w = eigenproblem(
        ridged(covariance[:20, :20], 0.5), ridged(covariance[20:, 20:], 0.01), covariance[:20, 20:], 6
    )
    torch.testing.assert_close(
        alignment.correlations.double(), torch.from_numpy(rho.copy()), atol=1e-6, rtol=1e-5
    )
    assert_same_up_to_sign(alignment.maps["picture"].matrix, w[:20] * rho**power)
    assert_same_up_to_sign(alignment.maps["caption"].matrix, w[20:] * rho**power)
    assert alignment.anchors == ("picture", "caption")
    assert alignment.shared == {"picture": 200, "caption": 200}
    # The columns meet: each pair of coordinates points the same way, not only up to sign.
    x, y = (alignment.maps[name](features[name].float()) for name in features)
    assert ((x * y).mean(0) > 0).all()


def test_uneven_pairs_use_every_row_that_they_can():
    features = world(300, {"picture": 20, "caption": 15}, noise=4.0)
    rows = torch.arange(300)
    present = {"picture": rows < 240, "caption": rows >= 60}
    alignment = align(features, present, rank=5, ridge=RIDGE, power=1.0)
    X, Y = features["picture"].numpy(), features["caption"].numpy()
    both = slice(60, 240)
    C_xy = (X[both] - X[both].mean(0)).T @ (Y[both] - Y[both].mean(0)) / 180
    rho, w = eigenproblem(
        ridged(np.cov(X[:240].T, bias=True), 0.5), ridged(np.cov(Y[60:].T, bias=True), 0.01), C_xy, 5
    )
    torch.testing.assert_close(
        alignment.correlations.double(), torch.from_numpy(rho.copy()), atol=1e-6, rtol=1e-5
    )
    assert_same_up_to_sign(alignment.maps["picture"].matrix, w[:20] * rho)
    assert alignment.shared["picture"] == 180
    torch.testing.assert_close(alignment.maps["picture"].mean, features["picture"][:240].mean(0).float())
    only_present = {name: features[name][present[name]] for name in features}
    torch.testing.assert_close(
        align(only_present, present, rank=5, ridge=RIDGE, power=1.0).maps["caption"].matrix,
        alignment.maps["caption"].matrix,
    )


def test_absent_rows_are_never_read():
    features = world(60, {"picture": 8, "caption": 6})
    present = {"picture": torch.arange(60) < 50, "caption": torch.arange(60) >= 5}
    spoiled = {name: rows.masked_fill(~present[name][:, None], torch.nan) for name, rows in features.items()}
    ours, theirs = (align(rows, present, rank=4).maps["picture"].matrix for rows in (spoiled, features))
    assert torch.equal(ours, theirs)


def test_the_order_of_rows_changes_nothing():
    features = world(80, {"picture": 8, "caption": 6, "speech": 7})
    present = {
        name: torch.rand(80, generator=torch.Generator().manual_seed(n)) < 0.8
        for n, name in enumerate(features)
    }
    order = torch.randperm(80, generator=torch.Generator().manual_seed(9))
    before = align(features, present, rank=4)
    after = align(
        {name: rows[order] for name, rows in features.items()},
        {name: mask[order] for name, mask in present.items()},
        rank=4,
    )
    for name in features:
        x = features[name].float()
        gram = before.maps[name](x) @ before.maps["picture"](features["picture"].float()).T
        shuffled = after.maps[name](x) @ after.maps["picture"](features["picture"].float()).T
        torch.testing.assert_close(shuffled, gram, atol=1e-4, rtol=1e-4)


def test_a_third_column_takes_nothing_from_two():
    features = world(400, {"picture": 30, "caption": 20, "speech": 25}, noise=2.0)
    two = align({name: features[name] for name in ("picture", "caption")}, rank=10)
    present = {name: torch.ones(400, dtype=torch.bool) for name in features}
    present["speech"] = torch.arange(400) < 120
    three = align(features, present, rank=10)
    assert three.anchors == ("picture", "caption")
    for name in two.maps:
        assert torch.equal(three.maps[name].matrix, two.maps[name].matrix)
        assert torch.equal(three.maps[name].mean, two.maps[name].mean)


def test_a_third_column_is_a_ridge_regression_on_the_coordinates_it_shares_rows_with():
    features = world(300, {"picture": 30, "caption": 20, "speech": 25})
    present = {name: torch.ones(300, dtype=torch.bool) for name in features}
    present["speech"] = torch.arange(300) < 120
    ours = align(features, present, rank=8, ridge=0.3, power=0.0)
    # The other route: least squares on the rows, with the ridge as extra rows.
    x = features["speech"][:120] - features["speech"][:120].mean(0)
    ridge = (0.3 * x.square().mean()).sqrt()
    centred = {name: features[name][:120] - features[name][:120].mean(0) for name in ("picture", "caption")}
    coordinates = sum(rows @ ours.maps[name].matrix.double() / 2 for name, rows in centred.items())
    padded_x = torch.cat([x / 120**0.5, ridge * torch.eye(25, dtype=torch.float64)])
    padded_z = torch.cat([coordinates / 120**0.5, torch.zeros(25, 8, dtype=torch.float64)])
    expected = torch.linalg.lstsq(padded_x, padded_z).solution
    torch.testing.assert_close(ours.maps["speech"].matrix.double(), expected, atol=1e-5, rtol=1e-4)


def test_three_columns_meet_on_things_never_seen():
    features = world(900, {"picture": 40, "caption": 30, "speech": 30})
    train = {name: rows[:600] for name, rows in features.items()}
    present = {name: torch.ones(600, dtype=torch.bool) for name in features}
    present["speech"][:300] = False  # speech was only ever recorded of pictures without a caption …
    present["caption"][300:] = False  # … so that it must find the captions through the pictures
    alignment = align(train, present, rank=12, ridge=0.1)
    assert alignment.shared["speech"] == 300
    test = {name: alignment.maps[name](rows[600:].float()) for name, rows in features.items()}
    for a, b in (("caption", "picture"), ("speech", "picture"), ("speech", "caption")):
        assert recall_at_1(test[a], test[b]) > 0.9, (a, b)


def test_a_column_may_hang_on_the_third():
    features = world(600, {"picture": 40, "caption": 30, "speech": 30, "touch": 30})
    group = torch.arange(600) // 200
    present = {"picture": group < 2, "caption": group == 0, "speech": group >= 1, "touch": group == 2}
    alignment = align(features, present, rank=12, ridge=0.1, anchors=("picture", "caption"))
    assert alignment.shared == {"picture": 200, "caption": 200, "speech": 200, "touch": 200}
    maps = {name: alignment.maps[name](rows.float()) for name, rows in features.items()}
    assert recall_at_1(maps["touch"], maps["caption"]) > 0.8


def test_rows_that_share_a_meaning_are_pairs_too():
    """Records with only a picture and records with only a caption, joined by their meanings alone."""
    features = world(100, {"picture": 12, "caption": 10})
    paired = align(features, rank=5)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    apart = align(
        {"picture": features["picture"], "caption": features["caption"][order]},
        {"picture": torch.arange(200) < 100, "caption": torch.arange(200) >= 100},
        meanings=torch.cat([torch.arange(100), order]) + 7,
        rank=5,
    )
    for name in features:
        torch.testing.assert_close(apart.maps[name].matrix, paired.maps[name].matrix, atol=1e-5, rtol=1e-5)


def test_several_pictures_of_one_caption_weigh_as_their_rows():
    """Three drawings and one caption a meaning is the same as the caption written three times."""
    drawings = torch.cat([world(60, {"picture": 12}, seed=seed)["picture"] for seed in range(3)])
    caption = world(60, {"caption": 10}, seed=5)["caption"]
    things = torch.arange(60)
    grouped = align(
        {"picture": drawings, "caption": caption},
        {"picture": torch.ones(180, dtype=torch.bool), "caption": torch.arange(180) < 60},
        meanings=torch.stack([things.repeat(3), torch.full((180,), -1)], 1),
        rank=5,
    )
    repeated = align({"picture": drawings, "caption": caption.repeat(3, 1)}, rank=5)
    torch.testing.assert_close(grouped.correlations, repeated.correlations)
    torch.testing.assert_close(
        grouped.maps["picture"].matrix, repeated.maps["picture"].matrix, atol=1e-5, rtol=1e-5
    )


def test_a_map_becomes_a_linear_layer():
    features = world(50, {"picture": 12, "caption": 10})
    alignment = align(features, rank=5)
    x = features["picture"].float()
    linear = alignment.linear("picture")
    torch.testing.assert_close(linear(x), alignment.maps["picture"](x), atol=1e-5, rtol=1e-5)
    assert linear.weight.requires_grad


def test_float32_features_are_good_enough():
    features = world(300, {"picture": 40, "caption": 30})
    single = align({name: rows.float() for name, rows in features.items()}, rank=10)
    torch.testing.assert_close(
        single.correlations, align(features, rank=10).correlations, atol=1e-5, rtol=1e-5
    )


N50 = world(50, {"picture": 60, "caption": 10})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": N50, "rank": 11}, "at most 10 dimensions over 50 common meanings"),
        ({"features": N50, "rank": 0}, "from 1 up to"),
        ({"features": {"picture": N50["picture"]}, "rank": 2}, "needs at least two"),
        ({"features": N50, "rank": 2, "anchors": ("picture", "sound")}, "give two of"),
        ({"features": N50, "rank": 2, "ridge": {"picture": 1.0}}, "name the same columns"),
        ({"features": N50, "rank": 2, "ridge": 0.0}, "'picture' .60 dimensions, 50 rows. is singular"),
        ({"features": {**N50, "picture": torch.full((50, 60), 2.0)}, "rank": 2}, "mean variance 0"),
        ({"features": {**N50, "picture": torch.full((50, 60), torch.nan)}, "rank": 2}, "mean variance nan"),
        ({"features": {**N50, "picture": torch.zeros(40, 60)}, "rank": 2}, "give `present`"),
        (
            {
                "features": {**N50, "speech": N50["picture"] * 2},
                "present": {
                    "picture": torch.arange(100) < 50,
                    "caption": torch.arange(100) < 50,
                    "speech": torch.arange(100) >= 50,
                },
                "rank": 2,
            },
            r"\['speech'\] share no two meanings",
        ),
    ],
)  # fmt: skip
def test_bad_input_says_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        align(**arguments)
