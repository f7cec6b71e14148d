"""A training step of a language model that sees: ours against `transformers`' LLaVA in its Trainer with peft.

    python benchmarks/lm_training.py [--rounds 3] [--pictures 4] [--questions 7] [--encoder small] [--only TEXT …]

One model on both sides, with equal weights: CLIP's vision transformer (random, frozen), LLaVA's connector (learns),
SmolLM2-135M (frozen, LoRA of rank 8 learns), pictures of 224 px as 49 tokens. One set of data: composed scenes, each
with the same number of questions, all of which make one optimiser step. The Trainer gets one question a row, 14 rows
padded to the longest a forward pass, as many passes as the step needs. Ours is `training.loop.train_step` with
`ConversationCollator.with_cache`. Each line takes one thing away from ours, or is the other way; both sides are
processes that take turns with it. Printed are medians of the ratios of the pairs by the clock and in processor time,
and each side's peak memory. Both print their first loss: in float32
and without the cache (which is encoded in bfloat16) it must be one number.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import turns

ENCODERS = {"small": (256, 4), "ViT-B/32": (768, 12)}  # width and layers
SIZE, PATCH, HEAD = 224, 32, 64  # pixels of a picture and of a patch; channels of an attention head
ROWS = 14  # questions of one forward pass of the Trainer
RANK, ALPHA, LR = 8, 16, 1e-4
LORA = r".*language_model.*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"

AS_IT_IS = "as it is"
THEIRS, EAGER = "transformers and its Trainer", "transformers, eager attention"
AWAY = (
    THEIRS,
    EAGER,
    "all questions of a picture in one row",
    "packing (one question a row, padded)",
    "logits only where supervised",
    "the allocator (SENSORIUM_FAST=0)",
    "the cache of Features",
    "blocks of attention (eager)",
    "bf16 (float32)",
)


# ---- what both sides have ------------------------------------------------------------------------------


def their_model(encoder: str) -> tuple[Any, Any]:
    """A `LlavaForConditionalGeneration` in float32, and its tokenizer."""
    import torch
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    from sensorium.backbones import CausalBackbone

    backbone = CausalBackbone.pretrained()
    width, layers = ENCODERS[encoder]
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        image_size=SIZE,
        patch_size=PATCH,
    )
    text = backbone.lm.config.to_dict()
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=backbone.tokenizer.convert_tokens_to_ids("<reponame>"),  # in no conversation
        image_seq_length=(SIZE // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(backbone.lm.model.state_dict())
    model.tie_weights()
    return model, backbone.tokenizer


def talks(pictures: int, questions: int) -> list[list[Any]]:
    """For each picture its conversations, which hold the same array."""
    from sensorium.data.scenes import Scenes, as_conversations

    stream, number = Scenes("train"), 0
    found: list[list[Any]] = []
    while len(found) < pictures:
        scene = stream.scene(number)
        asked, number = stream.questions(scene), number + 1
        if len(asked) >= questions:
            found.append(as_conversations(asked[:questions], {"image": stream.picture(scene)}))
    return found


def peak() -> float:
    """MB that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---- ours ----------------------------------------------------------------------------------------------


