"""What a video encoder knows of motion: directions, retrieval and captions, each beside frames in random order.

clips by an unseen artist -> {"direction.accuracy", "text_to_video.R@1", "caption.direction.accuracy", …}
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.data.sample import Sample
from sensorium.data.scenes import shuffled
from sensorium.evaluation.blind import SHUFFLES, Blind, beside_blind, deranged
from sensorium.evaluation.generated import GeneratedScore
from sensorium.evaluation.probes import Vectors, linear_probe, probes
from sensorium.evaluation.retrieval import Embedded, retrieval_scores
from sensorium.evaluation.scores import Score
from sensorium.media import Video
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.recipes.clip_captions import CaptionSlots, every_sentence
from sensorium.recipes.videoprism_clips import Clips

PROBED_SEED = 1  # a stream of the trained artists' drawings that stage 1 never sees
KEPT = ("R@1", "R@10")


@dataclass(frozen=True)
class VideoTests:
    """size, frames: of the clips; probed: clips that the probe is fitted on; tested: clips by the unseen artist.

    Half of them are the other half backwards. An encoder that does not see the order of frames, such as any picture
    encoder averaged over them (`FrameEncoder`), makes one vector of both and is right about at most one: a half is
    the most that it can reach, whatever its weights.
    """

    size: int = 64
    frames: int = 4
    probed: int = 400
    tested: int = 200

    @cached_property
    def train(self) -> list[Sample]:
        clips = Clips("train", PROBED_SEED, self.size, self.frames)
        return [clip.sample() for clip in clips.both_ways(self.probed)]

    @cached_property
    def test(self) -> list[Sample]:
        clips = Clips("unseen_artist", 0, self.size, self.frames)
        return [clip.sample() for clip in clips.both_ways(self.tested)]

    @property
    def pairs(self) -> list[str]:
        """A name for each tested clip that it shares with itself backwards."""
        return [sample.id.removesuffix("/back") for sample in self.test]

    def scores(self, model: JointEmbedding, untrained: Any = None) -> dict[str, GeneratedScore | Score]:
        """`motion` of the model's video column, `retrieval` and `captions`."""
        made: dict[str, GeneratedScore | Score] = {}
        if untrained is not None or self.probed:
            made |= self.motion(model.encoders["video"], untrained)
        return made | self.retrieval(model) | self.captions(model)

    def motion(self, encoder: Any, untrained: Any = None) -> dict[str, GeneratedScore]:
        """Which of four ways the thing goes, by a linear probe of the pooled vectors.

        direction.accuracy:  beside the majority, and as its blind number the same probe fitted and tested on clips
                             whose frames stand in random order: a half for one that sees the axis of a motion
        direction.untrained, direction.gain: the same encoder before training, and the difference
        """
        labels = [sample.fields["direction"] for sample in self.train]
        truth = [sample.fields["direction"] for sample in self.test]
        before = None if untrained is None else self._vectors(untrained)
        made = probes(self._vectors(encoder), before, labels, truth, self.pairs, kinds=["linear"])
        still = self._vectors(encoder, in_order=False)
        blind = linear_probe(still.train, labels, still.test, truth, self.pairs)
        made["linear.accuracy"] = replace(
            made["linear.accuracy"],
            blind_shuffled=blind.value,
            note="blind_shuffled: the same probe, frames in random order",
        )
        made["linear.shuffled"] = blind
        return {name.replace("linear.", "direction."): score for name, score in made.items()}

    def retrieval(self, model: JointEmbedding) -> dict[str, GeneratedScore | Score]:
        """Sentences find clips and clips sentences; `.shuffled`: the clips with frames in random order."""
        texts = self._embedded(model, "text", [sample.columns["text"] for sample in self.test])
        videos = self._embedded(model, "video", self._media(self.test))
        mixed = self._embedded(model, "video", self._media(self.test, in_order=False))
        made: dict[str, GeneratedScore | Score] = {}
        for name, queries, gallery in (
            ("text_to_video", texts, videos),
            ("video_to_text", videos, texts),
            ("text_to_video.shuffled", texts, mixed),
            ("video_to_text.shuffled", mixed, texts),
        ):
            found = retrieval_scores(queries, gallery)
            made |= {f"{name}.{kept}": found[kept] for kept in KEPT}
        return made

    def captions(self, model: JointEmbedding) -> dict[str, GeneratedScore | Score]:
        """Captioning by choice: of all 3,600 sentences that a clip can have, the one whose vector is nearest.

        caption.accuracy: the whole sentence; caption.direction.accuracy …: its slots. blind_shuffled: the sentences
        of other clips. `shuffled.caption…`: of the same clips with frames in random order.
        """
        sentences = every_sentence()
        choices = self._vectors_of(model, "text", sentences)
        slots = CaptionSlots([str(sample.columns["text"]) for sample in self.test])
        found: dict[str, GeneratedScore | Score] = {}
        for prefix, in_order in (("", True), ("shuffled.", False)):
            vectors = self._vectors_of(model, "video", self._media(self.test, in_order))
            said = [sentences[row] for row in (vectors @ choices.T).argmax(1)]
            orders = [deranged(self.pairs, seed) for seed in range(SHUFFLES)]
            blind = Blind(shuffled=[[said[other] for other in order] for order in orders])
            scores = beside_blind(slots, said, blind, groups=self.pairs)
            found |= {f"{prefix}{name}": score for name, score in scores.items()}
        return found

    def _vectors(self, encoder: Any, in_order: bool = True) -> Vectors:
        train, test = (
            encoder.encode(self._media(samples, in_order), what="pooled").pooled.numpy()
            for samples in (self.train, self.test)
        )
        return Vectors(train, test)

    def _media(self, samples: list[Sample], in_order: bool = True) -> list[Video]:
        videos = [(sample.id, sample.columns["video"]) for sample in samples]
        return [video if in_order else shuffled(video, id) for id, video in videos]  # type: ignore[misc, arg-type]

    def _embedded(self, model: JointEmbedding, column: str, media: list[Any]) -> Embedded:
        vectors = self._vectors_of(model, column, media)
        return Embedded(vectors, [sample.meanings for sample in self.test], self.pairs)

    def _vectors_of(self, model: JointEmbedding, column: str, media: list[Any]) -> np.ndarray:
        encoder: Any = model.encoders[column]
        return np.asarray(model.embed(column, encoder.encode(media, what="pooled")).detach().numpy())
