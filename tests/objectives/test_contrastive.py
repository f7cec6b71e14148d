"""InfoNCE and SigLIP: known values, two routes to one number, and the whole batch in pieces."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sensorium.models.joint_embedding import Embeddings
from sensorium.objectives.column_pairs import share_meaning
from sensorium.objectives.info_nce import InfoNCE, info_nce_sum
from sensorium.objectives.siglip import SigLIP, siglip_sum

OBJECTIVES = {
    "info_nce": InfoNCE,
    "info_nce_smoothed": lambda **options: InfoNCE(label_smoothing=0.1, **options),
    "siglip": SigLIP,
}
NONE = -1


def embeddings_of(present: dict[str, list[int]], width: int = 8, seed: int = 0) -> Embeddings:
    torch.manual_seed(seed)
    masks = {name: torch.tensor(mask, dtype=torch.bool) for name, mask in present.items()}
    vectors = {
        name: F.normalize(torch.randn(int(mask.sum()), width), dim=1).requires_grad_()
        for name, mask in masks.items()
    }
    return Embeddings(
        vectors, masks, torch.tensor(7.0, requires_grad=True), torch.tensor(-2.0, requires_grad=True)
    )


def total(objective, embeddings: Embeddings, meanings: torch.Tensor) -> torch.Tensor:
    return sum(objective.losses(embeddings, meanings).values())


def gradients(objective, embeddings: Embeddings, meanings: torch.Tensor) -> list[torch.Tensor]:
    leaves = [*embeddings.vectors.values(), embeddings.scale, embeddings.bias]
    return list(torch.autograd.grad(total(objective, embeddings, meanings), leaves))


def rows_of(embeddings: Embeddings, rows: list[int]) -> Embeddings:
    """The embeddings of some rows of the batch, in the order given."""
    vectors, present = {}, {}
    for name, mask in embeddings.present.items():
        place = mask.cumsum(0) - 1
        present[name] = mask[rows]
        vectors[name] = embeddings.vectors[name][[int(place[row]) for row in rows if mask[row]]]
    return Embeddings(vectors, present, embeddings.scale, embeddings.bias)


def test_without_shared_meanings_info_nce_is_clips_cross_entropy():
    embeddings = embeddings_of({"picture": [1] * 9, "caption": [1] * 9})
    x, y = embeddings.vectors.values()
    logits, own = embeddings.scale * x @ y.T, torch.arange(9)
    for smoothing in (0.0, 0.1):
        losses = InfoNCE(label_smoothing=smoothing).losses(embeddings, torch.full((9, 1), NONE))
        clip = sum(F.cross_entropy(way, own, label_smoothing=smoothing) for way in (logits, logits.T)) / 2
        assert losses.keys() == {"info_nce/picture-caption"}
        torch.testing.assert_close(losses["info_nce/picture-caption"], clip)
        for ours, theirs in zip(
            torch.autograd.grad(losses["info_nce/picture-caption"], [x, y], retain_graph=True),
            torch.autograd.grad(clip, [x, y], retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


# Rows 0 and 1 share a meaning; e^logits are small whole numbers.
LOGITS = torch.tensor([[2.0, 1.0, 3.0], [1.0, 1.0, 1.0], [4.0, 2.0, 1.0]]).log()
MEANINGS = torch.tensor([[5, 6], [6, NONE], [7, NONE]])


def test_rows_of_one_meaning_are_in_nobodys_denominator():
    positives = share_meaning(MEANINGS, MEANINGS)
    assert positives.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    # Row 0 against its one negative 3: 2/(2+3) and 1/(1+3), never 2/(2+1+3). Row 2 has the negatives 4 and 2.
    by_hand = -(math.log(2 / 5) + math.log(1 / 4)) / 2 - math.log(1 / 2) - math.log(1 / 7)
    assert info_nce_sum(LOGITS, positives).item() == pytest.approx(by_hand, abs=1e-6)


def test_positives_are_never_pushed_away():
    logits = torch.tensor([[9.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], requires_grad=True)
    positives = share_meaning(MEANINGS, MEANINGS)
    (gradient,) = torch.autograd.grad(info_nce_sum(logits, positives), logits)
    assert (gradient[positives] < 0).all()
    assert (gradient[~positives] > 0).all()


def test_siglip_by_hand():
    positives = share_meaning(MEANINGS, MEANINGS)
    odds = LOGITS.exp()  # σ(s) = odds / (1 + odds)
    by_hand = -(odds / (1 + odds)).where(positives, 1 / (1 + odds)).log().sum()
    torch.testing.assert_close(siglip_sum(LOGITS, positives), by_hand)


def test_rows_without_negatives_cost_nothing():
    logits = torch.randn(3, 3, requires_grad=True)
    loss = info_nce_sum(logits, torch.ones(3, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.abs().max().item() == 0.0


UNEVEN = {
    "picture": [1, 1, 1, 0, 1, 1, 1, 0],
    "caption": [1, 1, 0, 1, 1, 1, 1, 0],
    "speech": [0, 1, 1, 1, 0, 0, 1, 1],
}
UNEVEN_MEANINGS = torch.tensor(
    [[1, 9], [2, NONE], [3, NONE], [3, 9], [1, NONE], [NONE, NONE], [2, 8], [9, NONE]]
)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_uneven_pairs_are_the_sum_of_their_sub_batches(name):
    objective, embeddings = OBJECTIVES[name](), embeddings_of(UNEVEN)
    by_pair = 0.0
    for a, b, rows in (
        ("picture", "caption", [0, 1, 4, 5, 6]),
        ("picture", "speech", [1, 2, 6]),
        ("caption", "speech", [1, 3, 6]),
    ):
        part = rows_of(embeddings, rows)
        part = Embeddings({c: part.vectors[c] for c in (a, b)}, part.present, part.scale, part.bias)
        by_pair += total(objective, part, UNEVEN_MEANINGS[rows])
    torch.testing.assert_close(total(objective, embeddings, UNEVEN_MEANINGS), by_pair)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_order_of_rows_changes_nothing(name):
    objective, embeddings = OBJECTIVES[name](), embeddings_of(UNEVEN)
    order = [3, 7, 0, 5, 2, 6, 1, 4]
    shuffled = rows_of(embeddings, order)
    torch.testing.assert_close(
        total(objective, shuffled, UNEVEN_MEANINGS[order]), total(objective, embeddings, UNEVEN_MEANINGS)
    )


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
def test_chunks_give_the_loss_and_gradients_of_the_whole(name, chunk):
    embeddings = embeddings_of(UNEVEN)
    plain, chunked = OBJECTIVES[name](), OBJECTIVES[name](chunk=chunk)
    torch.testing.assert_close(
        total(chunked, embeddings, UNEVEN_MEANINGS),
        total(plain, embeddings, UNEVEN_MEANINGS),
        atol=1e-6,
        rtol=1e-6,
    )
    for ours, theirs in zip(
        gradients(chunked, embeddings, UNEVEN_MEANINGS),
        gradients(plain, embeddings, UNEVEN_MEANINGS),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


class _Largest(TorchDispatchMode):
    """Watches every operation and remembers the most elements that a result had."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            self.numel = max(self.numel, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
        return result


