"""The mean loss of every task over the rows whose answer is known."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from sensorium.objectives.supervised import Supervised
from sensorium.tasks import AnyOf, Number, OneOf

MOOD, STARS = OneOf("mood", ["sad", "calm", "glad"]), Number("stars", field="rating")
LOGITS = torch.tensor([[2.0, 0.0, 0.0], [9.0, -9.0, 5.0], [0.0, 1.0, 3.0], [0.0, 2.0, 2.0]])


class Given(torch.nn.Module):
    """A model whose outputs are known, and which counts how often it is asked."""

    def __init__(self, **outputs: torch.Tensor) -> None:
        super().__init__()
        self.outputs = {name: value.clone().requires_grad_() for name, value in outputs.items()}
        self.calls = 0

    def forward(self, batch: object) -> SimpleNamespace:
        self.calls += 1
        return SimpleNamespace(outputs=self.outputs)


class Rows(SimpleNamespace):
    def __len__(self) -> int:
        return 4


def test_rows_without_an_answer_are_not_trained_on():
    model = Given(mood=LOGITS, stars=torch.zeros(4, 1))
    batch = Rows(fields={"mood": ["sad", None, "glad", "calm"], "rating": [None, 0.5, None, 3]})
    losses = Supervised([MOOD, STARS])(model, batch)
    rows = [0, 2, 3]
    assert losses["mood"].item() == pytest.approx(
        F.cross_entropy(LOGITS[rows], torch.tensor([0, 2, 1])).item()
    )
    assert losses["stars"].item() == pytest.approx((0.5 * 0.5**2 + 2.5) / 2)
    sum(losses.values()).backward()
    assert model.outputs["mood"].grad.any(1).tolist() == [True, False, True, True]
    assert model.outputs["stars"].grad.any(1).tolist() == [False, True, False, True]
    assert model.calls == 1


def test_a_task_without_any_answer_has_no_loss():
    model = Given(mood=LOGITS, stars=torch.zeros(4, 1))
    for fields in ({"rating": [1, 1, 1, 1]}, {"mood": [None] * 4, "rating": [1, 1, 1, 1]}):
        assert list(Supervised([MOOD, STARS])(model, Rows(fields=fields))) == ["stars"]


def test_class_weights_by_hand():
    model = Given(mood=LOGITS)
    batch = Rows(fields={"mood": ["sad", "sad", None, "calm"]})
    weights = [1.0, 4.0, 7.0]
    found = Supervised([MOOD], class_weights={"mood": torch.tensor(weights)})(model, batch)["mood"]
    each = [-LOGITS[row].log_softmax(0)[label].item() for row, label in ((0, 0), (1, 0), (3, 1))]
    assert found.item() == pytest.approx((each[0] + each[1] + 4 * each[2]) / (1 + 1 + 4))
    as_torch_does = F.cross_entropy(LOGITS[[0, 1, 3]], torch.tensor([0, 0, 1]), torch.tensor(weights))
    assert found.item() == pytest.approx(as_torch_does.item())


def test_terms_share_the_pass_and_see_model_output_and_batch():
    model, batch = Given(mood=LOGITS), Rows(fields={"mood": ["sad"] * 4})

    def term(seen: object, output: SimpleNamespace, rows: Rows) -> dict[str, torch.Tensor]:
        assert seen is model
        assert rows is batch
        return {"size": output.outputs["mood"].square().mean()}

    losses = Supervised([MOOD], terms=[term])(model, batch)
    assert losses["size"].item() == pytest.approx(LOGITS.square().mean().item())
    assert (list(losses), model.calls) == (["mood", "size"], 1)


def test_an_answer_that_is_none_is_an_error_with_the_field():
    task = AnyOf("things", ["cat", "dog"], field="seen")
    model = Given(things=torch.zeros(4, 2))
    with pytest.raises(ValueError, match="seen: got 'ship'; expected one of cat, dog"):
        Supervised([task])(model, Rows(fields={"seen": [["cat"], ["ship"], None, []]}))
