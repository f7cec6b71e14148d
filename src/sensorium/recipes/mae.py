"""A ViT that learns from pictures without labels, by filling in what was hidden from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sensorium.data.augment import AugmentedPictures, Pictures, crops
from sensorium.evaluation.generated import GeneratedScore
from sensorium.models.masked_autoencoder import MaskedAutoencoder, pixels_of, taken
from sensorium.objectives.masked_patches import MaskedPatches
from sensorium.objectives.masked_patches import normed as per_patch
from sensorium.recipes.emoji_pictures import DATA_CARD, GroupProbe, emoji_pictures
from sensorium.systems.mae import mae as system
from sensorium.training.run import Run
from sensorium.viewing import reconstructions, report

SMALLEST = 0.5  # share of a picture's area that is cut out at least: a drawing's ends say what it is
SHOWN = 12  # reconstructions drawn


def mae(
    folder: Path = Path("runs/mae"),
    size: str = "tiny",
    epochs: float = 5,
    batch_size: int = 64,
    lr: float = 1.5e-3,
    share: float = 0.75,
    normed: bool = True,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Hide three patches of four and predict their pixels (He et al. 2021, arXiv:2111.06377).

    Command: sensorium train mae
    Hardware and time: CPU, two minutes of one core's processor time (half an hour on the clock, where a dozen other
    programs shared that core).
    Expected, the group of 1,401 drawings by an unseen artist, percent right with the 95 % interval, seed 0:

        linear probe    52.1 (49.5 … 54.8)   untrained 46.5   gain +5.6 (3.1 … 8.3)    majority 22.4
        nearest ten     43.0 (40.3 … 45.7)   untrained 38.0   gain +5.0 (2.4 … 7.3)

    Writes reconstructions.png and report.html. Five epochs are little: the paper trains for 800 and more.

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/mae.py; "tiny" is meant for a CPU.
        epochs: Times that every training picture is seen, never twice the same.
        batch_size: Pictures a step.
        lr: Peak learning rate.
        share: Of the patches that is hidden.
        normed: Predict patches normed by their own mean and spread, or plain pixels.
        seed: Of the random weights, the order of the data, the crops and the masks.
        limit: Use so many pictures of every set, for a quick look.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    model = system(size, share)
    pictures, test = emoji_pictures(model.encoder, limit)
    probe = GroupProbe(model.encoder, pictures, test)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MaskedAutoencoder)
        found = probe.scores(trained.encoder)
        drawn = reconstructions.save(
            folder / "reconstructions.png", reconstructed(trained, test, normed, seed)
        )
        report.write(
            folder / "report.html",
            "A masked autoencoder",
            "It saw one patch in four and filled in the rest; what its encoder tells of drawings by an unseen artist.",
            history=folder / "history.jsonl",
            generated=found,
            drawings=[
                report.Drawing(
                    "Reconstructions", drawn, "pictures, their visible patches, what was made of them"
                )
            ],
        )
        return found

    return Run(
        name="mae",
        folder=folder,
        system="mae",
        system_args={"size": size, "share": share},
        model=model,
        data=range(len(pictures)),
        collate=AugmentedPictures(pictures, {"image": crops(pictures.pixels.shape[-1], SMALLEST)}),
        objectives=[MaskedPatches(normed)],
        batch_size=min(batch_size, len(pictures)),
        epochs=epochs,
        lr=lr,
        betas=(0.9, 0.95),
        weight_decay=0.05,
        warmup=0.1,
        seed=seed,
        evaluate=evaluate,
        data_card=DATA_CARD.format(pictures=len(pictures), tested=len(test)),
        progress=progress,
    )


def reconstructed(
    model: MaskedAutoencoder, pictures: Pictures, normed: bool = True, seed: int = 0, shown: int = SHOWN
) -> reconstructions.Reconstructions:
    """Pictures drawn at random beside what the encoder saw of them and what the decoder made of that.

    normed: the decoder predicts patches without their mean and spread. To draw them, each hidden patch is given its
            own true ones, so its colour on the whole is no achievement of the model: a column shows it alone
    """
    rows = np.random.default_rng(seed).permutation(len(pictures))[:shown]
    pixels = pictures.pixels[torch.from_numpy(rows)]
    noise = torch.rand(shown, len(model.decoder.positions) - 1, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        batch = AugmentedPictures(pictures, {model.column: None})(rows.tolist())
        made = model(batch, noise[: len(rows)])
    predicted, places = made.predicted.float(), made.hidden[..., None].expand_as(made.predicted)
    blank = predicted.new_zeros(predicted.shape)
    if normed:
        _, mean, spread = per_patch(taken(made.patches, made.hidden))
        predicted, blank = predicted * spread + mean, mean.expand_as(predicted)

    def drawn(patches: torch.Tensor) -> np.ndarray:
        """The hidden patches in the pictures' own, as uint8[B, H, W, 3]."""
        filled = pixels_of(made.patches.scatter(1, places, patches), model.side)
        std, mean = (
            torch.tensor(v)[:, None, None] for v in (model.encoder.make.std, model.encoder.make.mean)
        )
        return ((filled * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

    whole, filled, means = pixels.permute(0, 2, 3, 1).numpy(), drawn(predicted), drawn(blank)
    table = []
    for n, hidden in enumerate(made.hidden.numpy()):
        row = {"original": whole[n], "seen": reconstructions.without(whole[n], hidden, model.side)}
        if normed:
            row["mean of each patch"] = means[n]
        table.append(row | {"reconstruction": filled[n]})
    note = "Drawings of an artist that was never seen, at random; visible patches are pasted into the reconstruction."
    if normed:
        note += (
            " The model predicts patches without their mean and spread; each hidden patch is drawn with its own true "
            "ones, of which the third column shows the mean alone."
        )
    return reconstructions.Reconstructions("Reconstructions", table, note)