@pytest.mark.parametrize("name", OBJECTIVES)
def test_chunks_never_hold_all_logits(name):
    N, chunk = 64, 16
    embeddings = embeddings_of({"picture": [1] * N, "caption": [1] * N})

    def largest_tensor(objective) -> int:
        with _Largest() as largest:
            total(objective, embeddings, torch.full((N, 1), NONE)).backward()
        return largest.numel

    assert largest_tensor(OBJECTIVES[name]()) == N * N
    assert largest_tensor(OBJECTIVES[name](chunk=chunk)) == chunk * N


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("chunk", [None, 3])
def test_a_pair_that_no_row_has_is_zero(name, chunk):
    embeddings = embeddings_of({"picture": [1, 1, 0, 0], "caption": [1, 1, 0, 0], "speech": [0, 0, 1, 1]})
    losses = OBJECTIVES[name](chunk=chunk).losses(embeddings, torch.full((4, 1), NONE))
    assert [loss.item() for key, loss in losses.items() if "speech" in key] == [0.0, 0.0]
    sum(losses.values()).backward()
    assert embeddings.vectors["speech"].grad.abs().max().item() == 0.0
    assert embeddings.vectors["picture"].grad.abs().max().item() > 0.0


def test_weights_choose_and_weigh_the_pairs():
    embeddings = embeddings_of(UNEVEN)
    everything = InfoNCE().losses(embeddings, UNEVEN_MEANINGS)
    losses = InfoNCE(weights={("picture", "speech"): 0.25}).losses(embeddings, UNEVEN_MEANINGS)
    assert losses.keys() == {"info_nce/picture-speech"}
    torch.testing.assert_close(
        losses["info_nce/picture-speech"], 0.25 * everything["info_nce/picture-speech"]
    )
    with pytest.raises(ValueError, match=r"names \['sound'\].*caption.*picture.*speech"):
        InfoNCE(weights={("picture", "sound"): 1.0}).losses(embeddings, UNEVEN_MEANINGS)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("chunk", [None, 3])
