"""The first lessons of PaLM-E's state encoder: where each object is, and what the way to the goal runs through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.data.scenes import STATE
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.grid_naming import GridNaming
from sensorium.recipes.scene_names import ENDLESS, CellBatch
from sensorium.training.loop import fit
from sensorium.training.run import Run

SIDE = 7  # cells of the picture's map, across and down
SLOTS = 4
ROOM = 10 / 224  # as of the paths of `data.scenes.sensing`, in sides of the picture
TRIED, KEPT = 24_000, 256  # random scenes drawn at a time, of which about one in fifty is one; states a step


def learn_places(
    model: MultimodalLM, args: Mapping[str, Any], folder: Path, steps: int, seed: int, progress: bool
) -> None:
    """Teach the state's tokens places, as the picture's tokens say them, without running the language model.

    With the vectors of the 49 cells (rows + columns of the picture's `GridPositions`) in the place of words, each
    object's token names the cell of its centre, and that of the path the cell of the thing in the way (`GridNaming`).
    Then a state's token lies beside the picture's token of the same place, where the language model can find it.
    Learned from random boxes and ways: no picture, no name and no test scene is involved. The tokens must read each
    other (`mixing`): two layers of attention found the cell of the thing in the way in 94 % of such states, where
    networks of one and of three hidden layers over all numbers stayed at 40 % for the same time.
    """
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    places = model.projectors["image"].parts[-1].table().detach()  # type: ignore[union-attr, index]
    nowhere = places.mean(0, keepdim=True)
    objective = GridNaming(torch.cat([places, nowhere]), rest=len(places), name="state")
    collate = StatePlaces(seed)
    as_long_as(model, places - nowhere, collate(range(KEPT)))
    run = Run(
        name="palm_e_states",
        folder=folder,
        system="palm_e",
        system_args=args,
        model=model,
        data=range(ENDLESS),
        collate=collate,
        objectives=[objective],
        weights={"naming": 1.0, "norm": 0.1},
        freeze=["*", "!encoders.state", "!projectors.state"],
        batch_size=KEPT,
        steps=steps,
        lr=2e-3,
        weight_decay=0.0,
        precision="fp32",
        seed=seed,
        progress=progress,
    )
    fit(run)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)


def as_long_as(model: MultimodalLM, vectors: Tensor, batch: CellBatch) -> None:
    """Scale the state's last layer so that its tokens begin as long as these vectors, float[C, D], on average."""
    with torch.no_grad():
        tokens = model.features("state", batch.inputs).tokens
        last = [part for part in model.projectors["state"].modules() if isinstance(part, torch.nn.Linear)][-1]
        share = vectors.norm(dim=-1).mean() / tokens.norm(dim=-1).mean()
        last.weight.mul_(share)
        last.bias.mul_(share)


@dataclass(frozen=True)
class StatePlaces:
    """Numbers -> CellBatch of as many random states, with the cell of each of the seven objects of `STATE`."""

    seed: int

    def __call__(self, items: Sequence[int]) -> CellBatch:
        draw = np.random.default_rng([self.seed, int(items[0])])
        states, obstacles = random_states(len(items), draw)
        return CellBatch({"state": torch.from_numpy(states)}, cells_of(states, obstacles))


def random_states(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """float32[count, 33] by STATE, still and with a path; int64[count], which of the four things is in the way.

    Boxes that do not overlap and a way that crosses the middle half of one and keeps ROOM from the others, as in
    `data.scenes`, by rejection: all numbers of many scenes at once.
    """
    states, obstacles = _candidates(draw)
    while len(states) < count:
        more, others = _candidates(draw)
        states, obstacles = np.concatenate([states, more]), np.concatenate([obstacles, others])
    return states[:count], obstacles[:count]


def cells_of(states: np.ndarray, obstacles: np.ndarray) -> Tensor:
    """int64[B, 7]: the cell of thing 0 … 3, of the obstacle, of robot and goal; SIDE² for what is not there."""
    B, n = len(states), SLOTS * 7
    things = states[:, :n].reshape(B, SLOTS, 7)
    centres = things[..., 1:3]
    points = np.concatenate(
        [centres, centres[np.arange(B), obstacles][:, None], states[:, n + 1 :].reshape(B, 2, 2)], 1
    )
    x, y = np.moveaxis(np.minimum((points * SIDE).astype(np.int64), SIDE - 1), -1, 0)
    there = np.concatenate([things[..., 0] > 0, np.ones((B, 3), bool)], 1)
    return torch.from_numpy(np.where(there, y * SIDE + x, SIDE**2))


def _candidates(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    N, rows = TRIED, np.arange(TRIED)
    count = draw.integers(2, SLOTS + 1, N)
    there = np.arange(SLOTS) < count[:, None]
    sides = draw.uniform(55 / 224, 110 / 224, (N, SLOTS, 1)) * np.stack(
        [np.ones((N, SLOTS)), draw.uniform(0.6, 1, (N, SLOTS))], -1
    )
    sizes = np.where(draw.random((N, SLOTS, 1)) < 0.5, sides, sides[..., ::-1])
    centres = sizes / 2 + draw.random((N, SLOTS, 2)) * (1 - sizes)
    low, high = centres - sizes / 2, centres + sizes / 2
    both = there[:, :, None] & there[:, None] & ~np.eye(SLOTS, dtype=bool)
    overlap = ((low[:, :, None] < high[:, None]) & (low[:, None] < high[:, :, None])).all(-1) & both
    obstacle = draw.integers(0, count)
    through = centres[rows, obstacle] + sizes[rows, obstacle] * draw.uniform(-0.25, 0.25, (N, 2))
    angle = draw.uniform(0, 2 * np.pi, N)
    way = np.stack([np.cos(angle), np.sin(angle)], -1)
    robot, goal = (through + sign * way * draw.uniform(0.2, 0.7, (N, 1)) for sign in (1, -1))
    ends = np.stack([robot, goal], 1)
    crossed = _crosses(robot, goal, low - ROOM, high + ROOM) & there
    crossed[rows, obstacle] = False
    box = low[rows, obstacle][:, None], high[rows, obstacle][:, None]
    outside = ((ends < box[0]) | (ends > box[1])).any(-1).all(1)
    inside = ((ends >= 0) & (ends <= 1)).all((1, 2))
    long = np.linalg.norm(robot - goal, axis=1) >= 0.4
    good = ~overlap.any((1, 2)) & ~crossed.any(1) & outside & inside & long
    things = np.concatenate([there[..., None], centres, sizes, np.zeros((N, SLOTS, 2))], 2) * there[..., None]
    states = np.concatenate([things.reshape(N, -1), np.ones((N, 1)), robot, goal], 1)[good]
    assert states.shape[1] == len(STATE)
    return states.astype(np.float32), obstacle[good]


def _crosses(start: np.ndarray, end: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """bool[N, S]: whether the way from start to end, float[N, 2], meets boxes of corners float[N, S, 2]."""
    step = (end - start)[:, None]
    near, far = ((corner - start[:, None]) / step for corner in (low, high))
    enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
    return np.asarray(np.maximum(enter, 0) <= np.minimum(leave, 1))
