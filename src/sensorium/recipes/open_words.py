"""Words that a picture may be called, whether a training picture is called so or not; and captions made of them.

    picture ──► the encoder's own classifier ──► chances of ImageNet's 1,000 classes
    class names, nouns of WordNet ──► "A frog." ──► MiniLM ──► Words ──► how far each caption is what the classes mean

As in SmallCap (Ramos et al. 2023, arXiv:2209.15323) the datastore holds text that no picture goes with. What the
classifier says is carried over to any caption as in ConSE (Norouzi et al. 2014, arXiv:1312.5650): by how near its
meaning is to that of each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import weights
from sensorium.data.bundled import normalised
from sensorium.data.sample import Sample
from sensorium.encoders.efficientnet_lite import EFFICIENTNET_LITE0

# Names of ImageNet's classes in the order of the classifier, and of WordNet's other things that ImageNet shows.
NAMES = "pypi:timm==1.0.31#timm/data/_info"
NAMES_SHA256 = "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7"
SENSE = 384  # the last layer of MiniLM, the last of the layers in the features of a text


@dataclass(frozen=True)
class Words:
    """V captions of one word each, and a classifier of pictures into C of them.

    captions: "A frog."; no two the same
    text:     float[V, W], their features
    classes:  int64[C], each class's own caption
    weight, bias: float[C, H], float[C]; the classifier reads the last H features of a picture
    """

    captions: Sequence[str]
    text: Tensor
    classes: Tensor
    weight: Tensor
    bias: Tensor

    def meant(self, image: Tensor, text: Tensor) -> Tensor:
        """float[N, M]: cosine of each of M texts to what N pictures are classified as, expected over the classes.

        image: float[N, *], text: float[M, W]; features. Cosines are of what sets a text apart from the mean word.
        """
        chances = F.linear(image[:, -self.weight.shape[1] :], self.weight, self.bias).softmax(-1)
        middle = F.normalize(self.text[:, -SENSE:], dim=-1).mean(0)
        known, asked = (
            F.normalize(F.normalize(some[:, -SENSE:], dim=-1) - middle, dim=-1)
            for some in (self.text[self.classes], text)
        )
        return chances @ (known @ asked.T)


def class_names() -> list[list[str]]:
    """The names of each of ImageNet's classes, the usual one first."""
    folder = weights.resolve(NAMES, sha256=NAMES_SHA256)
    names = _names(folder)
    return [names[synset] for synset in (folder / "imagenet_synsets.txt").read_text("utf-8").split()]


def nouns(known: Any) -> list[str]:
    """Names of things that ImageNet's 21,841 classes show, if a tokenizer knows them as one token: common words."""
    every = (name for names in _names(weights.resolve(NAMES, sha256=NAMES_SHA256)).values() for name in names)
    whole = known.get_vocab()
    return [name for name in dict.fromkeys(every) if name in whole and len(name) > 2]


def _names(folder: Any) -> dict[str, list[str]]:
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    pairs = (line.split("\t") for line in lines)
    return {synset: [name.strip() for name in names.split(",")] for synset, names in pairs}


def classifier() -> tuple[Tensor, Tensor]:
    """float[1000, 1280], float[1000]: what EfficientNet-Lite0 was trained with, on its pooled last stage."""
    published = torch.load(weights.resolve(EFFICIENTNET_LITE0), map_location="cpu", weights_only=True)
    return published["_fc.weight"].float(), published["_fc.bias"].float()


def word_samples(names: Sequence[Sequence[str]], more: Sequence[str]) -> tuple[list[Sample], Tensor]:
    """Names of classes and more words -> samples with the column "text", "A frog."; int64[C], that of each class."""
    place: dict[str, int] = {}
    captions: list[str] = []
    for word in [*(name for several in names for name in several), *more]:
        caption = f"{'An' if word[0].lower() in 'aeiou' else 'A'} {word}."
        if normalised(caption) not in place:
            place[normalised(caption)] = len(captions)
            captions.append(caption)
    samples = [
        Sample(f"words/{normalised(caption)}", {"text": caption}, {"text": "text"}) for caption in captions
    ]
    return samples, torch.tensor([place[normalised(several[0])] for several in names])
