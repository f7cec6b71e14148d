"""BLIP-2's first stage: queries learn from captions what of a picture can be said, before any language model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.data import bundled
from sensorium.data.batch import Collator
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.sample import Sample
from sensorium.evaluation.blind import deranged
from sensorium.evaluation.generated import Baselines, Measured, score_of
from sensorium.evaluation.scores import Score, prefixed
from sensorium.evaluation.similarity import matrix_scores
from sensorium.features import Features
from sensorium.models.image_text_qformer import ImageTextQFormer
from sensorium.objectives.qformer_stage1 import NO_TARGET, QFormerStage1, following
from sensorium.recipes.llava import split
from sensorium.systems.blip2_stage1 import STAGE_1
from sensorium.systems.smol_blip2_stage1 import pieces, smol_blip2_stage1
from sensorium.training.run import Run
from sensorium.weights import cache_folder

BATCH = 64  # pictures or texts at a time in tests
CANDIDATES = 8  # texts that are judged again, of those nearest to a picture
JUDGED = 200  # pictures whose candidates are judged, and whose captions are written


def blip2_stage1(
    folder: Path = Path("runs/blip2_stage1"),
    queries: int = 8,
    layers: int = 4,
    width: int = 128,
    size: int = 160,
    steps: int = 600,
    batch_size: int = 64,
    lr: float = 1e-3,
    held_out: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """A Q-Former from random weights: tells pictures from captions, judges pairs, and writes captions.

    Its pictures and captions are those of `blip2` (stage 2), less the same held-out things under the same seed, so that
    stage 2's test is of things that neither stage saw.

    Paper: Li et al. 2023, arXiv:2301.12597, section 3.1
    Command: sensorium train blip2_stage1
             sensorium train blip2 --stage-1 runs/blip2_stage1
    Hardware and time: 1 CPU core, about ten minutes; the encoder's features are computed once, in 40 seconds.
    Expected: on 1,254 drawings by an unseen artist text to image R@10 40.7 % (38.3 to 43.3; blind 0.9, untrained 0.8),
    image to text 39.7 %, the next word of a caption 48.2 % (46.0 to 50.2; with another's picture 40.0). The matching
    is not learned in that time. See docs/pretraining.md.

    Args:
        folder: Where the run is written.
        queries: Tokens a picture; stage 2 takes over this and the next three.
        layers: Of the Q-Former.
        width: Of the Q-Former.
        size: Side of the pictures in pixels.
        steps: Optimiser steps.
        batch_size: Pairs that are told apart at once.
        lr: Peak learning rate.
        held_out: Share of the things, in every drawing, that is tested on.
        seed: Of the weights' start, the order and what is held out.
        limit: Use so many pictures of every set, for a quick look.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.
    """
    torch.manual_seed(seed)
    everything = [*bundled.emoji("train", bundled.TRAIN_ARTISTS), *bundled.stamps("train", language=None)]
    kept, unseen = split(_spread(everything, limit), held_out, seed)
    args: dict[str, Any] = {
        "vocabulary": pieces(str(sample.columns["text"]) for sample in kept),
        "size": size,
        "queries": queries,
        "layers": layers,
        "width": width,
    }
    model = smol_blip2_stage1(**args)
    secret = {sample.meanings[-1] for sample in unseen}
    drawn = bundled.emoji("train", [bundled.UNSEEN_ARTIST])
    tests = {
        "unseen_artist": _spread([sample for sample in drawn if sample.meanings[-1] not in secret], limit),
        "unseen_things": unseen,
    }
    features = FeatureCache(cache or cache_folder() / "features")
    reading = {"what": "tokens", "dtype": "float16", "progress": progress}
    everyone = [*kept, *(sample for samples in tests.values() for sample in samples)]
    found = features.of_samples(model.by_column["image"], everyone, "image", **reading)  # type: ignore[arg-type]
    untrained = prefixed("untrained", retrieval(model.eval(), tests["unseen_artist"], found))
    model.train()

    def evaluate(trained: torch.nn.Module) -> dict[str, Any]:
        assert isinstance(trained, ImageTextQFormer)
        scores: dict[str, Any] = {}
        for name, samples in tests.items():
            scores |= prefixed(name, retrieval(trained, samples, found))
            some = _spread(samples, JUDGED)
            scores |= prefixed(f"{name}.judged", judged(trained, some, samples, found))
            scores[f"{name}.next_word"] = next_word(trained, some, found)
        return scores | prefixed("unseen_artist", untrained)

    return Run(
        name="blip2_stage1",
        folder=folder,
        system="smol_blip2_stage1",
        system_args=args,
        model=model,
        data=range(len(kept)),
        collate=Collator(model.by_column, cached={"image": found}, samples=kept),
        objectives=[QFormerStage1()],
        freeze=STAGE_1,
        batch_size=min(batch_size, len(kept)),
        steps=steps,
        lr=lr,
        weight_decay=0.05,
        warmup=0.1,
        seed=seed,
        save_every=50,
        evaluate=evaluate,
        data_card=f"{len(kept)} pictures of datasets/emoji (four artists) and datasets/stamps (GPL-2) with English "
        f"captions; {len(unseen)} of unseen things and {len(tests['unseen_artist'])} by an unseen artist held out",
        progress=progress,
    )


def retrieval(model: ImageTextQFormer, samples: Sequence[Sample], found: CachedFeatures) -> dict[str, Score]:
    """Both ways between pictures and their captions by the contrast; a caption stands once a meaning."""
    captioned = _one_a_caption(samples)
    similarity = _similarity(model, samples, captioned, found)
    pictures, texts = ([s.meanings for s in some] for some in (samples, captioned))
    scores = prefixed("image_to_text", matrix_scores(similarity, pictures, texts, _things(samples)))
    return scores | prefixed(
        "text_to_image", matrix_scores(similarity.T, texts, pictures, _things(captioned))
    )


def judged(
    model: ImageTextQFormer, some: Sequence[Sample], samples: Sequence[Sample], found: CachedFeatures
) -> dict[str, Score]:
    """Image to text R@1 of some pictures: by contrast alone, and with the nearest captions judged by the matching.

    As the authors rank: what the contrast finds nearest is ordered by both together (section 4.4).
    """
    captioned = _one_a_caption(samples)
    similarity = _similarity(model, some, captioned, found)
    ids, words = model.read([str(sample.columns["text"]) for sample in captioned])
    k = min(CANDIDATES, len(captioned))
    nearest = torch.from_numpy(similarity).topk(k, dim=1).indices
    scale = float(model.log_scale.detach().exp())
    both = similarity * scale
    with torch.no_grad():
        for start in range(0, len(some), BATCH // k):
            rows = range(start, min(start + BATCH // k, len(some)))
            texts = nearest[list(rows)].flatten()
            of = torch.arange(len(rows)).repeat_interleave(k)
            answers = model.match(_media(found, [some[row] for row in rows]), ids[texts], words[texts], of)
            yes = (answers[:, 1] - answers[:, 0]).view(len(rows), k).float().numpy()
            for place, row in enumerate(rows):
                both[row, nearest[row].numpy()] += yes[place] + 1000.0  # candidates stay before the others
    pictures, texts_meant = ([s.meanings for s in part] for part in (some, captioned))
    groups = _things(some)
    return {
        "by_contrast": matrix_scores(similarity, pictures, texts_meant, groups, ks=(1,))["R@1"],
        "by_both": matrix_scores(both, pictures, texts_meant, groups, ks=(1,))["R@1"],
    }


@torch.no_grad()
def next_word(model: ImageTextQFormer, samples: Sequence[Sample], found: CachedFeatures) -> Any:
    """Share of a caption's words that are the likeliest next ones, given the picture and the words before.

    Beside the same with the pictures withheld, and with those of other things.
    """
    keys = _things(samples)
    others = [samples[row] for row in deranged(keys)]

    def shares(pictures: Sequence[Sample], withheld: bool = False) -> np.ndarray:
        values: list[float] = []
        for start in range(0, len(samples), BATCH):
            media = _media(found, pictures[start : start + BATCH])
            if withheld:
                media = Features(media.tokens, torch.zeros_like(media.mask), media.pooled)
            ids, words = model.read([str(s.columns["text"]) for s in samples[start : start + BATCH]])
            begun = torch.cat([torch.full_like(ids[:, :1], model.start), ids[:, 1:]], 1)
            targets = following(ids, words)
            right = (model.next_words(media, begun, words).argmax(-1) == targets).sum(1)
            values += (right / (targets != NO_TARGET).sum(1)).tolist()
        return np.array(values)

    baselines = Baselines(Measured(shares(samples, withheld=True)), [Measured(shares(others))])
    return score_of(Measured(shares(samples)), baselines, groups=keys)


@torch.no_grad()
def _similarity(
    model: ImageTextQFormer, pictures: Sequence[Sample], captioned: Sequence[Sample], found: CachedFeatures
) -> np.ndarray:
    """float32[pictures, texts]"""
    texts = []
    for start in range(0, len(captioned), BATCH):
        ids, words = model.read([str(s.columns["text"]) for s in captioned[start : start + BATCH]])
        texts.append(model.embed_text(ids, words))
    text = torch.cat(texts)
    rows = []
    for start in range(0, len(pictures), BATCH):
        image = model.embed_image(_media(found, pictures[start : start + BATCH]))
        rows.append(model.similarity(image, text))
    return torch.cat(rows).float().numpy()


def _media(found: CachedFeatures, samples: Sequence[Sample]) -> Features:
    return found[[row for sample in samples if (row := found.row(sample.id)) is not None]]


def _one_a_caption(samples: Sequence[Sample]) -> list[Sample]:
    return list({str(sample.columns["text"]): sample for sample in reversed(samples)}.values())[::-1]


def _things(samples: Sequence[Sample]) -> list[str]:
    return [str(sample.meanings[-1]) for sample in samples]


def _spread(samples: Sequence[Sample], count: int | None) -> list[Sample]:
    """So many samples, evenly spread; None: all."""
    if count is None or count >= len(samples):
        return list(samples)
    return [samples[n] for n in np.linspace(0, len(samples) - 1, count).astype(int)]
