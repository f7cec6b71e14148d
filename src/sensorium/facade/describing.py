"""`Captioner` and `Matcher`: words that are matched with pictures, and pictures put into words (BLIP and BLIP-2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.facade.shared_space import Given, SharedSpace, decoded
from sensorium.features import Features
from sensorium.models.encoder_decoder import EncoderDecoder
from sensorium.models.image_text_qformer import ImageTextQFormer
from sensorium.models.joint_embedding import JointEmbedding

ROWS = 32  # pictures a pass
TOKENS = 20  # of a caption at most


class Describes(ABC):
    """What a model does that has seen pictures and words together: `caption`, `match`, and many of either at once."""

    def caption(self, image: Given, **options: Any) -> str:
        """What a picture shows. options: of `captions`"""
        return self.captions([image], **options)[0]

    def match(self, image: Given, text: str) -> float:
        """The probability that a text belongs to a picture."""
        return float(self.matches([image], [text])[0])

    @abstractmethod
    def captions(self, images: Sequence[Given], max_tokens: int = TOKENS) -> list[str]:
        """N pictures -> N texts. Raises `MediaError` for pictures that cannot be decoded."""

    @abstractmethod
    def matches(self, images: Sequence[Given], texts: Sequence[str]) -> np.ndarray:
        """N pictures and a text each -> float32[N], the probability that they belong together."""


class Captioner(SharedSpace, Describes):
    """A trained BLIP: a space of pictures and words that also says whether two match, and captions.

        model = sensorium.load("runs/blip")
        model.caption("photo.png"), model.match("photo.png", "a red apple")
        sensorium.Index.create("my-index", model).add("my/pictures")

    A published BLIP has the modes that it was published with: a captioner without heads embeds pictures alone, by
    what its vision makes of them, and says of all else what it lacks.
    """

    def __init__(self, described: EncoderDecoder, source: str = "") -> None:
        self.described = described.eval()
        super().__init__(_space_of(described), source)

    def captions(
        self,
        images: Sequence[Given],
        max_tokens: int = TOKENS,
        beams: int = 1,
        top_p: float | None = None,
    ) -> list[str]:
        """N pictures -> N texts, of the likeliest words.

        beams: search over so many texts at once; top_p: draw from the fewest words that make up this share

        Raises `MediaError` for pictures that cannot be decoded, ValueError for a model that cannot write.
        """
        if self.described.text is None:
            raise ValueError(
                "this BLIP was published without its encoder of words, whose tokenizer spells captions"
            )
        tokenizer, texts = self.described.text.tokenizer, []
        with torch.no_grad():
            for _, tokens in self._seen(images):
                ids = self.described.write(tokens, most=max_tokens, beams=beams, top_p=top_p)
                texts += tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def matches(self, images: Sequence[Given], texts: Sequence[str]) -> np.ndarray:
        _check_pairs(images, texts)
        found = [np.zeros(0, np.float32)]
        with torch.no_grad():
            for start, tokens in self._seen(images):
                words = self.described.words(texts[start : start + len(tokens)])
                logits = self.described.match(self.described.marked(words, "encode"), tokens)
                found.append(_yes(logits))
        return np.concatenate(found)

    def _seen(self, images: Sequence[Given]) -> Iterator[tuple[int, Tensor]]:
        for start, pictures in _parts(images):
            yield start, self.described.see(self.described.vision.prepare(pictures))[0]


class Matcher(Describes):
    """A trained Q-Former of BLIP-2's first stage: compares pictures with words, matches and captions them.

    A picture is several vectors here, one a query, of which the best for a text counts: so it compares
    (`similarity`), but no index, which holds one vector a picture, can be made with it.
    """

    def __init__(self, model: ImageTextQFormer, source: str = "") -> None:
        self.model, self.source = model.eval(), source

    @torch.no_grad()
    def similarity(self, images: Sequence[Given], texts: Sequence[str]) -> np.ndarray:
        """N pictures, M texts -> float32[N, M], the cosine of a text with a picture's nearest query."""
        text = self.model.embed_text(*self.model.read(texts))
        rows = [self.model.similarity(self.model.embed_image(media), text) for _, media in self._seen(images)]
        return np.concatenate([np.zeros((0, len(texts)), np.float32), *(row.float().numpy() for row in rows)])

    def captions(self, images: Sequence[Given], max_tokens: int = TOKENS) -> list[str]:
        with torch.no_grad():
            return [
                text.strip()
                for _, media in self._seen(images)
                for text in self.model.write(media, max_tokens)
            ]

    @torch.no_grad()
    def matches(self, images: Sequence[Given], texts: Sequence[str]) -> np.ndarray:
        _check_pairs(images, texts)
        found = [np.zeros(0, np.float32)]
        for start, media in self._seen(images):
            found.append(_yes(self.model.match(media, *self.model.read(texts[start : start + len(media)]))))
        return np.concatenate(found)

    def _seen(self, images: Sequence[Given]) -> Iterator[tuple[int, Features]]:
        for start, pictures in _parts(images):
            yield start, self.model.media(self.model.by_column["image"].prepare(pictures))


class _Head(nn.Module):
    """Features[B, T, W] -> Features[B, 1, D]: a head on the pooled vector. width: D"""

    def __init__(self, head: nn.Module, width: int) -> None:
        super().__init__()
        self.head, self.width = head, width

    def forward(self, features: Features) -> Features:
        return Features.from_pooled(self.head(features.pooled))


def _space_of(model: EncoderDecoder) -> JointEmbedding:
    """The contrast of a BLIP as two encoders with their heads; of one without heads, its vision."""
    if model.text is None or not {"image", "text"} <= set(model.heads):
        return JointEmbedding({model.image_column: model.vision})
    to_text: Any = model.heads["text"]
    columns = {model.image_column: "image", model.text_column: "text"}
    space = JointEmbedding(
        {model.image_column: model.vision, model.text_column: model.text},
        {column: _Head(model.heads[name], to_text.out_features) for column, name in columns.items()},
        max_scale=None,
    )
    space.log_scale = model.log_scale
    return space.eval()


def _parts(images: Sequence[Given]) -> Iterator[tuple[int, list[Any]]]:
    """(where they begin, decoded pictures), some at a time."""
    if isinstance(images, str | bytes):
        raise ValueError("got one path; expected a list of pictures, [path]")
    for start in range(0, len(images), ROWS):
        yield start, [decoded("image", image) for image in images[start : start + ROWS]]


def _check_pairs(images: Sequence[Given], texts: Sequence[str]) -> None:
    if isinstance(texts, str) or len(images) != len(texts):
        got = "one text" if isinstance(texts, str) else f"{len(texts)} texts"
        raise ValueError(f"got {len(images)} pictures and {got}; expected a list with a text for each")


def _yes(logits: Tensor) -> np.ndarray:
    """float[N, 2] of no, yes -> float32[N], the probability of yes."""
    probability: np.ndarray = logits.float().softmax(1)[:, 1].numpy()
    return probability
