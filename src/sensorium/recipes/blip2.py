"""BLIP-2's second stage: a Q-Former learns to write a picture into the prompt of a frozen language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.models.image_text_qformer import ImageTextQFormer
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.blip2_stage1 import blip2_stage1
from sensorium.recipes.llava import FREEZE, LR, Train, conversations, held_out_scores, split
from sensorium.recipes.scene_questions import collator
from sensorium.systems import system_builder
from sensorium.systems.blip2_stage1 import into_stage_2
from sensorium.systems.smol_blip2 import LanguageModel, smol_blip2
from sensorium.training.checkpoint import load_model, load_weights, read
from sensorium.training.loop import fit
from sensorium.training.run import Run
from sensorium.weights import cache_folder


def blip2(
    data: Path | None = None,
    start: Path | None = None,
    folder: Path = Path("runs/blip2"),
    train: Train = "projector",
    language_model: LanguageModel = "smollm2",
    queries: int = 8,
    layers: int = 4,
    width: int = 128,
    rank: int = 8,
    steps: int = 400,
    batch_size: int = 16,
    lr: float | None = None,
    projector_lr: float = 1e-3,
    held_out: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
    stage_1: Path | None = None,
    stage_1_steps: int = 0,
    size: int = 224,
) -> Run:
    """Captions through a Q-Former, the language model frozen (stage 2, after stage 1 where that is asked for).

    A decoder-only model writes the caption after picture and question. For an encoder-decoder the question is the
    prefix that its encoder reads beside the picture, and the loss is on what its decoder writes.

    Paper: Li et al. 2023, arXiv:2301.12597, section 3.2
    Command: sensorium train blip2
             sensorium train blip2 --stage-1-steps 600 --size 160
    Hardware and time: 2 CPU cores, about a second a step; the encoder's features are computed once.
    Expected: after 300 steps 41.7 % of held-out tokens (38.6 to 44.4; with another's picture 33.4), after stage 1 as
    many (41.9); see docs/pretraining.md.

    Args:
        data: A JSON or JSONL file of conversations; None: captions of bundled pictures.
        start: A checkpoint of the same system and arguments to begin with.
        folder: Where the run is written.
        train: What learns beside the Q-Former: nothing (the paper's stage 2), LoRA, or the whole language model.
        language_model: "smollm2", or "t5-debug", a small random encoder-decoder that shows the objective.
        queries: Tokens a picture.
        layers: Of the Q-Former.
        width: Of the Q-Former.
        rank: Of LoRA with train="lora".
        steps: Optimiser steps.
        batch_size: Conversations a step.
        lr: Peak learning rate of the language model's part; None: 5e-4 for LoRA, 2e-5 for all of it.
        projector_lr: That of the Q-Former and the linear layer.
        held_out: Share of the pictures, with all their conversations, that is tested on.
        seed: Of the weights' start, the order and what is held out.
        limit: Use so many conversations, for a quick look.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
        stage_1: A run of `blip2_stage1` whose Q-Former this one begins with, and whose queries, layers, width and size
            it takes; None: it begins at random. With the same seed and share held out, neither saw what is tested on.
        stage_1_steps: Train stage 1 first, for so many steps, in the folder `stage_1` (None: folder/stage_1).
        size: Side of the pictures in pixels.
    """
    if stage_1_steps:
        if data is not None:
            raise ValueError("stage_1_steps: stage 1 trains on the bundled captions; leave data out")
        stage_1 = stage_1 or Path(folder) / "stage_1"
        fit(
            blip2_stage1(
                stage_1,
                queries,
                layers,
                width,
                size,
                stage_1_steps,
                held_out=held_out,
                seed=seed,
                limit=limit,
                cache=cache,
                progress=progress,
            )
        )
    first, shape = (None, {}) if stage_1 is None else opened_stage_1(stage_1)
    torch.manual_seed(seed)
    args: dict[str, Any] = {
        "queries": queries,
        "layers": layers,
        "width": width,
        "rank": rank if train == "lora" else 0,
        "language_model": language_model,
        "size": size,
    } | shape
    model = smol_blip2(**args)
    if first is not None:
        into_stage_2(first, model)
    if start is not None:
        load_weights(start, model)
    if train == "full":
        model.backbone.float()  # small steps are lost in bfloat16
        model.backbone.source = None
    kept, tested = split(conversations(data, limit), held_out, seed)
    plain = reader(model)
    reading = ConversationCollator.with_cache(
        kept,
        plain.renderer,
        dict(model.encoders.items()),
        FeatureCache(cache or cache_folder() / "features"),
        quarantine=Quarantine(Path(folder) / "quarantine.jsonl"),
        progress=progress,
        dtype="float16",
        start=plain.start,
    )
    return Run(
        name="blip2",
        folder=folder,
        system="smol_blip2",
        system_args=args,
        model=model,
        data=range(len(kept)),
        collate=reading,
        objectives=[NextToken()],
        freeze=FREEZE[train],
        batch_size=min(batch_size, len(kept)),
        steps=steps,
        lr=lr or (projector_lr if train == "projector" else LR[train]),
        part_lr={"projectors.*": projector_lr},
        weight_decay=0.0,
        seed=seed,
        save_every=100,
        evaluate=held_out_scores(tested, plain),
        data_card=f"{len(kept)} conversations of {data or 'bundled captions (datasets/)'}; {len(tested)} held out",
        progress=progress,
    )


def opened_stage_1(folder: Path) -> tuple[ImageTextQFormer, dict[str, Any]]:
    """The model of a run of `blip2_stage1`, and what of its arguments stage 2 must share."""
    about = read(folder)
    model = load_model(folder, system_builder)
    if not isinstance(model, ImageTextQFormer):
        raise ValueError(f"stage_1={folder} is a {about.system!r}; expected a run of blip2_stage1")
    return model, {name: about.args[name] for name in ("queries", "layers", "width", "size")}


def reader(model: MultimodalLM) -> ConversationCollator:
    """Conversations -> TokenBatch, as either kind of language model reads them."""
    plain = collator(model)
    if model.backbone.kind == "encoder_decoder":
        return ConversationCollator(plain.renderer, plain.encoders, start=model.backbone.start_id)
    return plain
