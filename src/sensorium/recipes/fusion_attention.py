"""Where a fusion by attention looked: maps for a report, and how much of them lies on what was asked for.

FusionNetwork, rows -> PictureAttention, SoundAttention; test batches with boxes -> shares inside of them
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from sensorium.data.batch import Collator
from sensorium.data.sample import Batch, Sample
from sensorium.encoders.audio import WhisperEncoder
from sensorium.encoders.text import TransformersTextEncoder
from sensorium.media import Audio, Video
from sensorium.recipes.fusion_media import decoded, tiled
from sensorium.tasks import Task
from sensorium.viewing.attention_maps import PictureAttention, SoundAttention, Word, by_word, words_of

MAPS = 3  # rows drawn
WORDS = 4  # of a text: with the picture and the whole, one line of the page
SHORTEST = 3  # letters of a word that is drawn
TOKEN_SECONDS = 0.02  # of WhisperEncoder
ARROW = "→"


@contextmanager
def kept_attention(model: Any) -> Iterator[None]:
    """Within, the fusion also returns its maps."""
    before, model.fusion.keep_attention = model.fusion.keep_attention, True
    try:
        yield
    finally:
        model.fusion.keep_attention = before


def attention_maps(
    model: Any, collate: Collator, rows: Sequence[int]
) -> list[PictureAttention | SoundAttention]:
    """For some rows, each picture, clip and sound with where the network and single words of a text looked."""
    assert collate.samples is not None
    whole = [row for row in rows if set(model.columns) <= set(collate.samples[row].columns)][:MAPS]
    if not whole:
        return []
    with kept_attention(model), torch.no_grad():
        output = model(collate(whole))
    drawn = []
    for place, row in enumerate(whole):
        sample = collate.samples[row]
        looks = [
            (name.split(ARROW), map_[place].float().numpy()) for name, map_ in output.fused.attention.items()
        ]
        looks.sort(key=lambda look: look[0][0] != "fused")  # the whole before single words
        masks = {column: output.columns[column].mask[place].numpy() for column in model.columns}
        for column in model.columns:
            maps = {
                label: map_
                for (source, target), map_ in looks
                if target == column
                for label, map_ in _named(model, sample, source, map_[:, masks[column]]).items()
            }
            if maps and (one := _figure(model.by_column[column], sample, column, maps)) is not None:
                drawn.append(one)
    return drawn


def _named(model: Any, sample: Sample, source: str, map_: np.ndarray) -> dict[str, np.ndarray]:
    """float[S, T] of what looked -> by name float[T]: the whole, or the words of a text."""
    if source == "fused":
        return {"the whole": map_[0]}
    tower = model.by_column.get(source)
    text = sample.columns.get(source)
    if not (isinstance(tower, TransformersTextEncoder) and isinstance(text, str)):
        return {}
    return by_word(map_, chosen(words_of(tower.tokenizer, text, tower.limit)))


def chosen(words: Sequence[Word]) -> list[Word]:
    """Of a text's words so many of the longest, in their order; special tokens and marks are left out."""
    real = [word for word in words if word.text.isalnum() and len(word.text) >= SHORTEST]
    longest = sorted(real, key=lambda word: -len(word.text))[:WORDS]
    return [word for word in real if any(word is one for one in longest)]


def _figure(
    tower: Any, sample: Sample, column: str, maps: Mapping[str, np.ndarray]
) -> PictureAttention | SoundAttention | None:
    media = decoded(sample, column)
    texts = [text for text in sample.columns.values() if isinstance(text, str)]
    title = f"{column}: {texts[0][:90]}" if texts else column
    if isinstance(media, Audio):
        seconds = TOKEN_SECONDS if isinstance(tower, WhisperEncoder) else None
        return SoundAttention(title, media, maps, token_seconds=seconds)
    if isinstance(media, Video):
        frames = [np.asarray(frame) for frame in media.frames]
        if any(np.size(map_) != len(frames) for map_ in maps.values()):
            return None
        across = math.ceil(math.sqrt(len(frames)))
        cells = across * -(-len(frames) // across)
        grids = {
            name: np.pad(map_, (0, cells - len(frames))).reshape(-1, across) for name, map_ in maps.items()
        }
        note = "Frame by frame, in the order of a text."
        return PictureAttention(title, tiled(frames, across), grids, note, letterbox=False)
    if not isinstance(media, np.ndarray) or media.ndim != 3:
        return None
    side = round(len(next(iter(maps.values()))) ** 0.5)
    if any(np.size(map_) != side**2 for map_ in maps.values()):
        return None
    return PictureAttention(title, media, maps)


def looked_at(model: Any, batches: Sequence[Batch], task: Task) -> dict[str, str]:
    """Of a task of boxes and a fusion with maps over square pictures: what share of attention lies in the right box.

    Beside it, the share of the picture that the box covers: what attention without a direction would give.
    """
    if not model.fusion.reads_tokens:
        return {}
    inside: dict[str, list[float]] = {}
    areas: list[float] = []
    for batch in batches:
        with kept_attention(model), torch.no_grad():
            output = model(batch)
        boxes = batch.fields[task.field]
        for name, map_ in output.fused.attention.items():
            source, target = name.split(ARROW)
            tower = model.by_column.get(target)
            if tower is None or tower.modality != "image" or source not in ("fused", *model.columns):
                continue
            for row, box in enumerate(boxes):
                mask = output.columns[target].mask[row]
                if box is not None and mask.any():
                    weights = map_[row][:, mask].double().numpy()
                    if source != "fused":
                        weights = weights[output.columns[source].mask[row].numpy()]
                    share = share_inside(weights.mean(0), box) if len(weights) else None
                    if share is not None:
                        inside.setdefault(name, []).append(share)
        areas += [float(box[2] * box[3]) for box in boxes if box is not None]
    return {
        f"attention {name} in the right box": (
            f"{100 * float(np.mean(shares)):.1f} % (the box covers {100 * float(np.mean(areas)):.1f} %)"
        )
        for name, shares in inside.items()
    }


def share_inside(weights: np.ndarray, box: Sequence[float]) -> float | None:
    """Of float[h·h] over a square picture, the share inside (cx, cy, w, h); None where nothing was looked at.

    A cell that the box cuts counts by the share of it that lies inside.
    """
    side = round(len(weights) ** 0.5)
    if side**2 != len(weights) or weights.sum() <= 0:
        return None
    edges = np.arange(side + 1) / side
    cover = []
    for centre, length in ((box[1], box[3]), (box[0], box[2])):  # rows, then columns
        low = np.maximum(edges[:-1], centre - length / 2)
        high = np.minimum(edges[1:], centre + length / 2)
        cover.append(np.maximum(high - low, 0) * side)
    grid = np.outer(*cover)
    return float((weights.reshape(side, side) * grid).sum() / weights.sum())
