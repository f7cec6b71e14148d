"""One space from several columns, any of which a row may lack."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.info_nce import InfoNCE
from sensorium.projectors import LinearHead


class Lookup(nn.Module):
    """An encoder of ids."""

    def __init__(self, modality: str, width: int) -> None:
        super().__init__()
        self.modality, self.width = modality, width
        self.table = nn.Embedding(20, width)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        tokens = self.table(inputs["ids"])
        return Features(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool), tokens.mean(1))


def column(present: list[int], inputs=None) -> SimpleNamespace:
    mask = torch.tensor(present, dtype=torch.bool)
    ids = torch.arange(3 * int(mask.sum())).view(-1, 3) % 20
    return SimpleNamespace(present=mask, inputs={"ids": ids} if inputs is None else inputs)


def batch_of(**columns: SimpleNamespace) -> SimpleNamespace:
    B = len(next(iter(columns.values())).present)
    return SimpleNamespace(columns=columns, meanings=torch.full((B, 1), -1))


@pytest.fixture
def model() -> JointEmbedding:
    torch.manual_seed(0)
    return JointEmbedding(
        {"picture": Lookup("image", 6), "caption": Lookup("text", 4)},
        {"picture": LinearHead(nn.Linear(6, 4))},
    )


def test_forward_is_head_of_encoder_at_unit_length(model):
    batch = batch_of(picture=column([1, 0, 1]), caption=column([0, 1, 1]))
    embeddings = model(batch)
    picture = model.encoders["picture"](batch.columns["picture"].inputs).pooled
    picture = picture @ model.heads["picture"].linear.weight.T + model.heads["picture"].linear.bias
    torch.testing.assert_close(embeddings.vectors["picture"], picture / picture.norm(dim=1, keepdim=True))
    caption = model.encoders["caption"](batch.columns["caption"].inputs).pooled
    torch.testing.assert_close(embeddings.vectors["caption"], caption / caption.norm(dim=1, keepdim=True))
    assert embeddings.present["picture"].tolist() == [True, False, True]
    assert embeddings.scale.item() == pytest.approx(1 / 0.07)
    assert embeddings.bias.item() == 0.0
    assert (model.columns, model.width) == (("picture", "caption"), 4)
    assert model.modality == {"picture": "image", "caption": "text"}


def test_cached_features_stand_for_their_inputs(model):
    inputs = column([1, 1]).inputs
    cached = Features.from_pooled(model.encoders["picture"](inputs).pooled.detach())
    torch.testing.assert_close(model.embed("picture", cached), model.embed("picture", inputs))


def test_a_column_that_nobody_has_is_empty_and_does_not_run(model):
    batch = batch_of(picture=column([0, 0, 0], inputs={}), caption=column([1, 1, 0]))
    embeddings = model(batch)
    assert embeddings.vectors["picture"].shape == (0, 4)
    losses = InfoNCE()(model, batch)
    assert losses["info_nce/picture-caption"].item() == 0.0


def test_columns_may_share_an_encoder():
    encoder = Lookup("text", 4)
    model = JointEmbedding({"caption": encoder, "label": encoder})
    assert len(list(model.parameters())) == 2  # the table and the scale
    inputs = column([1, 1]).inputs
    assert torch.equal(model.embed("caption", inputs), model.embed("label", inputs))


def test_autocast_gives_finite_float32(model):
    batch = batch_of(picture=column([1, 0, 1, 1]), caption=column([1, 1, 1, 0]))
    plain = InfoNCE()(model, batch)["info_nce/picture-caption"]
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model(batch)
        loss = InfoNCE()(model, batch)["info_nce/picture-caption"]
    loss.backward()
    assert embeddings.vectors["picture"].dtype == torch.float32
    torch.testing.assert_close(embeddings.vectors["picture"].norm(dim=1), torch.ones(3))
    assert loss.item() == pytest.approx(plain.item(), rel=0.05)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_scale_stops_at_its_ceiling_and_can_come_down():
    model = JointEmbedding({"caption": Lookup("text", 4)}, scale=150.0)
    assert model.scale().item() == pytest.approx(100.0)
    model.scale().backward()  # a loss that falls with the scale would come down: the gradient passes
    assert model.log_scale.grad.item() == pytest.approx(100.0)
    model.log_scale.grad = None
    (-model.scale()).backward()  # one that would push it further up is stopped
    assert model.log_scale.grad.item() == 0.0
    free = JointEmbedding({"caption": Lookup("text", 4)}, scale=150.0, max_scale=None)
    assert free.scale().item() == pytest.approx(150.0)


def test_the_bias_is_a_parameter_only_when_asked_for():
    assert "bias" not in dict(JointEmbedding({"caption": Lookup("text", 4)}).named_parameters())
    model = JointEmbedding({"caption": Lookup("text", 4)}, bias=-10.0)
    assert model(batch_of(caption=column([1]))).bias is model.bias
    assert model.bias.item() == -10.0


def test_gradients_reach_heads_encoders_and_scale(model):
    batch = batch_of(picture=column([1, 1, 1]), caption=column([1, 1, 1]))
    sum(InfoNCE()(model, batch).values()).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_a_head_of_none_keeps_the_encoders_width():
    model = JointEmbedding({"caption": Lookup("text", 4)}, {"caption": None})
    inputs = column([1, 1]).inputs
    expected = F.normalize(model.encoders["caption"](inputs).pooled, dim=1)
    torch.testing.assert_close(model.embed("caption", inputs), expected)


def test_what_does_not_fit_is_an_error(model):
    with pytest.raises(ValueError, match=r"'picture': 6, 'caption': 4"):
        JointEmbedding({"picture": Lookup("image", 6), "caption": Lookup("text", 4)})
    with pytest.raises(ValueError, match=r"heads for \['sound'\]"):
        JointEmbedding({"caption": Lookup("text", 4)}, {"sound": LinearHead(nn.Linear(4, 4))})
    with pytest.raises(ValueError, match="no column 'sound' in this model; it has picture, caption"):
        model(batch_of(sound=column([1])))
    with pytest.raises(ValueError, match="at least one encoder"):
        JointEmbedding({})
