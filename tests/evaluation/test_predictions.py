"""Metrics of tasks against scikit-learn's, and a made model whose scores are known."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn import metrics as sk

from sensorium.evaluation.generated import Baselines, Measured, score_of, shown
from sensorium.evaluation.predictions import constant, metrics, outputs_of, scores, shuffled
from sensorium.tasks import AnyOf, Box, Number, OneOf

FEELINGS = OneOf("feeling", ["sad", "flat", "glad"])


def test_one_of_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    right, points = rng.integers(0, 3, 120), torch.tensor(rng.normal(size=(120, 3)))
    found = metrics(FEELINGS, points, [FEELINGS.labels[place] for place in right])
    given = points.argmax(-1).numpy()
    drawn = rng.integers(0, 120, 90)
    for rows in (np.arange(120), drawn):  # a row drawn twice counts twice
        assert found["accuracy"].over(rows) == pytest.approx(sk.accuracy_score(right[rows], given[rows]))
        assert found["macro_f1"].over(rows) == pytest.approx(
            sk.f1_score(right[rows], given[rows], average="macro")
        )
        assert found["balanced_accuracy"].over(rows) == pytest.approx(
            sk.balanced_accuracy_score(right[rows], given[rows])
        )
    assert "AUROC" not in found


def test_auroc_counts_ties_half_as_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    right, points = rng.integers(0, 2, 80), rng.integers(0, 6, 80) / 2  # many ties
    task = OneOf("match", ["no", "yes"])
    outputs = torch.stack([torch.zeros(80), torch.tensor(points)], 1)
    found = metrics(task, outputs, [task.labels[place] for place in right])["AUROC"]
    for rows in (np.arange(80), rng.integers(0, 80, 80)):
        assert found.over(rows) == pytest.approx(sk.roc_auc_score(right[rows], points[rows]))
    assert found.over(np.flatnonzero(right == 1)) == 0.5  # no negative to be above


def test_any_of_is_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    task = AnyOf("things", ["dog", "cat", "sun", "car"])
    right, points = rng.random((60, 4)) < 0.3, rng.integers(-4, 5, (60, 4)) / 2
    answers = [[label for label, yes in zip(task.labels, row) if yes] for row in right]
    found = metrics(task, torch.tensor(points), answers)
    for rows in (np.arange(60), rng.integers(0, 60, 60)):
        given = points[rows] > 0
        assert found["mAP"].over(rows) == pytest.approx(
            sk.average_precision_score(right[rows], points[rows], average="macro")
        )
        assert found["micro_f1"].over(rows) == pytest.approx(sk.f1_score(right[rows], given, average="micro"))
        assert found["macro_f1"].over(rows) == pytest.approx(sk.f1_score(right[rows], given, average="macro"))


def test_number_has_error_correlation_and_sign() -> None:
    rng = np.random.default_rng(3)
    right = np.r_[0.0, rng.normal(size=50) * 2]
    outputs = torch.tensor(right + rng.normal(size=51)).float()[:, None]
    task = Number("rating", centre=1.0, scale=2.0)
    found = metrics(task, (outputs - 1) / 2, right.tolist())
    given = outputs[:, 0].numpy()
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(right, given))
    assert found["mae"].unit == "distance"
    assert found["pearson"].value == pytest.approx(pearsonr(right, given).statistic)
    assert found["sign_accuracy"].value == pytest.approx(((given > 0) == (right > 0))[1:].mean())
    assert 0 not in found["sign_accuracy"].rows  # 0 is of neither sign
    positive = metrics(task, outputs, np.abs(right).tolist())
    assert set(positive) == {"mae", "pearson"}
    assert metrics(task, torch.full((51, 1), 0.3), right.tolist())["pearson"].value == 0.0


def test_a_distance_is_better_when_lower_and_is_shown_as_it_is() -> None:
    rng = np.random.default_rng(4)
    near, far = (Measured(rng.random(200) * size, unit="distance") for size in (0.2, 1.0))
    score = score_of(near, Baselines(majority=far))
    assert score.clears
    assert score.margin == pytest.approx(far.value - near.value)
    assert shown(score, 0.754) == "0.75"


def test_box_overlap_by_hand() -> None:
    task = Box("where")
    truth = [[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.4, 0.4]]
    said = torch.logit(torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.7, 0.5, 0.4, 0.4]]))  # half of it shared
    found = metrics(task, said, truth)
    assert found["iou"].values == pytest.approx([1.0, 1 / 3], abs=1e-5)
    assert found["found"].value == 0.5


def test_rows_without_an_answer_are_left_out_and_none_is_refused() -> None:
    outputs = torch.eye(3)
    found = metrics(FEELINGS, outputs, ["sad", None, "flat"])
    assert found["accuracy"].value == 0.5
    assert found["accuracy"].rows.tolist() == [0, 2]
    with pytest.raises(ValueError, match="no row has an answer in its field 'feeling'"):
        metrics(FEELINGS, outputs, [None] * 3)
    with pytest.raises(ValueError, match="3 rows and 2 answers"):
        metrics(FEELINGS, outputs, ["sad", "flat"])


def test_constants_are_the_majority_the_mean_and_the_frequencies() -> None:
    assert FEELINGS.answers(constant(FEELINGS, ["glad", "flat", "glad", None])[None]) == ["glad"]
    assert Number("n", centre=5, scale=2).answers(
        constant(Number("n", centre=5, scale=2), [1, 2, 6])[None]
    ) == pytest.approx([3.0])
    things = AnyOf("things", ["dog", "cat"])
    often = constant(things, [["dog"], ["dog", "cat"], ["dog"]])
    assert things.answers(often[None]) == [["dog"]]
    assert things.probabilities(often)[1] == pytest.approx(1 / 3)
    box = Box("where")
    assert box.answers(constant(box, [[0.2, 0.4, 0.2, 0.2], [0.4, 0.4, 0.2, 0.2]])[None])[0] == pytest.approx(
        [0.3, 0.4, 0.2, 0.2]
    )


@dataclass
class Pair:
    """A batch of two bits a row, whose exclusive or is asked for."""

    one: torch.Tensor
    other: torch.Tensor
    fields: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.one)


class Xor:
    """Right from both bits; says "no" from fewer."""

    columns = ("one", "other")

    def __call__(self, batch, without=()):
        both = (batch.one ^ batch.other) if not without else torch.zeros_like(batch.one)
        logits = torch.nn.functional.one_hot(both, 2).float()
        return type("Output", (), {"outputs": {"xor": logits}})


def batch_of(n: int) -> Pair:
    one, other = torch.arange(n) % 2, (torch.arange(n) // 2) % 2
    return Pair(one, other, {"xor": [("no", "yes")[bit] for bit in (one ^ other).tolist()]})


def test_scores_stand_beside_what_is_known_blindly_and_without_a_column() -> None:
    task, n = OneOf("xor", ["no", "yes"]), 400
    parts = [batch_of(240), batch_of(160)]
    found = scores(Xor(), parts, [task], seen={"xor": ["no", "no", "yes"]})
    score = found["xor.accuracy"]
    assert (score.value, score.n) == (1.0, n)
    assert score.blind_withheld == 0.5  # half are "no"
    assert score.majority == 0.5
    assert score.blind_shuffled == pytest.approx(0.5, abs=0.06)
    assert score.clears
    for name in ("without_one", "without_other"):
        assert found[f"xor.{name}.accuracy"].value == 0.5
        assert found[f"xor.{name}.accuracy"].margin == 0.0
    assert "xor.only_one.accuracy" not in found  # of two, only one is without the other


def test_groups_widen_the_interval_and_are_not_shown_their_own() -> None:
    groups = np.repeat(np.arange(20), 5)
    order = shuffled(groups)
    assert (groups[order] != groups).all()
    assert shuffled(np.zeros(4)) is None
    task = OneOf("xor", ["no", "yes"])

    class OneBit(Xor):
        def __call__(self, batch, without=()):
            return type("Output", (), {"outputs": {"xor": torch.eye(2)[batch.one]}})

    batch = Pair((groups % 2 == 0).astype(int), None, {"xor": ["yes"] * 100})
    grouped = scores(OneBit(), batch, [task], groups=groups)["xor.accuracy"]
    plain = scores(OneBit(), batch, [task])["xor.accuracy"]
    assert grouped.high - grouped.low > 1.8 * (plain.high - plain.low)  # sqrt(5), as five rows are one


def test_several_batches_are_read_in_order() -> None:
    task = OneOf("xor", ["no", "yes"])
    whole = outputs_of(Xor(), batch_of(8), [task])["xor"]
    halves = outputs_of(Xor(), [batch_of(4), batch_of(4)], [task])["xor"]
    assert torch.equal(whole, halves)


def test_tasks_that_no_row_answers() -> None:
    other = OneOf("other", ["no", "yes"])
    found = scores(Xor(), batch_of(8), [OneOf("xor", ["no", "yes"]), other])
    assert not [name for name in found if name.startswith("other")]
    with pytest.raises(ValueError, match="no row has an answer to 'other'"):
        scores(Xor(), batch_of(8), [other])
