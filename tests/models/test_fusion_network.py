"""Several encoders, one fusion, one head a task: any row may lack any column."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.fusion import KINDS, fusion_of
from sensorium.models.fusion_network import FusionNetwork
from sensorium.projectors.column import ColumnProjector
from sensorium.tasks import AnyOf, Box, Number, OneOf

MOOD, THINGS = OneOf("mood", ["sad", "glad"]), AnyOf("things", ["cat", "dog", "ship"])
PRESENT = {"image": [1, 0, 1, 0], "text": [1, 1, 0, 0], "audio": [1, 1, 1, 0]}


class Lookup(nn.Module):
    """An encoder of ids."""

    def __init__(self, modality: str, width: int) -> None:
        super().__init__()
        self.modality, self.width = modality, width
        self.table = nn.Embedding(20, width)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        tokens = self.table(inputs["ids"])
        return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))


class Rows(SimpleNamespace):
    """A batch."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).present)


def batch_of(present: dict[str, list[int]] = PRESENT) -> Rows:
    columns = {}
    for place, (name, here) in enumerate(present.items()):
        mask = torch.tensor(here, dtype=torch.bool)
        ids = (torch.arange(3 * len(here)).view(-1, 3) * (place + 2)) % 20
        columns[name] = SimpleNamespace(present=mask, inputs={"ids": ids[mask]} if mask.any() else {})
    return Rows(columns=columns)


def model_of(kind: str = "concatenation", tasks=(MOOD, THINGS), columns=tuple(PRESENT), **options):
    torch.manual_seed(0)
    widths = {"image": 6, "text": 4, "audio": 8}
    encoders = {name: Lookup(name, widths[name]) for name in columns}
    projectors = {name: ColumnProjector(widths[name], 8) for name in columns if name != "audio"}
    return FusionNetwork(encoders, projectors, fusion_of(kind, columns, 8), tasks, **options).eval()


def cached(model: FusionNetwork, batch: Rows) -> Rows:
    """The same batch, encoded before."""
    return Rows(
        columns={
            name: SimpleNamespace(present=column.present, inputs=model.encoders[name](column.inputs))
            for name, column in batch.columns.items()
        }
    )


def test_forward_is_encoder_projector_fusion_head():
    model, batch = model_of(), batch_of()
    output = model(batch)
    vectors = torch.zeros(4, 3, 8)
    for place, (name, column) in enumerate(batch.columns.items()):
        found = model.encoders[name](column.inputs).pooled
        if name in model.projectors:
            part = model.projectors[name]
            found = nn.functional.gelu(part.linear(part.norm(found)))
        vectors[column.present, place] = found
    fused = model.fusion.layers(vectors.flatten(1))
    fused[3] = 0  # that row has nothing
    for task in (MOOD, THINGS):
        torch.testing.assert_close(output.outputs[task.name], model.heads[task.name]["fused"](fused))
        assert torch.equal(output.outputs[task.name], output.parts[task.name]["fused"])
    assert {name: here.tolist() for name, here in output.present.items()} == {
        name: [bool(one) for one in here] for name, here in PRESENT.items()
    }
    assert model.columns == ("image", "text", "audio")


def test_late_fusion_has_a_head_a_column_and_combines_their_outputs():
    model, batch = model_of("average"), batch_of()
    output = model(batch)
    each = output.parts["mood"]
    assert list(each) == list(model.heads["mood"]) == ["image", "text", "audio"]
    mean = torch.stack([each["image"][2], each["audio"][2]]).softmax(-1).mean(0)
    torch.testing.assert_close(MOOD.probabilities(output.outputs["mood"])[2], mean)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_features_stand_for_their_inputs(kind):
    model, batch = model_of(kind), batch_of()
    plain, from_cache = model(batch), model(cached(model, batch))
    for task in (MOOD, THINGS):
        torch.testing.assert_close(from_cache.outputs[task.name], plain.outputs[task.name])


def test_cached_pooled_vectors_are_projected_once():
    model, batch = model_of(), batch_of()
    pooled = cached(model, batch)
    calls = []
    for name, column in pooled.columns.items():
        column.inputs = Features.from_pooled(column.inputs.pooled)
        if name in model.projectors:
            model.projectors[name].linear.register_forward_hook(lambda *_: calls.append(1))
    found = model(pooled).outputs["mood"]
    assert len(calls) == 2  # one for the image, one for the text
    torch.testing.assert_close(found, model(batch).outputs["mood"])


@pytest.mark.parametrize("kind", ["concatenation", "average", "gated", "product"])
@pytest.mark.parametrize("hidden", [("image",), ("text", "audio"), tuple(PRESENT)])
def test_hidden_columns_are_as_if_no_row_had_them(kind, hidden):
    model, batch = model_of(kind), batch_of()
    lacking = batch_of({name: [0] * 4 if name in hidden else here for name, here in PRESENT.items()})
    for name in set(PRESENT) - set(hidden):
        lacking.columns[name] = batch.columns[name]
    one, other = model(batch, without=hidden), model(lacking)
    for task in (MOOD, THINGS):
        assert torch.equal(one.outputs[task.name], other.outputs[task.name])
    assert not any(one.present[name].any() for name in hidden)
    assert all(one.outputs[task.name].isfinite().all() for task in (MOOD, THINGS))