def ours(options: argparse.Namespace, away: str, folder: Path) -> Callable[[], float]:
    """A step, which returns its loss."""
    from sensorium.data import packing
    from sensorium.data.conversation import Renderer
    from sensorium.data.conversation_batch import ConversationCollator
    from sensorium.data.feature_cache import FeatureCache
    from sensorium.data.sample import Sample
    from sensorium.objectives.next_token import NextToken
    from sensorium.systems import llava
    from sensorium.training import distributed, optim
    from sensorium.training.adaptation import set_training
    from sensorium.training.loop import train_step
    from sensorium.training.losses import WeightedLosses
    from sensorium.training.order import Batches, Places, in_order, load
    from sensorium.training.run import Run

    theirs, tokenizer = their_model(options.encoder)
    model = llava.from_transformers(theirs, tokenizer)
    model.encoders.requires_grad_(False)
    if options.precision == "bf16":
        model.backbone.lm.bfloat16()
    if away.startswith("blocks"):
        model.backbone.lm.set_attn_implementation("eager")
    else:
        model.backbone.attend_in_blocks()  # as systems/smol_llava.py does
    model.backbone.add_lora(RANK, ALPHA)
    lengths: Any = {"image": model.projectors["image"].length}
    renderer = Renderer(tokenizer, lengths)
    samples = [
        Sample(f"{picture} {number}", {"messages": messages}, {"messages": "conversation"})
        for picture, conversations in enumerate(talks(options.pictures, options.questions))
        for number, messages in enumerate(conversations)
    ]
    alone = away.startswith("packing")
    if alone:
        packing._best_rows = lambda units, longest: [[unit] for unit in units]
    encoders: Any = dict(model.encoders.items())
    share = not alone and not away.startswith("all questions")
    if away.startswith("the cache"):
        collate = ConversationCollator(renderer, encoders, samples=samples, share_prefixes=share)
    else:
        cache = FeatureCache(folder / "cache")
        collate = ConversationCollator.with_cache(
            samples, renderer, encoders, cache, progress=False, share_prefixes=share
        )

    class Everywhere(NextToken):
        """Every position goes through the head, as in models of `transformers`."""

        def __call__(self, model: Any, batch: Any) -> dict[str, Any]:
            import torch.nn.functional as F

            logits = model.logits(model(batch).hidden).float()
            return {"next_token": F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())}

    run = Run(
        name="benchmark",
        folder=folder / "run",
        system="llava",
        model=model,
        data=range(len(samples)),
        collate=collate,
        objectives=[Everywhere() if away.startswith("logits") else NextToken()],
        batch_size=len(samples),
        steps=1_000_000,
        order=in_order,
        lr=LR,
        schedule="constant",
        warmup=0,
        precision=options.precision,
        progress=False,
    )
    # The part of `fit` before its first step.
    accelerator = distributed.start(run.batch_size)
    autocast = distributed.autocast_dtype(run.precision, accelerator.device)
    set_training(model)
    losses = WeightedLosses(model, run.objectives, run.weights, autocast)
    optimizer = accelerator.prepare_optimizer(optim.build(run))
    places = Places(run.order, run.seed, len(run.data), run.batch_size)
    drawn = load(Batches(run.data, run.collate, run.seed), places, workers=0)

    def step() -> float:
        return float(train_step(run, 0, losses, optimizer, drawn, accelerator)["loss"])

    return step


def serve_ours(options: argparse.Namespace, away: str, folder: Path) -> None:
    step = ours(options, away, folder)
    first = step()

    def turn() -> dict[str, float]:
        started, worked = time.perf_counter(), time.process_time()
        step()
        clock, cpu = time.perf_counter() - started, time.process_time() - worked
        return {"clock": clock, "cpu": cpu, "peak": peak(), "loss": first}

    turns.serve(turn)


# ---- theirs --------------------------------------------------------------------------------------------


