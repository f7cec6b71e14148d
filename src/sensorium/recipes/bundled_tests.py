"""The published tests of the bundled data: model -> scores, each beside chance and its blind baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sensorium.data import bundled
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.sample import Sample
from sensorium.evaluation.drop_one import drop_one
from sensorium.evaluation.retrieval import Embedded, between
from sensorium.evaluation.scores import Score, prefixed
from sensorium.evaluation.zero_shot import class_vectors, zero_shot_scores
from sensorium.features import Features
from sensorium.models.joint_embedding import JointEmbedding

TEMPLATES = ("{}", "an emoji of {}", "a drawing of {}", "a picture of {}")

# A test's name -> its records. Emoji: all drawings of the test split stand in one gallery.
TESTS: dict[str, Callable[[str | None], list[Sample]]] = {
    "emoji.unseen_artist": lambda _: bundled.emoji("train", [bundled.UNSEEN_ARTIST]),
    "emoji.unseen_things": lambda _: bundled.emoji("unseen_thing", bundled.TRAIN_ARTISTS),
    "emoji.unseen_things_and_artist": lambda _: bundled.emoji("unseen_thing", [bundled.UNSEEN_ARTIST]),
    "stamps.test": lambda language: bundled.stamps("test", language),
    "stamps.test_without_symbols": lambda language: [
        sample for sample in bundled.stamps("test", language) if sample.fields["family"] == "other"
    ],
}


@dataclass(frozen=True)
class TestSet:
    """Records and the cached features of their columns. Words stand once a meaning, however many drawings it has."""

    samples: list[Sample]
    cached: Mapping[str, CachedFeatures]
    classes: tuple[str, ...]  # captions, for zero-shot naming; empty where the set is not scored so
    prompts: CachedFeatures | None  # of all templates of all classes

    def rows(self, column: str) -> list[Sample]:
        having = [sample for sample in self.samples if self.cached[column].row(sample.id) is not None]
        if column != "text":
            return having
        return list({str(sample.columns["text"]): sample for sample in reversed(having)}.values())[::-1]

    def features(self, column: str, samples: list[Sample]) -> Features:
        found = self.cached[column]
        return found[[row for sample in samples if (row := found.row(sample.id)) is not None]]

    def embedded(self, model: JointEmbedding, column: str) -> Embedded:
        samples = self.rows(column)
        with torch.no_grad():
            vectors = model.embed(column, self.features(column, samples)).numpy()
        groups = [sample.fields["thing"] for sample in samples]
        return Embedded(vectors, [sample.meanings for sample in samples], groups)

    def zero_shot(self, model: JointEmbedding, pictures: Embedded) -> dict[str, Score]:
        """Naming the pictures among all captions of the set, each class the mean of its prompts."""
        assert self.prompts is not None
        with torch.no_grad():
            prompts = model.embed("text", self.prompts[:]).numpy()
        number = {caption: place for place, caption in enumerate(self.classes)}
        labels = [number[str(sample.columns["text"])] for sample in self.rows("image")]
        classes = class_vectors(prompts.reshape(len(self.classes), len(TEMPLATES), -1))
        scores = zero_shot_scores(pictures.vectors, classes, labels, groups=pictures.groups)
        return prefixed("zero_shot", scores)


@dataclass(frozen=True)
class BundledTests:
    """All test sets, their features cached, so that scoring a model takes seconds."""

    sets: Mapping[str, TestSet]

    @classmethod
    def prepare(
        cls,
        model: JointEmbedding,
        cache: FeatureCache,
        names: Sequence[str] = tuple(TESTS),
        language: str | None = "fr",
        limit: int | None = None,
        progress: bool = True,
    ) -> BundledTests:
        sets, encoders = {}, model.by_column
        for name in names:
            samples = TESTS[name](language)[:limit]
            columns = [c for c in model.columns if any(c in sample.columns for sample in samples)]
            cached = {c: cache.of_samples(encoders[c], samples, c, progress=progress) for c in columns}
            classes = tuple(dict.fromkeys(str(sample.columns["text"]) for sample in samples))
            prompts = None
            if name.startswith("emoji"):
                texts = [template.format(caption) for caption in classes for template in TEMPLATES]
                prompts = cache.features(encoders["text"], texts, progress=progress)
            sets[name] = TestSet(samples, cached, classes, prompts)
        return cls(sets)

    def scores(self, model: torch.nn.Module) -> dict[str, Score]:
        """`{"emoji.unseen_artist.text_to_image.R@1": Score, …}`."""
        assert isinstance(model, JointEmbedding)
        scores: dict[str, Score] = {}
        for name, test in self.sets.items():
            embedded = {column: test.embedded(model, column) for column in test.cached}
            found = between(embedded)
            if test.prompts is not None:
                found |= test.zero_shot(model, embedded["image"])
            if "audio" in embedded:
                found |= prefixed("text_and_audio_to_image", _fused(test, model))
            scores |= prefixed(name, found)
        return scores


def _fused(test: TestSet, model: JointEmbedding) -> dict[str, Score]:
    """Words and speech together as the query, then without each: what each contributes."""
    query = ("text", "audio")
    samples = [s for s in test.samples if all(test.cached[column].row(s.id) is not None for column in query)]
    with torch.no_grad():
        vectors = {column: model.embed(column, test.features(column, samples)).numpy() for column in query}
    present = {column: np.ones(len(samples), bool) for column in query}
    meanings, things = [s.meanings for s in samples], [s.fields["thing"] for s in samples]
    return drop_one(vectors, present, meanings, test.embedded(model, "image"), groups=things)
