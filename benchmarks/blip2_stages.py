"""Whether BLIP-2's first stage helps its second: both, against the second alone, on things that none has seen.

    python benchmarks/blip2_stages.py runs/blip2_stages [--stage-1-steps 600] [--steps 60] [--seed 0]

The second stage is trained twice with the same steps, from the first stage's Q-Former and from a random one. Scored is
the share of a held-out caption's tokens that are the likeliest next ones, beside the same with the picture withheld and
with another's; and, over the same captions, how much more of them the model with both stages says. A stage that is done
is not done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.evaluation.generated import Measured, margin
from sensorium.recipes.blip2 import blip2, reader
from sensorium.recipes.blip2_stage1 import blip2_stage1
from sensorium.recipes.llava import about, conversations, right_tokens, split
from sensorium.training.loop import fit

HELD_OUT, TESTED = 0.1, 400


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stage-1-steps", type=int, default=600)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int)
    asked = parser.parse_args()
    folder: Path = asked.folder
    common = {"held_out": HELD_OUT, "seed": asked.seed, "limit": asked.limit, "progress": False}
    stage_1 = folder / "stage_1"
    fit(blip2_stage1(stage_1, steps=asked.stage_1_steps, **common))
    _, tested = split(conversations(None, asked.limit), HELD_OUT, asked.seed)
    rows = [sample for sample in tested if about(sample) != sample.id][:TESTED]
    messages: list[Any] = [sample.columns["messages"] for sample in rows]
    shares = {}
    for name, start in (("both", stage_1), ("alone", None)):
        run = blip2(folder=folder / name, stage_1=start, size=160, steps=asked.steps, **common)
        trained = fit(run)
        print(json.dumps({name: trained.scores["held_out.tokens"]}), flush=True)
        shares[name] = Measured(np.array(right_tokens(trained.model, reader(trained.model), messages)))  # type: ignore[arg-type]
    gain = margin(shares["both"], [shares["alone"]], [about(sample) for sample in rows])
    print(json.dumps({"gain": [gain.value, gain.low, gain.high], "captions": len(rows)}), flush=True)


if __name__ == "__main__":
    main()
