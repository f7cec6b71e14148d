"""Stage 1 of the laptop's LLaVA: every cell of the picture's map learns the word for what stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sensorium.data.jitter import Jitter
from sensorium.data.scenes import GROUNDS, Scene, Scenes
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, score_of
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.grid_naming import GridNaming, word_vectors
from sensorium.systems.smol_llava import CELL, smol_llava
from sensorium.training.run import Run

ENDLESS = 1_000_000  # scenes; a run sees a few ten thousand of them
COVERED = 0.2  # share of a cell that a thing must cover to be what stands in it
TESTS = ("unseen_artist", "new_scenes")


def scene_names(
    folder: Path = Path("runs/scene_names"),
    steps: int = 900,
    batch_size: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    scenes: int = 200,
    progress: bool = True,
) -> Run:
    """Name the cells of composed scenes: the picture encoder's top and the connector, without the language model.

    Command: sensorium train scene_names
    Hardware and time: CPU; under a second of one core a step.
    Expected: 67 % of the cells with a thing by an unseen artist named right (blind 0.1 %), by trained artists 98 %.

    Args:
        folder: Where the run is written.
        steps: Optimiser steps.
        batch_size: Scenes a step.
        lr: Peak learning rate of the connector; the encoder's top takes a third of it.
        seed: Of the weights' start, the scenes and their light.
        scenes: How many scenes each test has.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    model = smol_llava()
    stream = Scenes("train", seed=seed)
    classes = [*(thing.en for thing in stream.things), *GROUNDS]
    objective = GridNaming(word_vectors(model.backbone, classes), rest=len(stream.things))
    tests = {split: [Scenes(split).scene(i) for i in range(scenes)] for split in TESTS}
    collate = CellCollator(model.encoders["image"], stream, classes, Jitter())

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MultimodalLM)
        return {
            f"cells.{split}.accuracy": accuracy(trained, objective, replace(collate, jitter=None), test)
            for split, test in tests.items()
        }

    return Run(
        name="scene_names",
        folder=folder,
        system="smol_llava",
        model=model,
        data=range(ENDLESS),
        collate=collate,
        objectives=[objective],
        weights={"naming": 1.0, "norm": 0.1},
        freeze=["backbone"],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        part_lr={"encoders.*": lr / 3},
        seed=seed,
        save_every=100,
        evaluate=evaluate,
        data_card="Scenes composed of emoji drawings by four artists (datasets/emoji, licences of the artists).",
        progress=progress,
    )


@dataclass(frozen=True)
class CellBatch:
    """inputs: the encoder's prepared pictures; cells: int64[B, side²], the class of each cell, row by row."""

    inputs: dict[str, Tensor]
    cells: Tensor

    def __len__(self) -> int:
        return len(self.cells)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> CellBatch:
        inputs = {key: tensor.to(device, non_blocking=non_blocking) for key, tensor in self.inputs.items()}
        return CellBatch(inputs, self.cells.to(device, non_blocking=non_blocking))


@dataclass(frozen=True)
class CellCollator:
    """Scenes or their numbers -> CellBatch. classes: names of things, then grounds."""

    encoder: torch.nn.Module
    stream: Scenes
    classes: Sequence[str]
    jitter: Jitter | None

    def __call__(self, items: Sequence[Scene | int]) -> CellBatch:
        scenes = [item if isinstance(item, Scene) else self.stream.scene(int(item)) for item in items]
        pictures = [self.stream.picture(scene) for scene in scenes]
        if self.jitter is not None:
            pictures = [self.jitter(picture) for picture in pictures]
        cells = torch.from_numpy(np.stack([self.cells(scene) for scene in scenes]))
        return CellBatch(self.encoder.prepare(pictures), cells)  # type: ignore[operator]

    def cells(self, scene: Scene) -> np.ndarray:
        """int64[side²]: the thing that covers most of each cell, else the ground."""
        side = scene.size // CELL
        covered = self.stream.masks(scene).reshape(len(scene.things), side, CELL, side, CELL).mean((2, 4))
        number = np.array([self.classes.index(placed.thing.en) for placed in scene.things])
        ground = self.classes.index(scene.ground, len(self.classes) - len(GROUNDS))
        return np.where(covered.max(0) >= COVERED, number[covered.argmax(0)], ground).reshape(-1)


def accuracy(
    model: MultimodalLM,
    objective: GridNaming,
    collate: CellCollator,
    scenes: Sequence[Scene],
    batch_size: int = 32,
) -> GeneratedScore:
    """Share of the cells with a thing in them that are named right; blind: the maps of other scenes."""
    right, blind, groups = [], [], []
    for start in range(0, len(scenes), batch_size):
        batch = collate(scenes[start : start + batch_size])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            said = objective.logits(model, batch.inputs).argmax(-1)
        is_thing = batch.cells < objective.rest
        right.append((said == batch.cells)[is_thing])
        blind.append((said.roll(1, 0) == batch.cells)[is_thing])
        groups.append((torch.arange(start, start + len(batch))[:, None].expand_as(is_thing))[is_thing])
    values, others = (Measured(torch.cat(parts).double().numpy()) for parts in (right, blind))
    return score_of(values, Baselines(blind_shuffled=[others]), groups=torch.cat(groups).numpy())
