"""A trained shared space, and labels in it: by learned prompts (CoOp), or by a linear head on its vectors.

    picture ──► encoder ──► head ──► / |·| ──────────────────────┐
    [v1] … [vM] + label ──► text encoder ──► head ──► / |·| ─────┴──► scale · cosine ──► logits      (prompted)

    picture ──► encoder ──► head ──► / |·| ──► linear, one a task ──► logits                (space_classifier)

Two ways of starting from the same space with few labels (Zhou et al. 2022, arXiv:2109.01134, figure 3). Of a space
with more columns only those two are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F

from sensorium.features import Features
from sensorium.models.fusion_network import FusionNetwork
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.prompt_learning import PromptLearning
from sensorium.projectors.projector import Projector
from sensorium.systems import system_builder
from sensorium.systems.vit import OneColumn
from sensorium.tasks import OneOf, Task, task_from


class SpaceVectors(Projector):
    """Features ──► a space's head (None: none) ──► / |·| ──► · √D ──► Features[B, 1, D]

    By √D the numbers of unit vectors have a spread of about one, which suits a linear head's learning rate. They are
    not standardized each: the space has put little into those directions that say little.
    """

    def __init__(self, head: nn.Module | None, width: int) -> None:
        super().__init__()
        self.head, self.width = head, width

    def forward(self, features: Features) -> Features:
        found: Features = features if self.head is None else self.head(features)
        return Features.from_pooled(self.width**0.5 * F.normalize(found.pooled.float(), dim=-1))


def prompted(
    space: str,
    space_args: Mapping[str, Any],
    tasks: Sequence[Task | Mapping[str, Any]],
    context: int | str = 16,
    per_label: bool = False,
    column: str = "image",
    text: str = "text",
) -> PromptLearning:
    """A `PromptLearning` in a space that a system builds; a checkpoint brings the space's trained heads along.

    space, space_args: a system that makes a `JointEmbedding`, and its arguments
    tasks:             one, of one label of several
    context, per_label, column, text: see `PromptLearning`
    """
    return prompts_in(built(space, space_args), tasks, context, per_label, column, text)


def space_classifier(
    space: str,
    space_args: Mapping[str, Any],
    tasks: Sequence[Task | Mapping[str, Any]],
    column: str = "image",
) -> FusionNetwork:
    """A linear head a task on a space's vectors. Arguments as of `prompted`."""
    return heads_on(built(space, space_args), tasks, column)


def prompts_in(
    space: JointEmbedding,
    tasks: Sequence[Task | Mapping[str, Any]],
    context: int | str = 16,
    per_label: bool = False,
    column: str = "image",
    text: str = "text",
) -> PromptLearning:
    """As `prompted`, in a space that is at hand. Raises ValueError for a task that is not one label of several."""
    asked = [task_from(task) for task in tasks]
    if len(asked) != 1 or not isinstance(asked[0], OneOf):
        raise ValueError(
            f"tasks: got {[task.kind for task in asked]}; expected one, of one label of several (one_of)"
        )
    return PromptLearning(narrowed(space, (column, text)), asked[0], context, per_label, column, text)


def heads_on(
    space: JointEmbedding, tasks: Sequence[Task | Mapping[str, Any]], column: str = "image"
) -> FusionNetwork:
    """As `space_classifier`, on a space that is at hand; the space is frozen."""
    kept = narrowed(space, (column,)).requires_grad_(False)
    head = dict(kept.heads.items()).get(column)
    return FusionNetwork(
        {column: kept.encoders[column]},
        {column: SpaceVectors(head, kept.width)},
        OneColumn([column], kept.width),
        [task_from(task) for task in tasks],
    )


def built(space: str, args: Mapping[str, Any]) -> JointEmbedding:
    """A space as its system builds it. Raises ValueError for a system that makes something else."""
    made = system_builder(space)(**args)
    if not isinstance(made, JointEmbedding):
        raise ValueError(
            f"space {space!r}: it makes a {type(made).__name__}; expected a JointEmbedding, such as clip"
        )
    return made


def narrowed(space: JointEmbedding, columns: Sequence[str]) -> JointEmbedding:
    """The space with these of its columns only, whose parts it shares. Raises ValueError for one that it lacks."""
    if missing := [name for name in columns if name not in space.columns]:
        raise ValueError(f"columns {missing}: the space has {', '.join(space.columns)}")
    kept = JointEmbedding(
        {name: space.encoders[name] for name in columns},
        {name: space.heads[name] for name in columns if name in space.heads},
        max_scale=space.max_scale,
    )
    kept.log_scale, kept.bias = space.log_scale, space.bias
    return kept.train(space.training)
