"""A few labelled drawings (or names) of each group, and the shared space that prompts are learned in.

bundled emoji, how many of each group, a seed -> FusionData; a run's folder -> a space and what builds it
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sensorium.data import bundled
from sensorium.data.sample import Sample
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.projectors.canonical import CanonicalHead
from sensorium.recipes.few_labels_data import emoji_groups
from sensorium.recipes.fusion_data import FusionData, groups_of, order_of
from sensorium.systems import system_builder
from sensorium.tasks import Task
from sensorium.training.checkpoint import load_model, read

Column = Literal["image", "text"]


def few_of_each(shots: int, column: Column, seed: int) -> FusionData:
    """The task of `emoji_groups` in one column, with `shots` training records of each group.

    A name stands once among the records of names, whoever drew the thing. Raises ValueError for more than there are.
    """
    whole = emoji_groups()
    records = whole.samples("train")
    if column == "text":
        records = [sample for sample in records if sample.fields["artist"] == bundled.TRAIN_ARTISTS[0]]
    few = some_of_each(records, whole.tasks[0], shots, seed)
    return FusionData(
        f"emoji_groups, {shots} of each",
        whole.tasks,
        {column: whole.modality[column]},
        {"train": lambda: few, "validation": list, "test": lambda: whole.samples("test")},
        f"{len(few)} labelled records, {shots} of each group; {whole.about}",
    )


def some_of_each(samples: list[Sample], task: Task, shots: int, seed: int) -> list[Sample]:
    """`shots` records of every label, in their order; the fewer are part of the more. ValueError for too many."""
    places: dict[Any, list[int]] = {}
    for place, group in enumerate(groups_of(samples, task)):
        places.setdefault(group, []).append(place)
    fewest = min(places, key=lambda group: len(places[group]))
    if not 1 <= shots <= len(places[fewest]):
        raise ValueError(
            f"--shots {shots}; expected from 1 to {len(places[fewest])}, all there are of {fewest}"
        )
    kept = [
        place
        for rows in places.values()
        for place in sorted(rows, key=lambda row: order_of(seed, samples[row].id))[:shots]
    ]
    return [samples[place] for place in sorted(kept)]


@lru_cache(maxsize=1)  # every run of a comparison starts from the same one, which none of them changes
def space_of(folder: Path) -> tuple[str, dict[str, Any], JointEmbedding]:
    """The space of a run or checkpoint, with the name of its system and the arguments that build it.

    Without what its heads remember of the drawings that it was trained on: a few of these are trained on here, and
    would be answered from memory. Raises ValueError for a run of something else.
    """
    about, space = read(folder), load_model(folder, system_builder)
    if not isinstance(space, JointEmbedding):
        raise ValueError(
            f"--space {folder}: got a {type(space).__name__}; expected a run whose model is a shared space, such as "
            "that of sensorium quickstart"
        )
    args = {name: value for name, value in about.args.items() if name != "remembered"}
    for head in space.heads.values():
        if isinstance(head, CanonicalHead):
            head.recall = None
    return about.system, args, space
