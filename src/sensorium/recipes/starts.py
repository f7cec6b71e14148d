"""How to start from a pretrained encoder with few labels: one of ten ways, the same task, the same steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from sensorium.data.batch import Collator
from sensorium.evaluation.generated import Baselines, GeneratedScore, score_of
from sensorium.evaluation.predictions import SHUFFLES, constant, metrics, outputs_of, shuffled
from sensorium.models.fusion_network import FusionNetwork
from sensorium.objectives.supervised import Supervised
from sensorium.recipes.few_labels_data import emoji_groups
from sensorium.recipes.fusion_data import batches_of
from sensorium.recipes.starts_data import Column, few_of_each, space_of
from sensorium.systems.classifier import classifier
from sensorium.systems.prompted import heads_on, prompts_in
from sensorium.tasks import OneOf
from sensorium.training.depth import depths, gradually, layer_rates
from sensorium.training.history import write_text
from sensorium.training.run import Run

Way = Literal[
    "probe",
    "full",
    "layerwise",
    "gradual",
    "adapters",
    "lora",
    "words",
    "prompts",
    "space_probe",
    "untrained_probe",
    "scratch",
]
SPACED: tuple[Way, ...] = ("words", "prompts", "space_probe")  # start from a shared space
UNTRAINED: tuple[Way, ...] = ("untrained_probe", "scratch")
# Rates: chosen on drawings of a seventh of the training things by one of the training artists, never on the test.
HEAD_LR = 1e-3
PROBE_LR = 1e-2  # of a head alone, which is then near its optimum after the same few steps
ENCODER_LR = {"image": 1e-3, "text": 2e-4}  # of what was pretrained
ADDED_LR = 5e-3  # of adapters and LoRA
PROMPT_LR = 2e-2
MOMENTUM = 0.1  # of an untrained encoder's batch norms: at EfficientNet's 0.01 so short a run would leave them behind
DECAY = 0.75  # a layer (BEiT's)
WAIST, RANK = 16, 8  # of adapters and of LoRA
STAGES = (
    6,
    9,
)  # of EfficientNet: the last knows ImageNet's classes, a lower one lines and colours, as in the space
CONTEXT = "a drawing of"  # what learned prompts start from
ANSWERS = "answers.json"


def starts(
    way: Way = "full",
    shots: int = 8,
    column: Column = "image",
    space: Path | None = None,
    folder: Path = Path("runs/starts"),
    steps: int = 40,
    batch_size: int = 16,
    size: int = 96,
    seed: int = 0,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Tell the group of a drawing, or of a name, from few labels, starting from a pretrained encoder.

    Command: sensorium train starts --way gradual --shots 8 (one way), sensorium starts (all of them, one table)
    Hardware and time: CPU, some fifteen seconds of one core's processor time; probes and prompts less.
    Papers: ULMFiT (arXiv:1801.06146) for gradual unfreezing and rates by layer, BEiT (arXiv:2106.08254) for their
    formula, CoOp (arXiv:2109.01134) for prompts, arXiv:1902.00751 for adapters, arXiv:2106.09685 for LoRA.
    Expected: the table of docs/pretraining.md, "Starting from a pretrained part".

    Args:
        way: probe (a linear head on the frozen encoder), full (everything learns, at one rate), layerwise (lower layers
            more slowly), gradual (layers open one after another, the last first), adapters, lora, words (a shared space
            and the labels' words, nothing learned), prompts (the same, with learned vectors before the labels),
            space_probe (a linear head on the shared space's vectors), untrained_probe and scratch (the same encoder
            with random weights, frozen and trained).
        shots: Labelled records of each of the eight groups; the fewer are part of the more.
        column: image (drawings, EfficientNet-Lite0) or text (their names, MiniLM).
        space: Run or checkpoint of a shared space, for words, prompts and space_probe; sensorium quickstart makes one.
        folder: Where the run is written.
        steps: Optimiser steps.
        batch_size: Records a step.
        size: Side of the pictures in pixels, for ways that do not start from a space.
        seed: Of which records are labelled, of random weights and of the order of the data.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    data = few_of_each(shots, column, seed)
    task = data.tasks[0]
    assert isinstance(task, OneOf)
    torch.manual_seed(seed)
    system, args, model = _model(way, column, task, space, size)
    test = data.collator(model.by_column, "test", cache=cache, progress=progress)
    train = data.collator(model.by_column, "train", cache=cache, progress=progress)
    for head in model.heads.parameters() if isinstance(model, FusionNetwork) else ():
        nn.init.zeros_(head)  # what a random head says at first is noise, which few steps do not take away
    if way not in SPACED:
        _standardize(model, column, train, way)
    answers = [str(sample.fields[task.field]) for sample in data.samples("test")]
    usual = constant(task, [sample.fields[task.field] for sample in emoji_groups().samples("train")])

    def evaluate(trained: nn.Module) -> dict[str, GeneratedScore]:
        outputs = outputs_of(trained, batches_of(test), [task])[task.name]  # type: ignore[arg-type]
        write_text(folder / ANSWERS, json.dumps({"given": task.answers(outputs), "right": answers}) + "\n")

        def accuracy(said: torch.Tensor) -> Any:
            return metrics(task, said, answers)["accuracy"]

        orders = [shuffled(np.arange(len(answers)), one) for one in range(SHUFFLES)]
        blind = [accuracy(outputs[torch.from_numpy(order)]) for order in orders if order is not None]
        majority = accuracy(usual.expand(len(answers), -1))
        baselines = Baselines(blind_shuffled=blind, majority=majority)
        return {f"{task.name}.accuracy": score_of(accuracy(outputs), baselines)}

    return Run(
        name=f"starts: {way}",
        folder=folder,
        system=system,
        system_args=args,
        model=model,
        data=range(len(data.samples("train"))),
        collate=train,
        objectives=[Supervised([task])],
        batch_size=min(batch_size, len(data.samples("train"))),
        steps=1 if way == "words" else steps,
        warmup=0.1,
        precision="fp32",
        evaluate=evaluate,
        data_card=data.about,
        seed=seed,
        progress=progress,
        **_learning(way, column, model, steps),
    )


def _model(
    way: Way, column: Column, task: OneOf, space: Path | None, size: int
) -> tuple[str, dict[str, Any], Any]:
    """The system's name, its arguments and the built model, frozen where nothing of it will learn."""
    tasks = [task.as_json()]
    if way in SPACED:
        if space is None:
            raise ValueError(
                f"--way {way} starts from a shared space; name its run with --space (sensorium quickstart makes one)"
            )
        name, space_args, shared = space_of(space)
        args: dict[str, Any] = {"space": name, "space_args": space_args, "tasks": tasks, "column": column}
        if way == "space_probe":
            return "space_classifier", args, heads_on(shared, tasks, column)
        args["context"] = CONTEXT
        return "prompted", args, prompts_in(shared, tasks, CONTEXT, column=column)
    encoder = (
        {"kind": "efficientnet_lite0", "size": size, "stages": STAGES}
        if column == "image"
        else {"kind": "minilm", "layers": [6]}  # the last, whose mean is not made unit length
    )
    args = {"encoder": encoder, "tasks": tasks, "column": column}
    if way in UNTRAINED:
        args["untrained"] = True
    if way in ("adapters", "lora"):
        args[way] = WAIST if way == "adapters" else RANK
    model = classifier(**args)
    if way not in ("adapters", "lora"):
        model.encoders[column].requires_grad_(way != "probe")
    return "classifier", args, model


