"""What holds of every kind of fusion."""

import pytest
import torch
from three_columns import HERE, NAMES, NOTHING, TASKS, WIDTH, drawn, stacked
from torch import Tensor

from sensorium.features import Features
from sensorium.fusion import KINDS, fusion_of

every_kind = pytest.mark.parametrize("kind", KINDS)


def made(kind: str, columns=NAMES):
    """As after some training: nothing stands where it started, so that no zero hides what it multiplies."""
    torch.manual_seed(0)
    fusion = fusion_of(kind, columns, WIDTH).eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return fusion


def results(fusion, features, here) -> dict[str, Tensor]:
    """All that a fusion says: its branches, its gates, and its answers to every kind of task from fixed heads."""
    fused = fusion(features, here)
    pooled, present = stacked(fused, fusion.branches)
    found = {"pooled": pooled, "present": present}
    if fused.gates is not None:
        found["gates"] = fused.gates
    for task in TASKS:
        heads = torch.randn(fusion.out_width, task.width, generator=torch.Generator().manual_seed(1))
        found[task.name] = fusion.combine(pooled @ heads, present, task)
    return found


@every_kind
@pytest.mark.parametrize("filler", [7.0, float("nan"), float("inf"), "permuted"])
def test_what_stands_in_absent_rows_reaches_nothing(kind, filler):
    fusion, clean = made(kind), drawn()
    dirty = {}
    for name, found in clean.items():
        away = ~HERE[name]
        tokens, pooled = found.tokens.clone(), found.pooled.clone()
        noise = torch.randn(int(away.sum()), WIDTH)
        pooled[away] = noise.flip(0) if filler == "permuted" else torch.full_like(noise, filler)
        tokens[away] = pooled[away][:, None].expand(-1, 3, -1)
        dirty[name] = Features(tokens, found.mask, pooled)
    expected = results(fusion, clean, HERE)
    for what, value in results(fusion, dirty, HERE).items():
        torch.testing.assert_close(value, expected[what], rtol=0, atol=0, msg=f"{kind}: {what}")


@every_kind
def test_a_row_does_not_depend_on_the_others(kind):
    fusion, features = made(kind), drawn()
    whole = results(fusion, features, HERE)
    for rows in ([0], [3, 2], [NOTHING]):
        some = {n: Features(f.tokens[rows], f.mask[rows], f.pooled[rows]) for n, f in features.items()}
        alone = results(fusion, some, {name: here[rows] for name, here in HERE.items()})
        for what, value in alone.items():
            torch.testing.assert_close(value, whole[what][rows], msg=lambda m, w=what: f"{kind}: {w}: {m}")


@every_kind
def test_a_row_with_nothing_is_zeros_and_its_answers_are_finite(kind):
    found = results(made(kind), drawn(), HERE)
    assert not found["pooled"][NOTHING].any()
    assert not found["present"][NOTHING].any()
    assert all(found[task.name].isfinite().all() for task in TASKS)
    assert not found["pooled"][~found["present"]].any()  # and so are branches that a row lacks


@every_kind
def test_every_column_counts_where_it_is(kind):
    fusion, features = made(kind), drawn()
    before = results(fusion, features, HERE)["one"]
    for name, found in features.items():
        moved = Features(found.tokens * 1.5, found.mask, found.pooled * 1.5)
        after = results(fusion, features | {name: moved}, HERE)["one"]
        changed = (after - before).abs().amax(1) > 1e-6
        assert torch.equal(changed, HERE[name]), f"{kind}: {name}"


@every_kind
def test_gates_are_shares_of_the_columns_present(kind):
    gates = made(kind)(drawn(), HERE).gates
    if gates is None:
        return
    here = torch.stack([HERE[name] for name in NAMES], 1)
    assert not gates[~here].any()
    assert (gates[here] > 0).all()
    torch.testing.assert_close(gates.sum(1), here.any(1).float())


@every_kind
@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_gradients_reach_every_parameter_and_are_finite(kind, task):
    fusion, features = made(kind), drawn()
    features["image"].pooled[NOTHING] = float("nan")  # of an absent row
    pooled, present = stacked(fusion(features, HERE), fusion.branches)
    outputs = fusion.combine(pooled @ torch.randn(WIDTH, task.width), present, task)
    answer = {"one": "b", "any": ["a", "d"], "number": 0.5, "box": [0.4, 0.6, 0.3, 0.2]}[task.name]
    targets, _ = task.targets([answer] * 6)
    task.loss(outputs, targets).sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, f"{kind}: {name}"
        assert parameter.grad.isfinite().all(), f"{kind}: {name}"
        assert parameter.grad.any(), f"{kind}: {name}"


@every_kind
def test_one_column_is_enough(kind):
    fusion = made(kind, ("text",))
    found = results(fusion, drawn(("text",)), {"text": HERE["text"]})
    assert all(value.isfinite().all() for value in found.values())
    assert torch.equal(found["pooled"].abs().amax((1, 2)) > 0, HERE["text"])


@every_kind
def test_bfloat16_gives_about_the_same(kind):
    fusion, features = made(kind), drawn()
    expected = fusion(features, HERE)
    with torch.autocast("cpu", torch.bfloat16):
        found = fusion(features, HERE)
    for branch in fusion.branches:
        one, other = found.branches[branch].pooled.float(), expected.branches[branch].pooled
        assert (one - other).abs().max() < 0.05 * (1 + other.abs().max()), kind


def test_unknown_kinds_and_options_are_told_the_names():
    with pytest.raises(ValueError, match=r"no fusion 'gate'.*gated.*Did you mean 'gated'"):
        fusion_of("gate", NAMES, WIDTH)
    with pytest.raises(
        ValueError, match=r"options \['ranks'\] of the fusion 'low_rank'; it has: dropout, rank, size"
    ):
        fusion_of("low_rank", NAMES, WIDTH, ranks=4)
    with pytest.raises(ValueError, match="expected different names"):
        fusion_of("mean", ("image", "image"), WIDTH)
