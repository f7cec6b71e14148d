"""What CapFilt mends: planted wrong captions found, and a model trained on noisy, on cleaned and on right captions.

    python benchmarks/capfilt.py runs/capfilt [--things 150] [--steps 280] [--tune 50] [--share 0.3]

"Clean" are drawings by one artist with their names. "Web" are the same things by three other artists, of which a share
got the name of another thing. As in the paper (§3.3): a BLIP learns from both (noisy), is tuned on the clean alone, and
captions and filters the web; then one learns from the cleaned web and the clean (cleaned), one, for the ceiling, from
the web without its wrong captions (right), all with the same steps. Scores are of retrieval and of captions of the
drawings by an artist whom none has seen, with 95 % intervals; what the cleaned set is worth is the difference on these
drawings. A step that is done is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.cli.filtering import filter_source
from sensorium.data import bundled
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.sample import Sample
from sensorium.evaluation.generated import Measured, margin
from sensorium.evaluation.retrieval import Right, ranks_of_scores
from sensorium.recipes.blip import blip
from sensorium.recipes.blip_tests import Tested, all_scores, looked_again, see
from sensorium.training.loop import fit
from sensorium.weights import cache_folder

CLEAN = bundled.TRAIN_ARTISTS[0]
WEB = bundled.TRAIN_ARTISTS[1:]
TABLE = ("text_to_image.R@1", "image_to_text.R@1", "reranked.text_to_image.R@1", "written.exact")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--things", type=int, default=150)
    parser.add_argument("--steps", type=int, default=280)
    parser.add_argument("--tune", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-right", action="store_true", help="leave out the ceiling")
    asked = parser.parse_args()
    folder: Path = asked.folder
    things = chosen(asked.things)
    clean, web, cleaned = folder / "clean", folder / "web", folder / "cleaned"
    if not (folder / "right").exists():
        write(clean, records([CLEAN], things))
        plant(records(WEB, things), asked.share, asked.seed, web, folder / "right")

    found: dict[str, dict[str, np.ndarray]] = {}

    def trained(name: str, steps: int, sources: Sequence[Path], start: Path | None = None) -> None:
        """One run, trained where that was not done before, and its scores."""
        run = blip(
            tuple(sources),
            folder / f"model_{name}",
            start=start,
            steps=steps,
            batch_size=asked.batch,
            lr=asked.lr if start is None else asked.lr / 4,
            held_out=0.0,
            seed=asked.seed,
            progress=False,
        )
        test = records([bundled.UNSEEN_ARTIST], things)
        store = FeatureCache(cache_folder() / "features")
        cached = {
            "image": store.of_samples(
                run.model.vision, test, "image", "tokens", dtype="float16", progress=False
            )
        }  # type: ignore[arg-type]
        tested = Tested(test, cached, [str(sample.columns["text"]) for sample in run.collate.samples])  # type: ignore[attr-defined]
        done = fit(replace(run, evaluate=lambda model: all_scores(model, tested)))  # type: ignore[arg-type]
        scores, found[name] = done.scores, first_ones(done.model.eval(), tested)
        for key in TABLE:
            score = scores[key]
            blind = score.get("blind", score.get("blind_shuffled"))
            value, low, high = (100 * score[part] for part in ("value", "low", "high"))
            print(
                f"{name:8s} {key:28s} {value:5.1f} ({low:.1f} … {high:.1f})  blind {100 * blind:.1f}",
                flush=True,
            )

    trained("noisy", asked.steps, (web / "pairs.csv", clean / "pairs.csv"))
    trained("tuned", asked.tune, (clean / "pairs.csv",), folder / "model_noisy")
    if not (cleaned / "pairs.jsonl").exists():
        filter_source(
            web / "pairs.csv", folder / "model_tuned", cleaned, 0.5, 0.9, "wrong", limit=None, seed=asked.seed
        )
    print(json.dumps(json.loads((cleaned / "report.json").read_text()), indent=1), flush=True)
    trained("cleaned", asked.steps, (cleaned / "pairs.jsonl", clean / "pairs.csv"))
    if not asked.without_right:
        trained("right", asked.steps, (folder / "right" / "pairs.csv", clean / "pairs.csv"))
    for better in ("cleaned", "right"):
        for way, right in found.get(better, {}).items():
            gain = margin(Measured(right), [Measured(found["noisy"][way])])
            value, low, high = (100 * part for part in (gain.value, gain.low, gain.high))
            print(
                f"{better} over noisy, {way} R@1: {value:+.1f} ({low:.1f} … {high:.1f}), {len(right)} queries"
            )


@torch.no_grad()
def first_ones(model: Any, tested: Tested) -> dict[str, np.ndarray]:
    """{way: float[queries]}: 1 where what stands first is right, by the vectors, and by the matching of a few."""
    seen = see(model, tested)
    captions = list({str(s.columns["text"]): s for s in reversed(seen.samples)}.values())[::-1]
    words = model.words([str(sample.columns["text"]) for sample in captions])
    cosines = (seen.vectors @ model.embed_text(words).T).numpy()
    pictures, texts = ([sample.meanings for sample in some] for some in (seen.samples, captions))
    made = {
        "text to image": (cosines.T, Right.between(texts, pictures)),
        "image to text": (cosines, Right.between(pictures, texts)),
        "image to text, looked at again": (
            looked_again(model, cosines, words, seen.tokens, by_image=True),
            Right.between(pictures, texts),
        ),
    }
    return {way: ranks_of_scores(scores, right).hit(1).astype(float) for way, (scores, right) in made.items()}


def chosen(count: int) -> set[str]:
    """So many things, evenly over the list."""
    every = [sample.fields["thing"] for sample in bundled.emoji("train", [CLEAN])]
    return set(every[:: max(1, len(every) // count)][:count])


def records(artists: Sequence[str], things: set[str]) -> list[Sample]:
    return [sample for sample in bundled.emoji("train", artists) if sample.fields["thing"] in things]


def plant(samples: list[Sample], share: float, seed: int, web: Path, right: Path) -> None:
    """Write the records, a share of whose captions went round among them; and those that kept theirs apart."""
    draw = random.Random(seed)
    rows = draw.sample(range(len(samples)), round(share * len(samples)))
    texts = [str(sample.columns["text"]) for sample in samples]
    while any(texts[a] == texts[b] for a, b in zip(rows, rows[1:] + rows[:1])):
        draw.shuffle(rows)
    swapped = {a: texts[b] for a, b in zip(rows, rows[1:] + rows[:1])}
    write(web, samples, swapped)
    write(right, [sample for row, sample in enumerate(samples) if row not in swapped])


def write(folder: Path, samples: Sequence[Sample], swapped: dict[int, str] | None = None) -> None:
    folder.mkdir(parents=True)
    with open(folder / "pairs.csv", "w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "text", "wrong", "own"])
        for row, sample in enumerate(samples):
            picture: Any = sample.columns["image"]
            (folder / f"{row}.webp").write_bytes(picture.read())
            own = str(sample.columns["text"])
            text = (swapped or {}).get(row, own)
            lines.writerow([f"{row}.webp", text, int(row in (swapped or {})), own])


if __name__ == "__main__":
    main()