def _standardize(model: Any, column: Column, train: Collator, way: Way) -> None:
    """Fit what stands before the head to the encoder's vectors of the labelled records.

    The batch norms of an untrained encoder take their statistics from the same records: by those that they start from,
    the signal of random weights dies out on its way through fifty layers.
    """
    encoder, projector = model.encoders[column], model.projectors[column]
    inputs = [batch.columns[column].inputs for batch in batches_of(train)]
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        if way in UNTRAINED and norms:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean over batches
            encoder.train()
            for one in inputs:
                encoder(one)
            for norm in norms:
                norm.momentum = MOMENTUM
        encoder.eval()
        found = [one if not isinstance(one, dict) else encoder(one) for one in inputs]
        projector.fit(torch.cat([one.pooled.float() for one in found]))


def _learning(way: Way, column: Column, model: Any, steps: int) -> dict[str, Any]:
    """What of the model learns, how fast and from when on: arguments of `Run`."""
    part, lr = f"encoders.{column}", ENCODER_LR[column]
    if way in ("probe", "space_probe"):  # frozen by what built them
        return {"lr": PROBE_LR}
    if way in ("adapters", "lora"):
        return {"lr": HEAD_LR, "part_lr": {part: ADDED_LR}}
    if way == "untrained_probe":
        return {"lr": PROBE_LR, "freeze": [part]}
    if way in ("words", "prompts"):  # words: one step of rate 0, so that the same path writes the same files
        return {"lr": PROMPT_LR if way == "prompts" else 0.0, "weight_decay": 0.0}
    rates: dict[str, float] = (
        layer_rates(model, part, lr / DECAY, DECAY) if way == "layerwise" else {part: lr}
    )
    thaw = gradually(model, part, steps // (len(depths(model, part)) + 2)) if way == "gradual" else {}
    # A pretrained batch norm stays as it is: of sixteen pictures it would learn the statistics of these sixteen.
    norms = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and way != "scratch"
    ]
    return {"lr": HEAD_LR, "part_lr": rates, "thaw": thaw, "freeze": norms}
