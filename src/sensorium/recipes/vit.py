"""A ViT that learns from labels: which group a drawing is of, from random weights or from a pretrained encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sensorium.data.augment import AugmentedPictures, crops
from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.predictions import scores
from sensorium.models.fusion_network import FusionNetwork
from sensorium.models.masked_autoencoder import MaskedAutoencoder
from sensorium.objectives.supervised import Supervised
from sensorium.recipes.emoji_pictures import DATA_CARD, GROUPS, GroupProbe, emoji_pictures
from sensorium.recipes.mae import SMALLEST
from sensorium.systems import system_builder
from sensorium.systems.vit import vit as system
from sensorium.tasks import OneOf
from sensorium.training.checkpoint import load_model
from sensorium.training.run import Run

ROWS = 256  # test pictures answered at a time


def vit(
    folder: Path = Path("runs/vit"),
    size: str = "tiny",
    epochs: float = 6,
    batch_size: int = 64,
    lr: float = 1e-3,
    start: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Tell the group of a drawing with a ViT (Dosovitskiy et al. 2020, arXiv:2010.11929).

    Command: sensorium train vit
    Hardware and time: CPU, about five minutes of one core's processor time.
    Expected, the group of 1,401 drawings by an unseen artist, percent right with the 95 % interval, seed 0:

        its own answer  41.4 (38.8 … 44.0)   shuffled 14.2    majority 22.4
        linear probe    41.8 (39.3 … 44.3)   untrained 43.3   gain -1.4 (-4.2 … 1.4)
        nearest ten     42.5 (39.7 … 45.2)   untrained 35.7   gain +6.8 (3.8 … 9.6)

    A ViT from random weights has hardly begun to learn in that: a drawing's neighbours are of its group more often, but
    a linear probe of the class token was *not* shown to gain, after two epochs (+0.4, -2.2 … 3.1) as little as now.

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/vit.py; "tiny" is meant for a CPU.
        epochs: Times that every training picture is seen, never twice the same.
        batch_size: Pictures a step.
        lr: Peak learning rate.
        start: A run of the recipe mae of the same size, whose encoder is fine-tuned; none: random weights.
        seed: Of the random weights, the order of the data and the crops.
        limit: Use so many pictures of every set, for a quick look.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    pretrained = None if start is None else load_model(start, system_builder)
    args: dict[str, Any] = {"size": size}
    if pretrained is not None:
        if not isinstance(pretrained, MaskedAutoencoder):
            raise ValueError(f"--start {start}: got a {type(pretrained).__name__}; expected a run of mae")
        make = pretrained.encoder.make
        args |= {"pooling": pretrained.encoder.pooling, "mean": list(make.mean), "std": list(make.std)}
    args["tasks"] = [OneOf("group", GROUPS).as_json()]
    model = system(**args)
    if pretrained is not None:
        _take_over(model, pretrained, start)
    encoder = model.by_column["image"]
    pictures, test = emoji_pictures(encoder, limit)
    probe = GroupProbe(encoder, pictures, test)
    collate = AugmentedPictures(pictures, {"image": crops(pictures.pixels.shape[-1], SMALLEST)})

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, FusionNetwork)
        plain = AugmentedPictures(test, {"image": None})
        rows = [range(start, min(start + ROWS, len(test))) for start in range(0, len(test), ROWS)]
        found = scores(
            trained, [plain(some) for some in rows], trained.tasks, seen={"group": pictures.fields["group"]}
        )
        named = {f"emoji.unseen_artist.{name}": score for name, score in found.items()}
        return named | probe.scores(trained.by_column["image"])

    return Run(
        name="vit",
        folder=folder,
        system="vit",
        system_args=args,
        model=model,
        data=range(len(pictures)),
        collate=collate,
        objectives=[Supervised(model.tasks)],
        batch_size=min(batch_size, len(pictures)),
        epochs=epochs,
        lr=lr,
        weight_decay=0.05,
        warmup=0.1,
        seed=seed,
        evaluate=evaluate,
        data_card=DATA_CARD.format(pictures=len(pictures), tested=len(test)),
        progress=progress,
    )


def _take_over(model: FusionNetwork, pretrained: MaskedAutoencoder, start: Path | None) -> None:
    """The pretrained encoder's weights into the model's. Raises ValueError for another size."""
    ours: Any = model.by_column["image"].model
    theirs = pretrained.encoder.model.state_dict()
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in theirs.items()}:
        raise ValueError(f"--start {start}: its encoder has another size; give the --size of that run")
    ours.load_state_dict(theirs)