def test_an_unknown_column_cannot_be_hidden():
    with pytest.raises(
        ValueError, match=r"without \['smell'\]: this model has the columns image, text, audio"
    ):
        model_of()(batch_of(), without=["smell"])


def test_hidden_columns_are_not_encoded():
    model, batch = model_of(), batch_of()
    model.encoders["image"].forward = None  # calling it would fail
    assert model(batch, without=["image"]).outputs["mood"].shape == (4, 2)


def seen(model: FusionNetwork, present: dict[str, Tensor]) -> Tensor:
    found = model._seen(present, ())
    return torch.stack([found[name] for name in present], 1)


def test_modality_dropout_hides_the_stated_share_and_never_a_rows_last():
    p, rows = 0.4, 60_000
    model = model_of(drop=p).train()
    torch.manual_seed(0)
    has = torch.zeros(rows, 3, dtype=torch.bool)
    has[: rows // 3] = True  # three columns
    has[rows // 3 : 2 * rows // 3, [0, 2]] = True  # two
    has[2 * rows // 3 :, 1] = True  # one
    here = seen(model, dict(zip(PRESENT, has.unbind(1))))
    assert not (here & ~has).any()
    assert here.any(1).all()
    three, two, one = here.split(rows // 3)
    hidden = [(~three).float().mean(0), (~two[:, [0, 2]]).float().mean(0)]
    for columns, of_each in zip((3, 2), hidden):
        # each with chance p, but of rows that would lose all (p^n) each column is the kept one with chance 1 / n
        expected = p - p**columns / columns
        assert of_each.tolist() == pytest.approx([expected] * columns, abs=0.01)
    assert one[:, 1].all()


def test_modality_dropout_is_for_training_and_for_those_who_ask():
    has = {name: torch.ones(50, dtype=torch.bool) for name in PRESENT}
    assert seen(model_of(drop=0.9).eval(), has).all()
    assert seen(model_of(drop=0.0).train(), has).all()
    assert not seen(model_of(drop=0.9).train(), has).all()


def test_a_row_without_any_column_stays_without():
    has = {name: torch.zeros(8, dtype=torch.bool) for name in PRESENT}
    assert not seen(model_of(drop=0.5).train(), has).any()


def test_stand_ins_take_the_place_of_absent_columns():
    model, batch = model_of(stand_ins=True), batch_of()
    with torch.no_grad():
        for vector in model.stand_ins.values():
            vector.normal_()
    output = model(batch)
    projected = output.columns
    vectors = torch.stack(
        [
            torch.where(
                batch.columns[name].present[:, None], projected[name].pooled, model.stand_ins[name].detach()
            )
            for name in PRESENT
        ],
        1,
    )
    expected = model.heads["mood"]["fused"](model.fusion.layers(vectors.flatten(1)))
    torch.testing.assert_close(output.outputs["mood"], expected)
    assert output.present["image"].tolist() == [
        True,
        False,
        True,
        False,
    ]  # what was there, not what stands in
    assert output.fused.present["fused"].all()


@pytest.mark.parametrize("kind", KINDS)
def test_stand_ins_learn_from_the_rows_that_lack_a_column(kind):
    model = model_of(kind, stand_ins=True)
    full = batch_of({name: [1, 1] for name in PRESENT})
    model(full).outputs["mood"].square().sum().backward()
    assert all(vector.grad is None or not vector.grad.any() for vector in model.stand_ins.values())
    model(batch_of()).outputs["mood"].square().sum().backward()
    assert all(vector.grad.any() for vector in model.stand_ins.values())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_encoders_projectors_fusion_and_heads(kind):
    tasks = (MOOD, THINGS, Number("stars"), Box("where"))
    model = model_of(kind, tasks).train()
    outputs = model(batch_of()).outputs
    sum((out - 1).square().sum() for out in outputs.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_autocast_gives_finite_float32_also_of_a_column_that_nobody_has():
    model = model_of("gated").train()
    batch = batch_of(PRESENT | {"image": [0, 0, 0, 0]})
    plain = model(batch).outputs["mood"]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(batch).outputs["mood"]
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, plain, atol=0.05, rtol=0.05)


def test_parts_that_do_not_fit():
    encoders = {"image": Lookup("image", 6), "text": Lookup("text", 8)}
    projector = {"image": ColumnProjector(6, 8)}
    with pytest.raises(
        ValueError, match=r"encoders for \['image', 'text'\], a fusion of \['text', 'image'\]"
    ):
        FusionNetwork(encoders, projector, fusion_of("mean", ("text", "image"), 8), [MOOD])
    fusion = fusion_of("mean", ("image", "text"), 8)
    with pytest.raises(ValueError, match=r"widths {'image': 6, 'text': 8}; expected the fusion's, 8"):
        FusionNetwork(encoders, {}, fusion, [MOOD])
    with pytest.raises(ValueError, match=r"tasks: got \['mood', 'mood'\]"):
        FusionNetwork(encoders, projector, fusion, [MOOD, MOOD])
    with pytest.raises(ValueError, match="tasks: got"):
        FusionNetwork(encoders, projector, fusion, [])
    with pytest.raises(ValueError, match=r"drop: got 1\.0; expected a share"):
        FusionNetwork(encoders, projector, fusion, [MOOD], drop=1.0)