def rows_for_them(options: argparse.Namespace, tokenizer: Any, image_id: int) -> list[dict[str, Any]]:
    """One conversation a row: ids with the placeholders' own id, labels, the picture. The same ids as ours."""
    import numpy as np

    from sensorium.data.conversation import Renderer

    renderer = Renderer(tokenizer, {"image": (SIZE // PATCH) ** 2})
    rows = []
    for conversations in talks(options.pictures, options.questions):
        for messages in conversations:
            one = renderer(messages)
            ids, labels = one.ids.copy(), np.where(one.supervised, one.ids, -100)
            for slot in one.slots:
                ids[slot.start : slot.start + slot.length] = image_id
            rows.append({"ids": ids, "labels": labels, "picture": one.media[0][1]})
    return rows


def serve_theirs(options: argparse.Namespace, away: str, folder: Path) -> None:
    """A Trainer whose steps wait for their turn."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.utils.rnn import pad_sequence
    from transformers import (
        CLIPImageProcessorPil,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    model, tokenizer = their_model(options.encoder)
    image_id = model.config.image_token_id
    projector = model.model.multi_modal_projector
    if options.precision == "bf16":
        model.model.language_model.bfloat16()
        model.lm_head.bfloat16()
    if away == EAGER:
        model.set_attn_implementation("eager")
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LORA))
    projector.requires_grad_(True)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    data = rows_for_them(options, tokenizer, image_id)

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        def padded(key: str, value: int) -> torch.Tensor:
            return pad_sequence([torch.from_numpy(row[key]) for row in rows], True, value)

        ids = padded("ids", tokenizer.pad_token_id)
        lengths = torch.tensor([len(row["ids"]) for row in rows])
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
            "labels": padded("labels", -100),
            "pixel_values": processor([row["picture"] for row in rows], return_tensors="pt")["pixel_values"],
        }

    class Waiting(TrainerCallback):
        """Before the first step nobody waits; before the second all is ready, and the time is taken."""

        started = worked = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step == 0:
                return
            now, worked = time.perf_counter(), time.process_time()
            if state.global_step == 1:
                print("ready", flush=True)
            else:
                taken = {"clock": now - self.started, "cpu": worked - self.worked}
                loss = next(entry["loss"] for entry in state.log_history if "loss" in entry)
                print(json.dumps({**taken, "peak": peak(), "loss": loss}), flush=True)
            if not sys.stdin.readline():
                sys.exit()
            self.started, self.worked = time.perf_counter(), time.process_time()

    passes, rest = divmod(len(data), ROWS)
    if rest:
        sys.exit(f"{len(data)} questions; expected a multiple of {ROWS}")
    trainer = Trainer(
        model,
        TrainingArguments(
            str(folder / "theirs"),
            use_cpu=True,
            bf16=options.precision == "bf16",
            per_device_train_batch_size=ROWS,
            gradient_accumulation_steps=passes,
            max_steps=1_000_000,
            learning_rate=LR,
            lr_scheduler_type="constant",
            weight_decay=0.01,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            remove_unused_columns=False,
            disable_tqdm=True,
        ),
        train_dataset=data,
        data_collator=collate,
        callbacks=[Waiting()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


# ---- both sides ----------------------------------------------------------------------------------------


def serve(options: argparse.Namespace) -> None:
    away = options.serve
    if away not in (THEIRS, EAGER):
        from sensorium import speed

        speed.apply()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        (serve_theirs if away in (THEIRS, EAGER) else serve_ours)(options, away, Path(folder))


def side(options: argparse.Namespace, away: str) -> turns.Side:
    precision = "fp32" if away.startswith("bf16") else options.precision
    arguments = [__file__, "--serve", away, "--precision", precision]
    for name in ("pictures", "questions", "encoder", "threads"):
        arguments += [f"--{name}", str(getattr(options, name))]
    return turns.Side(arguments, {"SENSORIUM_FAST": "0" if away.startswith("the allocator") else "1"})


def compare(options: argparse.Namespace, whole: turns.Side, away: str) -> None:
    """A line of the table."""
    other = side(options, away)
    pairs = [(whole.turn(), other.turn()) for _ in range(options.rounds)]
    other.close()
    of, without = pairs[-1]
    slower, dearer = (
        statistics.median(second[kind] / first[kind] for first, second in pairs) for kind in ("clock", "cpu")
    )
    questions = options.pictures * options.questions
    rates = [questions / statistics.median(turn["cpu"] for turn in side) for side in zip(*pairs)]
    print(
        f"{away:40}{slower:7.2f}{dearer:8.2f}{of['peak']:10.0f}{without['peak']:8.0f}{of['loss']:10.4f}"
        f"{without['loss']:9.4f}{rates[0]:10.1f}{rates[1]:8.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="pairs of steps a line")
    parser.add_argument("--pictures", type=int, default=4, help="a step")
    parser.add_argument("--questions", type=int, default=7, help="a picture; with pictures, a multiple of 14")
    parser.add_argument("--encoder", choices=ENCODERS, default="small", help="the vision transformer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--only", nargs="+", default=[""], help=f"lines that start so: {'; '.join(AWAY)}")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    chosen = [away for away in AWAY if any(away.startswith(start) for start in options.only)]
    if not chosen:
        parser.error(f"nothing starts with {' or '.join(options.only)}; there are {'; '.join(AWAY)}")
    describe(options)
    print("of two numbers the first is ours as it is, the second what the line says")
    print(f"{'':40}{'× time':>7}{'× CPU':>8}{'peak, MB':>18}{'first loss':>19}{'questions/CPU s':>18}")
    whole = side(options, AS_IT_IS)
    for away in chosen:
        compare(options, whole, away)
    whole.close()


def describe(options: argparse.Namespace) -> None:
    """The data, in a line."""
    from sensorium.backbones import CausalBackbone

    rows = rows_for_them(options, CausalBackbone.pretrained().tokenizer, 0)
    words = [len(row["ids"]) - (SIZE // PATCH) ** 2 for row in rows]
    asked = sum(int((row["labels"] != -100).sum()) for row in rows)
    print(
        f"{options.pictures} pictures, {len(rows)} questions a step; text tokens a question: mean "
        f"{statistics.mean(words):.0f}, {min(words)} to {max(words)}; supervised: {asked}; {options.encoder} encoder, "
        f"{options.precision}, {options.threads} threads, {options.rounds} rounds",
        flush=True,
    )


if __name__ == "__main__":
    main()
