"""What a checkpoint holds, what it refers to, and how it fails."""

import json

import pytest
import torch
import toy
from safetensors.torch import load_file
from torch import nn

from sensorium.training import checkpoint
from sensorium.training.checkpoint import CheckpointError
from sensorium.training.loop import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(toy.run(tmp_path_factory.mktemp("run"), steps=8, ema=None))


def build(system: str):
    assert system == "towers"
    return toy.Towers


def test_it_saves_what_was_trained_and_refers_to_the_rest(trained):
    saved = load_file(trained.checkpoint / "model.safetensors")
    assert set(saved) == {"head.1.weight", "head.1.bias", "head.2.weight", "head.2.bias"}
    about = checkpoint.read(trained.checkpoint)
    assert (about.system, about.args, about.step) == ("towers", {"width": 16}, 8)
    assert about.frozen["encoder"]["source"] == "toy:encoder"
    assert about.frozen["encoder"]["tensors"] == 7  # weight and bias twice, running mean and variance, count
    assert about.versions["torch"] == torch.__version__


def test_a_built_model_computes_the_same(trained):
    batch = {"x": torch.randn(5, 6, generator=torch.Generator().manual_seed(0))}
    model = checkpoint.load_model(trained.checkpoint, build)
    assert not model.training
    assert torch.equal(model(batch), trained.model(batch))
    run_folder = trained.checkpoint.parent.parent
    assert torch.equal(checkpoint.load_model(run_folder, build)(batch), trained.model(batch))


def test_what_has_no_source_is_saved_in_full(tmp_path):
    model = toy.Towers(source=None)
    trained = fit(toy.run(tmp_path, model=model, steps=1, ema=None))
    assert set(load_file(trained.checkpoint / "model.safetensors")) == set(model.state_dict())
    assert checkpoint.read(tmp_path).frozen == {}
    other = toy.Towers(
        seed=8, source=None
    )  # frozen weights and batch-norm statistics come out of the checkpoint
    checkpoint.load_weights(tmp_path, other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_partly_trained_part_is_saved_in_part(tmp_path):
    trained = fit(toy.run(tmp_path, freeze=["encoder", "!encoder.1"], steps=1, ema=None))
    saved = set(load_file(trained.checkpoint / "model.safetensors"))
    assert {"encoder.1.weight", "encoder.1.running_mean"} <= saved
    assert "encoder.0.weight" not in saved
    assert checkpoint.read(tmp_path).frozen["encoder"]["tensors"] == 2


def test_shared_weights_are_saved_once():
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"left": shared, "right": shared})
    assert set(checkpoint.entries(model).saved) == {"left.weight", "left.bias"}


def test_other_frozen_weights_fail_clearly(trained):
    with pytest.raises(CheckpointError) as error:
        checkpoint.load_model(trained.checkpoint, lambda system: lambda width: toy.Towers(width, seed=1))
    assert "the frozen part encoder is not the one that" in str(error.value)
    assert "from toy:encoder; build it from there" in str(error.value)
    assert "\n" not in str(error.value)


def test_another_architecture_fails_clearly(trained):
    class More(toy.Towers):
        def __init__(self, width):
            super().__init__(width)
            self.more = nn.Linear(1, 1)

    with pytest.raises(
        CheckpointError, match=r"has nothing for 2 tensors of this model: more\.weight, more\.bias"
    ):
        checkpoint.load_model(trained.checkpoint, lambda system: More)
    with pytest.raises(
        CheckpointError, match=r"head\.1\.bias is \(16,\), in this model \(8,\); build the model with"
    ):
        checkpoint.load_weights(trained.checkpoint, toy.Towers(8))
    with pytest.raises(CheckpointError, match=r"has 4 tensors that this model lacks: head\.1\.bias"):
        checkpoint.load_weights(trained.checkpoint, nn.Linear(1, 1))


@pytest.mark.parametrize("name", ["system.json", "model.safetensors"])
@pytest.mark.parametrize("left", [0, 40])
def test_a_truncated_file_is_named(trained, tmp_path, name, left):
    toy.copy(trained.checkpoint, tmp_path / "copy")
    file = tmp_path / "copy" / name
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(
        CheckpointError, match=rf"cannot read .*{name}: .*; the checkpoint is damaged or incomplete"
    ):
        checkpoint.load_model(tmp_path / "copy", build)


def test_a_missing_file_or_folder_is_named(trained, tmp_path):
    toy.copy(trained.checkpoint, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        checkpoint.load_model(tmp_path / "copy", build)
    with pytest.raises(CheckpointError, match="is not a checkpoint and has none below it"):
        checkpoint.read(tmp_path / "nowhere")
    about = json.loads((trained.checkpoint / "system.json").read_text())
    (tmp_path / "copy" / "system.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(CheckpointError, match="has checkpoint format 99, this version reads 1"):
        checkpoint.read(tmp_path / "copy")


def test_nothing_in_it_is_a_pickle(trained):
    files = toy.files(trained.checkpoint)
    assert set(files) == {
        "system.json",
        "README.md",
        "model.safetensors",
        "state/run.json",
        "state/random.json",
        "state/optimizer.safetensors",
    }
    for name, data in files.items():
        if name.endswith(".json"):
            json.loads(data)
        elif name.endswith(".safetensors"):
            header = int.from_bytes(data[:8], "little")
            assert json.loads(data[8 : 8 + header])
    position = json.loads(files["state/run.json"])
    assert (position["step"], position["position"]) == (8, {"epoch": 2, "batch": 4})  # 16 batches, 6 an epoch


def test_the_fingerprint_sees_every_bit_and_the_names():
    tensor = torch.arange(6, dtype=torch.bfloat16).view(2, 3)
    same = checkpoint.fingerprint({"a": tensor})
    assert checkpoint.fingerprint({"a": tensor.T.contiguous().T}) == same  # layout in memory does not matter
    changed = tensor.clone()
    changed[1, 2] = 5.03125
    others = [{"b": tensor}, {"a": tensor.view(3, 2)}, {"a": tensor.float()}, {"a": changed}]
    assert len({checkpoint.fingerprint(other) for other in others} | {same}) == 5
