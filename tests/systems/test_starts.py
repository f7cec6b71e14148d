"""One encoder with a head, adapters or LoRA in it; prompts and heads in a shared space; all come back."""

from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig

import sensorium
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.features import Features
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives.supervised import Supervised
from sensorium.projectors import LinearHead, Standardized
from sensorium.systems import SYSTEMS, system_builder
from sensorium.systems import classifier as classifier_file
from sensorium.systems.classifier import classifier
from sensorium.systems.prompted import heads_on, narrowed, prompted, prompts_in, space_classifier
from sensorium.tasks import Number, OneOf
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit
from sensorium.training.run import Run

TASK = OneOf("what", ["cat", "red-ship"])
TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}


class Batch(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.fields["what"])


def collate(rows) -> Batch:
    numbers = torch.Generator().manual_seed(int(rows[0]))
    pixels = torch.randint(0, 255, (len(rows), 3, 32, 32), generator=numbers, dtype=torch.uint8)
    present = torch.ones(len(rows), dtype=torch.bool)
    column = SimpleNamespace(inputs={"pixels": pixels}, present=present, modality="image")
    return Batch(columns={"image": column}, fields={"what": [TASK.labels[int(row) % 2] for row in rows]})


@pytest.fixture
def small(monkeypatch):
    """A small EfficientNet of known weights in the place of the pretrained one."""

    def made(**options):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            encoder = EfficientNetLite(size=32, width_factor=0.25)
        encoder.source = "tests:small"
        return encoder.eval()

    monkeypatch.setitem(classifier_file.ENCODERS, "efficientnet_lite0", made)


@pytest.fixture
def space(tokenizer, monkeypatch) -> JointEmbedding:
    """Two towers, and a system "tiny_space" that builds them with other random heads."""

    def made() -> JointEmbedding:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            image = EfficientNetLite(size=32, width_factor=0.25)
            ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
            text = TransformersTextEncoder.from_config(BertConfig(**TOWER, **ids), tokenizer, pooling="mean")
        image.source = text.source = "tests:space"
        heads = {"image": LinearHead(torch.nn.Linear(1280, 8)), "text": LinearHead(torch.nn.Linear(16, 8))}
        return JointEmbedding({"image": image, "text": text}, heads).eval()

    monkeypatch.setattr("sensorium.systems.image_text_audio.tiny_space", made, raising=False)
    monkeypatch.setitem(SYSTEMS, "tiny_space", ("sensorium.systems.image_text_audio:tiny_space", "for tests"))
    return made()


def run_of(folder, system: str, args: dict, model, **changes) -> Run:
    settings = {
        "name": system,
        "folder": folder,
        "system": system,
        "system_args": args,
        "model": model,
        "data": range(8),
        "collate": collate,
        "objectives": [Supervised([TASK])],
        "batch_size": 4,
        "steps": 2,
        "lr": 0.01,
        "precision": "fp32",
        "progress": False,
    }
    return Run(**{**settings, **changes})


def answers(model) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(collate(range(8))).outputs["what"]
    return found


@pytest.mark.parametrize(
    ("options", "mark"),
    [({"adapters": 2}, ".adapter."), ({"lora": 2}, ".lora_"), ({}, "")],
    ids=["adapters", "lora", "full"],
)
def test_what_was_added_learns_alone_and_comes_back(tmp_path, small, options, mark):
    args = {"tasks": [TASK.as_json()], **options}
    torch.manual_seed(0)
    plain = classifier(tasks=[TASK])
    torch.manual_seed(1)
    model = classifier(**args)
    model.heads.load_state_dict(plain.heads.state_dict())
    assert (answers(model) - answers(plain)).abs().max() <= 1e-6  # added, and nothing changed yet
    learning = {
        name for name, p in model.named_parameters() if p.requires_grad and name.startswith("encoders")
    }
    assert learning
    assert all(mark in name for name in learning)
    trained = fit(run_of(tmp_path, "classifier", args, model)).model
    assert (answers(trained) - answers(plain)).abs().max() > 1e-4
    back = load_model(tmp_path, system_builder)
    assert torch.equal(answers(back), answers(trained))
    saved = (tmp_path / "checkpoints" / "step-00000002" / "model.safetensors").stat().st_size
    assert (saved < 200_000) == bool(options)  # what is frozen is referred to, not saved


def test_prompts_learned_in_a_trained_space_come_back(tmp_path, space):
    args = {"space": "tiny_space", "space_args": {}, "tasks": [TASK.as_json()], "context": "a the"}
    model = prompts_in(space, [TASK], "a the")
    before = answers(model)
    trained = fit(run_of(tmp_path, "prompted", args, model)).model
    assert (answers(trained) - before).abs().max() > 1e-4
    other = prompted(**args)  # other heads than the trained space's
    assert not torch.allclose(answers(other), before)
    back = load_model(tmp_path, system_builder)
    assert torch.equal(back.context, trained.context)
    assert torch.equal(answers(back), answers(trained))
    predictor = sensorium.load(tmp_path)
    pixels = collate(range(8)).columns["image"].inputs["pixels"]
    said = predictor.predict([{"image": picture.permute(1, 2, 0).numpy()} for picture in pixels])
    assert [one.answers["what"] for one in said] == TASK.answers(answers(trained))
    assert predictor.space().modalities == ("image", "text", "video")


def test_a_head_on_a_space_reads_its_vectors(tmp_path, space):
    args = {"space": "tiny_space", "space_args": {}, "tasks": [TASK.as_json()]}
    model = heads_on(space, [TASK])
    batch = collate(range(8))
    with torch.no_grad():
        vectors = space.heads["image"](space.encoders["image"](batch.columns["image"].inputs)).pooled
        by_hand = model.heads["what"]["fused"](vectors / vectors.norm(dim=1, keepdim=True) * 8**0.5)
    assert torch.allclose(answers(model), by_hand, atol=1e-6)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names == ["heads.what.fused.weight", "heads.what.fused.bias"]
    trained = fit(run_of(tmp_path, "space_classifier", args, model)).model
    assert torch.equal(answers(load_model(tmp_path, system_builder)), answers(trained))
    assert type(space_classifier(**args)) is type(model)


def test_standardized_vectors_have_no_mean_and_one_spread():
    torch.manual_seed(0)
    vectors = torch.cat([3 + 2 * torch.randn(50, 3), torch.full((50, 1), 4.0)], 1)
    standardized = Standardized(4)
    assert torch.equal(standardized(Features.from_pooled(vectors)).pooled, vectors)
    standardized.fit(vectors)
    found = standardized(Features.from_pooled(vectors))
    assert torch.allclose(found.pooled.mean(0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(found.pooled.std(0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-5)
    assert torch.equal(found.tokens[:, 0], found.pooled)
    with pytest.raises(ValueError, match="one and the same vector"):
        standardized.fit(vectors[:1])


def test_what_cannot_be_built_says_so(small, space):
    with pytest.raises(ValueError, match="encoder: got 'vgg19'"):
        classifier("vgg19", [TASK])
    with pytest.raises(ValueError, match="expected one of them"):
        classifier(tasks=[TASK], adapters=2, lora=2)
    with pytest.raises(ValueError, match=r"lora: got the encoder 'lstm'"):
        classifier("lstm", [TASK], column="text", lora=2)
    with pytest.raises(ValueError, match="one label of several"):
        prompts_in(space, [Number("size")])
    with pytest.raises(ValueError, match=r"columns \['sound'\]"):
        narrowed(space, ("sound",))
    with pytest.raises(ValueError, match="expected a JointEmbedding"):
        prompted("classifier", {"tasks": [TASK.as_json()]}, [TASK])
