"""Pseudo-labels, and starts without labels: against numbers worked out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_fusion import MOOD, STRENGTH, batch, network

from sensorium.data.batch import meaning_ids
from sensorium.objectives.column_contrast import ColumnContrast, HiddenColumn
from sensorium.objectives.column_views import noised, only, seen, without_one
from sensorium.objectives.pseudo_labels import PseudoLabels
from sensorium.objectives.supervised import Supervised


def present(*columns: str) -> dict:
    """Four rows that have image, text, both, neither."""
    return {
        "image": torch.tensor([True, False, True, False]),
        "text": torch.tensor([False, True, True, False]),
    }


def test_each_row_with_two_columns_loses_one():
    torch.manual_seed(0)
    draws = [without_one(present()) for _ in range(20)]
    for left, taken in draws:
        assert left["image"].tolist()[:2] == [True, False]
        assert left["text"].tolist()[:2] == [False, True]
        assert (left["image"][2] ^ left["text"][2]).item()
        assert (taken["image"] | taken["text"]).tolist() == [False, False, True, False]
        for name, here in present().items():
            assert torch.equal(left[name] | taken[name], here)
    assert 3 < sum(taken["image"][2].item() for _, taken in draws) < 17


def test_what_is_not_kept_is_zero():
    output = network()(batch(4))
    kept = {"image": torch.tensor([True, False, True, False]), "text": torch.ones(4, dtype=torch.bool)}
    found = seen(output.columns, kept)
    assert not found["image"].pooled[[1, 3]].any()
    assert not found["image"].tokens[[1, 3]].any()
    assert found["image"].mask.squeeze(1).tolist() == [True, False, True, False]
    torch.testing.assert_close(found["image"].pooled[0], output.columns["image"].pooled[0])
    torch.testing.assert_close(found["text"].pooled, output.columns["text"].pooled)
    assert only("text", kept) == {"image": pytest.approx([False] * 4), "text": pytest.approx([True] * 4)}


def test_noise_has_the_size_asked_for():
    torch.manual_seed(0)
    output = network()(batch(2000))
    clean = output.columns["image"].pooled
    off = noised(output.columns, 0.3)["image"].pooled - clean
    assert (off / clean.std(-1, keepdim=True)).std().item() == pytest.approx(0.3, rel=0.03)
    torch.testing.assert_close(noised(output.columns, 0.0)["image"].pooled, clean)


def test_only_what_is_sure_is_learned_and_all_unlabelled_rows_count():
    model = network(drop=0.0)
    rows = batch(4, {"text": [False] * 4}, mood=["glad", None, None, None])  # one column: none can be hidden
    output = model(rows)
    output.outputs["mood"] = torch.tensor([[9.0, 0, 0], [9, 0, 0], [0, 0, 1], [0, 9, 0]])
    found = PseudoLabels([MOOD], threshold=0.9, noise=0.0)(model, output, rows)["pseudo/mood"]
    logits = model(rows).outputs["mood"]
    expected = (F.cross_entropy(logits[1], torch.tensor(0)) + F.cross_entropy(logits[3], torch.tensor(1))) / 3
    torch.testing.assert_close(found, expected)


def test_a_guess_is_no_gradient_s_way():
    model = network()
    rows = batch(4, mood=[None] * 4)
    output = model(rows)
    logits = output.outputs["mood"] = (9 * F.one_hot(torch.arange(4) % 3).float()).requires_grad_()
    PseudoLabels([MOOD])(model, output, rows)["pseudo/mood"].backward()
    assert logits.grad is None
    assert model.heads["mood"]["fused"].weight.grad.any()


def test_without_unlabelled_rows_there_is_nothing_to_guess():
    rows = batch(2, mood=["glad", "sad"])
    model = network()
    assert PseudoLabels([MOOD])(model, model(rows), rows) == {}


def test_numbers_have_no_pseudo_labels():
    with pytest.raises(ValueError, match=r"pseudo-labels for strength: expected .*one_of"):
        PseudoLabels([MOOD, STRENGTH])


def test_the_contrast_of_two_columns_is_clip_s():
    model = network().eval()
    rows = batch(5)
    found = Supervised([], terms=[ColumnContrast(temperature=0.2)])(model, rows)
    x, y = (F.normalize(rows.columns[name].inputs.pooled, dim=-1) for name in ("image", "text"))
    logits, right = x @ y.T / 0.2, torch.arange(5)
    expected = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
    assert found == {"info_nce/image-text": pytest.approx(expected.item(), rel=1e-5)}


def test_rows_of_one_meaning_are_not_told_apart():
    model = network().eval()
    rows = batch(3)
    same = type(rows)(rows.ids, rows.columns, meaning_ids([("a",)] * 3), {})
    assert ColumnContrast()(model, model(same), same)["info_nce/image-text"].item() == 0.0


def test_a_hidden_column_is_told_from_the_rest():
    model = network().eval()
    rows = batch(6)
    torch.manual_seed(3)
    found = HiddenColumn(temperature=0.5)(model, model(rows), rows)
    torch.manual_seed(3)
    _, taken = without_one({name: torch.ones(6, dtype=torch.bool) for name in ("image", "text")})
    for name in ("image", "text"):
        x = F.normalize(model(rows, without=[name]).fused.branches["fused"].pooled[taken[name]], dim=-1)
        y = F.normalize(rows.columns[name].inputs.pooled[taken[name]], dim=-1)
        logits, right = x @ y.T / 0.5, torch.arange(len(x))
        expected = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        torch.testing.assert_close(found[f"hidden/{name}"], expected)
    assert math.isfinite(sum(found.values()).item())


def test_branches_apart_cannot_tell_a_hidden_column():
    model = network("average")
    rows = batch(4)
    with pytest.raises(ValueError, match="2 branches"):
        HiddenColumn()(model, model(rows), rows)