def test_autocast_leaves_the_loss_in_float32(name, chunk):
    embeddings, objective = embeddings_of(UNEVEN), OBJECTIVES[name](chunk=chunk)
    plain = total(objective, embeddings, UNEVEN_MEANINGS)
    with torch.autocast("cpu", torch.bfloat16):
        cast = total(objective, embeddings, UNEVEN_MEANINGS)
    assert cast.dtype == torch.float32
    assert cast.item() == plain.item()


@pytest.mark.parametrize(("smoothing", "chunk"), [(1.0, None), (-0.1, None), (0.0, 0)])
def test_impossible_options_are_errors(smoothing, chunk):
    with pytest.raises(ValueError, match="give"):
        InfoNCE(label_smoothing=smoothing, chunk=chunk)


def test_two_processes_give_the_numbers_of_one(tmp_path: Path):
    """Losses, and the gradients of a model averaged over processes as DDP does, from uneven rows; the second
    process has no speech at all."""
    worker = Path(__file__).with_name("global_batch_worker.py")

    def run(world: int) -> list[dict]:
        folder = tmp_path / f"world{world}"
        folder.mkdir()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        processes = [
            subprocess.Popen(
                [sys.executable, str(worker), str(rank), str(world), str(folder)],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(world)
        ]
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]

    (alone,), together = run(1), run(2)
    assert alone.keys() == {"InfoNCE(None)", "InfoNCE(2)", "SigLIP(None)", "SigLIP(2)"}
    for objective, expected in alone.items():
        for rank in together:
            assert rank[objective]["losses"] == pytest.approx(expected["losses"], abs=1e-6)
            for parameter, gradient in expected["gradients"].items():
                ours = torch.tensor(rank[objective]["gradients"][parameter])
                torch.testing.assert_close(ours, torch.tensor(gradient), atol=1e-6, rtol=1e-5)
        assert all(torch.tensor(gradient).abs().max() > 1e-4 for gradient in expected["gradients"].values())


def test_anchors_are_moved_by_pairs_among_themselves_only():
    embeddings = embeddings_of({"picture": [1] * 6, "caption": [1] * 6, "speech": [1] * 6})
    meanings = torch.full((6, 1), NONE)
    anchored = InfoNCE(anchors=("picture", "caption"))
    alone = InfoNCE(weights={("picture", "caption"): 1.0})
    all_pairs = InfoNCE()
    torch.testing.assert_close(total(anchored, embeddings, meanings), total(all_pairs, embeddings, meanings))
    columns = [embeddings.vectors[name] for name in ("picture", "caption", "speech")]
    moved = torch.autograd.grad(total(anchored, embeddings, meanings), columns)
    by_pair = torch.autograd.grad(total(alone, embeddings, meanings), columns[:2])
    by_all = torch.autograd.grad(total(all_pairs, embeddings, meanings), columns)
    torch.testing.assert_close(moved[:2], by_pair)
    torch.testing.assert_close(moved[2], by_all[2])
    assert not torch.allclose(moved[0], by_all[0])
