"""`ZeroShotClassifier`: labels that nobody trained, told apart by their words alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sensorium.evaluation.zero_shot import class_vectors


class ZeroShotClassifier:
    """Vectors of media -> the label whose words lie nearest (Radford et al. 2021, CLIP, §3.1).

        labels × templates ──► texts ──► embed ──► unit vectors ──► mean per label ──► unit vectors ──┐
        media vectors ────────────────────────────────────────────────────────────────────────────────┴► cos

    embed:     texts -> float[N, D]; a `JointEmbedding` through its encoder, or anything else
    labels:    names, each once
    templates: prompts with one `{}` for the label; the vector of a label is the mean of its prompts' unit
               vectors, made unit length again (§3.1.4)

    labels, vectors: tuple of C names and unit float32[C, D]
    Raises ValueError for no or repeated labels and for templates without `{}`.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], np.ndarray],
        labels: Sequence[str],
        templates: Sequence[str] = ("{}",),
    ) -> None:
        if isinstance(labels, str) or isinstance(templates, str):
            raise ValueError("labels and templates are lists of texts: got one text, give ['…']")
        repeated = sorted({label for label in labels if list(labels).count(label) > 1})
        if repeated or not labels:
            raise ValueError(
                f"labels: got {len(labels)}, of them repeated {repeated}; give each once, at least one"
            )
        wrong = [template for template in templates if template.count("{}") != 1]
        if wrong or not templates:
            raise ValueError(f"templates: got {wrong or 'none'}; each needs one {{}} for the label")
        self.labels = tuple(labels)
        prompts = [template.replace("{}", label) for label in labels for template in templates]
        vectors = np.asarray(embed(prompts)).reshape(len(labels), len(templates), -1)
        self.vectors = class_vectors(vectors)

    def similarities(self, media: np.ndarray) -> np.ndarray:
        """float[N, D] of any length -> cosines float32[N, C]."""
        lengths = np.linalg.norm(media, axis=1, keepdims=True)
        return ((media / np.maximum(lengths, 1e-12)) @ self.vectors.T).astype(np.float32)

    def probabilities(self, media: np.ndarray, scale: float) -> np.ndarray:
        """Softmax of scale · cosine: float32[N, C], rows of sum 1. scale: the model's logit scale."""
        logits = scale * self.similarities(media).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    def __call__(self, media: np.ndarray) -> list[str]:
        """float[N, D] -> the nearest label of each."""
        return [self.labels[place] for place in self.similarities(media).argmax(axis=1)]
