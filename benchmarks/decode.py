"""Decoding: ours against `generate` of `transformers` in the same precision, and against llama.cpp.

    python benchmarks/decode.py [fp32] [bf16] [int8] [int4] [--rounds 5] [--tokens 48] [--prompt 64] [--threads 2]

SmolLM2-135M, one row, greedy, so many tokens whatever they are. All sides are in one process and take turns; each
turn reads the prompt and writes, and gives the time to the first token and the tokens a second after it. Printed are
medians, and medians of the ratios of the pairs: ours to `transformers`' at the same precision (8 and 4 bits: at
bfloat16), and to llama.cpp (the `xllamacpp` wheel, where it is installed) on the Q4_1 file that the weights came from.
Beside them stands how far the logits are from those of float32, over a text that float32 wrote.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from sensorium import speed

speed.apply()

import torch  # noqa: E402
from transformers.generation.streamers import BaseStreamer  # noqa: E402

from sensorium import weights  # noqa: E402
from sensorium.backbones import CausalBackbone  # noqa: E402
from sensorium.backbones.fast_llama import FastLlama  # noqa: E402
from sensorium.backbones.smollm2 import SMOLLM2  # noqa: E402
from sensorium.models.decoding import Decoding, stream  # noqa: E402

PRECISIONS = ("fp32", "bf16", "int8", "int4")
TEXT = "Write a long story about a fox who keeps a lighthouse, and about the ships that pass it by night. "

Turn = Callable[[], tuple[float, float]]  # seconds to the first token, tokens a second after it


class Clock(BaseStreamer):
    """Notes when each token arrives; `generate` puts the prompt first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: Any) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass


def rates(started: float, times: list[float]) -> tuple[float, float]:
    return times[0] - started, (len(times) - 1) / (times[-1] - times[0])


class EveryToken:
    """A tokenizer that writes a letter for every token and never ends, so that each is seen when it comes."""

    eos_token_id = None

    def decode(self, ids: list[int], **options: Any) -> str:
        return "x" * len(ids)


def ours(engine: FastLlama, ids: torch.Tensor, tokens: int) -> Turn:
    engine.tokenizer = EveryToken()
    engine.lm.generation_config.eos_token_id = None

    def turn() -> tuple[float, float]:
        started = time.perf_counter()
        pieces = stream(engine, engine.embed(ids), Decoding(max_tokens=tokens))
        return rates(started, [time.perf_counter() for _ in pieces])

    return turn


def theirs(lm: Any, ids: torch.Tensor, tokens: int) -> Turn:
    def turn() -> tuple[float, float]:
        clock, started = Clock(), time.perf_counter()
        lm.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            streamer=clock,
        )
        return rates(started, clock.times[1:])

    return turn


def llama_cpp(prompt: list[int], tokens: int, threads: int) -> Turn | None:
    try:
        import xllamacpp
    except ImportError:
        return None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(weights.resolve(SMOLLM2).glob("*.gguf")))
    params.n_ctx, params.n_parallel, params.warmup = 1024, 1, True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    request = {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }

    def turn() -> tuple[float, float]:
        timings = server.handle_completions(request)["timings"]
        return timings["prompt_ms"] / 1000, timings["predicted_per_second"]

    return turn


@torch.no_grad()
def agreement(backbone: CausalBackbone, engine: FastLlama, ids: torch.Tensor, length: int = 48) -> str:
    """Teacher-forced over what float32 writes, a token at a time."""
    text = backbone.lm.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=length,
        max_new_tokens=length,
        do_sample=False,
    )
    exact = backbone.logits(backbone(backbone.embed(text)))[0, ids.shape[1] - 1 : -1].float()
    cache = engine.new_cache()
    hidden = [engine(engine.embed(ids), cache=cache)[:, -1:]]
    hidden += [
        engine(engine.embed(text[:, n : n + 1]), cache=cache) for n in range(ids.shape[1], text.shape[1] - 1)
    ]
    got = engine.logits(torch.cat(hidden, 1))[0].float()
    same = (got.argmax(-1) == exact.argmax(-1)).float().mean()
    off = torch.nn.functional.kl_div(
        got.log_softmax(-1), exact.log_softmax(-1), log_target=True, reduction="none"
    )
    return (
        f"largest difference {(got - exact).abs().max():.4f}, same first choice {same:.0%}, "
        f"KL {off.sum(-1).mean():.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("precisions", nargs="*", default=PRECISIONS, help=f"of {', '.join(PRECISIONS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--prompt", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if unknown := set(options.precisions) - set(PRECISIONS):
        parser.error(f"unknown {', '.join(unknown)}; there are {', '.join(PRECISIONS)}")
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)

    backbone = CausalBackbone.pretrained().eval()
    backbone.lm.generation_config.eos_token_id = None
    words = backbone.tokenizer(TEXT * 40)["input_ids"][: options.prompt]
    ids = torch.tensor([words])
    print(
        f"load {os.getloadavg()[0]:.1f}, {options.threads} threads, {options.rounds} rounds, prompt {len(words)}"
    )
    sides: dict[str, Turn] = {}
    for precision in options.precisions:
        engine = FastLlama(backbone, precision)
        print(f"{precision}: {agreement(backbone, engine, ids)}", flush=True)
        sides[f"ours {precision}"] = ours(engine, ids, options.tokens)
    sides["transformers fp32"] = theirs(backbone.lm, ids, options.tokens)
    sides["transformers bf16"] = theirs(copy.deepcopy(backbone.lm).bfloat16(), ids, options.tokens)
    if (native := llama_cpp(words, options.tokens, options.threads)) is not None:
        sides["llama.cpp Q4_1"] = native

    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number in range(options.rounds + 1):
        for name, turn in sides.items():
            measured = turn()
            if number:  # the first round warms up
                taken[name].append(measured)
    print(f"{'':20}{'first token':>12}{'tokens/s':>10}   ratio of tokens/s, of time to the first token")
    for name, turns in taken.items():
        first, rate = (statistics.median(turn[part] for turn in turns) for part in (0, 1))
        precision = name.removeprefix("ours ")
        others = []
        if precision in PRECISIONS:
            others.append("transformers fp32" if precision == "fp32" else "transformers bf16")
            others += ["llama.cpp Q4_1"] if "llama.cpp Q4_1" in taken else []
        ratios = [
            f"{statistics.median(a[1] / b[1] for a, b in zip(turns, taken[other])):.2f}, "
            f"{statistics.median(a[0] / b[0] for a, b in zip(turns, taken[other])):.2f} of {other}"
            for other in others
        ]
        print(f"{name:20}{first * 1000:9.0f} ms{rate:10.1f}   {'; '.join(ratios)}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
