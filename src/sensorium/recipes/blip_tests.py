"""What a BLIP is measured by: retrieval by its vectors, retrieval looked at again by its matching, and its captions.

EncoderDecoder + records -> {"text_to_image.R@1": Score, "reranked.…": Score, "written.exact": GeneratedScore}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.data.batch import Collator
from sensorium.data.bundled import normalised
from sensorium.data.feature_cache import CachedFeatures
from sensorium.data.sample import Sample
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, score_of
from sensorium.evaluation.retrieval import Embedded, Right, between, ranks_of_scores
from sensorium.evaluation.scores import Score, interval
from sensorium.models.encoder_decoder import EncoderDecoder, Words

ROWS = 64  # pictures seen at a time
PAIRS = 256  # pairs matched at a time
CANDIDATES = 8  # of each query, looked at again by the matching (the paper takes 128 and 256, §5.1)
SHUFFLES = 5
WRITTEN = 20  # tokens of a caption at most


@dataclass(frozen=True)
class Tested:
    """samples: with picture and text; cached: the pictures' features, {} to decode; known: captions trained on."""

    samples: Sequence[Sample]
    cached: Mapping[str, CachedFeatures]
    known: Sequence[str]


@dataclass(frozen=True)
class Seen:
    """All pictures of a test: tokens float[N, T, W], vectors float[N, D], and the records that have them."""

    tokens: Tensor
    vectors: Tensor
    samples: list[Sample]


def all_scores(model: EncoderDecoder, tested: Tested) -> dict[str, Score | GeneratedScore]:
    """Everything that a BLIP is measured by, each beside its blind baseline."""
    with torch.no_grad():
        seen = see(model, tested)
        captions = list({str(s.columns["text"]): s for s in reversed(seen.samples)}.values())[::-1]
        texts = [str(sample.columns["text"]) for sample in captions]
        words = model.words(texts)
        vectors = torch.cat([model.embed_text(part) for part in _parts(words, PAIRS)])
        images = Embedded(seen.vectors.numpy(), [s.meanings for s in seen.samples])
        named = Embedded(vectors.numpy(), [s.meanings for s in captions])
        found: dict[str, Score | GeneratedScore] = {}
        found |= between({"text": named, "image": images})
        cosines = (seen.vectors @ vectors.T).numpy()
        rights = (
            Right.between(images.meanings, named.meanings),
            Right.between(named.meanings, images.meanings),
        )
        again = {
            "image_to_text": (looked_again(model, cosines, words, seen.tokens, by_image=True), rights[0]),
            "text_to_image": (looked_again(model, cosines.T, words, seen.tokens, by_image=False), rights[1]),
        }
        for way, (scores, right) in again.items():
            found |= {f"reranked.{way}.R@{k}": _recall(scores, right, k) for k in (1, 5, 10)}
        found["written.exact"] = written(model, seen, tested.known)
    return found


def see(model: EncoderDecoder, tested: Tested) -> Seen:
    """Every picture of the test once."""
    image = model.image_column
    collate = Collator(
        {image: model.vision}, cached={image: tested.cached["image"]} if tested.cached else None
    )
    tokens, vectors, having = [], [], []
    for start in range(0, len(tested.samples), ROWS):
        some = tested.samples[start : start + ROWS]
        column = collate(some).columns[image]
        if column.present.any():
            seen, pooled = model.see(column.inputs)
            tokens.append(seen)
            vectors.append(model.embed_image(pooled))
            having += [sample for sample, here in zip(some, column.present.tolist()) if here]
    return Seen(torch.cat(tokens), torch.cat(vectors), having)


def matched(model: EncoderDecoder, words: Words, tokens: Tensor) -> Tensor:
    """Texts, and a picture's tokens each, float[B, T, W] -> float[B]: the probability that they belong together."""
    marked = model.marked(words, "encode")
    parts = [
        model.match(part, tokens[start : start + PAIRS]).float().softmax(1)[:, 1]
        for start, part in zip(range(0, len(tokens), PAIRS), _parts(marked, PAIRS))
    ]
    return torch.cat(parts) if parts else torch.zeros(0)


def looked_again(
    model: EncoderDecoder, cosines: np.ndarray, words: Words, tokens: Tensor, by_image: bool
) -> np.ndarray:
    """float[Q, G] cosines -> scores whose best `CANDIDATES` are ordered by the matching, before all others.

    by_image: queries are pictures and the gallery texts; else the other way round. As in the paper, the cosine is
    added to the matching.
    """
    scores = cosines.copy()
    k = min(CANDIDATES, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    queries, gallery = np.repeat(np.arange(len(scores)), k), best.reshape(-1)
    text, image = (gallery, queries) if by_image else (queries, gallery)
    for start in range(0, len(queries), PAIRS):
        rows = slice(start, start + PAIRS)
        some = _cut(words[torch.from_numpy(text[rows])])
        yes = matched(model, some, tokens[torch.from_numpy(image[rows])]).numpy()
        scores[queries[rows], gallery[rows]] += 2 + yes  # cosines are at most 1 and at least −1
    return scores


def written(model: EncoderDecoder, seen: Seen, known: Sequence[str]) -> GeneratedScore:
    """Share of the pictures whose written caption is their own, beside other pictures' and the commonest one."""
    own = [normalised(str(sample.columns["text"])) for sample in seen.samples]
    said = [normalised(text) for text in captions_of(model, seen.tokens)]
    others = [said[1:] + said[:1]]
    commonest = Counter(map(normalised, known)).most_common(1)[0][0]
    right = _equal(said, own)
    blind = Baselines(
        blind_shuffled=[_equal(other, own) for other in others], majority=_equal([commonest] * len(own), own)
    )
    return score_of(right, blind)


def captions_of(
    model: EncoderDecoder, tokens: Tensor, top_p: float | None = None, most: int = WRITTEN
) -> list[str]:
    """float[N, T, W] -> N captions: the likeliest words, or drawn (see `EncoderDecoder.write`)."""
    said: list[str] = []
    for start in range(0, len(tokens), PAIRS):
        ids = model.write(tokens[start : start + PAIRS], most=most, top_p=top_p)
        said += model.text.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [text.strip() for text in said]


def _recall(scores: np.ndarray, right: Right, k: int) -> Score:
    kept = np.flatnonzero(right.counts)
    scores, right = scores[kept], right.take(kept)
    hits = ranks_of_scores(scores, right).hit(k)
    random = np.random.default_rng(0)
    orders = [random.permutation(len(scores)) for _ in range(SHUFFLES)]
    blind = float(np.mean([ranks_of_scores(scores[order], right).hit(k).mean() for order in orders]))
    chance = float(ranks_of_scores(np.zeros_like(scores), right).hit(k).mean())
    return Score(float(hits.mean()), *interval(hits), blind, len(hits), chance)


def _parts(words: Words, size: int) -> list[Words]:
    return [
        _cut(Words(words.ids[start : start + size], words.mask[start : start + size]))
        for start in range(0, len(words.ids), size)
    ]


def _cut(words: Words) -> Words:
    """Without the padding that all of these texts share."""
    longest = int(words.mask.sum(1).max())
    return Words(words.ids[:, :longest], words.mask[:, :longest])


def _equal(said: Sequence[str], own: Sequence[str]) -> Any:
    return Measured(np.array([a == b for a, b in zip(said, own, strict=True)], float))
