"""MAE, ViT and SimCLR at a debug size: trained, probed, saved, opened again, resumed bit for bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.objectives.masked_patches import normed as per_patch
from sensorium.recipes import recipe_function
from sensorium.recipes.emoji_pictures import emoji_pictures
from sensorium.recipes.mae import reconstructed
from sensorium.recipes.vit import vit
from sensorium.systems import system_builder
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit

SMALL = {"limit": 48, "batch_size": 16, "epochs": 1, "progress": False}


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """(a run of mae, its folder)."""
    folder = tmp_path_factory.mktemp("mae")
    return fit(recipe_function("mae")(folder=folder, **SMALL)), folder


@pytest.mark.parametrize("name", ["simclr", "vit"])
def test_a_recipe_trains_scores_and_opens_again(name, tmp_path):
    run = recipe_function(name)(folder=tmp_path, **SMALL)
    trained = fit(run)
    check(trained, tmp_path)
    if name == "simclr":  # a curve of the probes, of every evaluation
        page = (tmp_path / "report.html").read_text()
        assert "Scores during training" in page
        assert page.split("Scores during training")[-1].count('class="dot c0"') == 3
    if name == "vit":
        written = json.loads((tmp_path / "metrics.json").read_text())
        assert written["emoji.unseen_artist.group.accuracy"]["n"] == 48
        assert written["emoji.unseen_artist.group.accuracy"]["blind_shuffled"] is not None


def test_mae_trains_scores_draws_and_opens_again(masked):
    trained, folder = masked
    check(trained, folder)
    assert Image.open(folder / "reconstructions.png").size[0] > 1000
    page = (folder / "report.html").read_text()
    assert "Reconstructions" in page
    assert page.count("data:image/png;base64") == 1


def check(trained, folder) -> None:
    """Three steps, scores beside the untrained encoder's, and a checkpoint with the same weights."""
    assert len(trained.steps) == 3
    written = json.loads((folder / "metrics.json").read_text())
    for kind in ("linear", "nearest"):
        value, before, gain = (
            written[f"emoji.unseen_artist.{kind}.{what}"]["value"]
            for what in ("accuracy", "untrained", "gain")
        )
        assert gain == pytest.approx(value - before)
    opened = load_model(trained.checkpoint, system_builder)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(opened.state_dict()[name], tensor), name


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(masked, tmp_path):
    whole, _ = masked
    run = recipe_function("mae")(folder=tmp_path, **SMALL)
    stopped = replace(run, save_every=1, evaluate=None, objectives=[StopsAfter(run.objectives[0], 3)])
    with pytest.raises(KeyboardInterrupt):
        fit(stopped)
    again = recipe_function("mae")(folder=tmp_path, **SMALL)
    resumed = fit(
        replace(again, save_every=1, evaluate=None, objectives=[StopsAfter(again.objectives[0], 99)])
    )
    assert [step["loss"] for step in resumed.steps] == [step["loss"] for step in whole.steps]
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name


class StopsAfter:
    """An objective that is interrupted at its n-th call."""

    def __init__(self, objective, calls: int) -> None:
        self.objective, self.calls = objective, calls

    def __call__(self, model, batch):
        self.calls -= 1
        if not self.calls:
            raise KeyboardInterrupt
        return self.objective(model, batch)


def test_a_vit_starts_from_the_encoder_that_mae_trained(masked, tmp_path):
    trained, folder = masked
    run = vit(folder=tmp_path, start=folder, **SMALL)
    ours, theirs = run.model.by_column["image"], trained.model.encoder
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        pooled = [encoder.eval()({"pixels": pixels}).pooled for encoder in (ours, theirs)]
    assert torch.equal(*pooled)
    assert run.system_args["pooling"] == "mean"


@pytest.mark.parametrize("normed", [True, False])
def test_a_perfect_decoder_would_draw_the_pictures_themselves(normed, masked):
    trained, _ = masked
    model = trained.model
    _, pictures = emoji_pictures(model.encoder, 4)
    forward = model.forward

    def perfect(batch, noise=None):
        made = forward(batch, noise)
        true = made.patches.gather(1, made.hidden[..., None].expand_as(made.predicted))
        return replace(made, predicted=per_patch(true)[0] if normed else true)

    model.forward = perfect
    try:
        shown = reconstructed(model, pictures, normed, shown=3)
    finally:
        del model.forward
    for row in shown.rows:
        assert np.abs(row["reconstruction"].astype(int) - row["original"]).max() <= 1
        assert (row["seen"] != row["original"]).any()
        assert ("mean of each patch" in row) == normed
