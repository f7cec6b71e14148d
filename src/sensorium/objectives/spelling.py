"""Spelling what is said by the letters of a language model, without running the language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLANK = 0.5  # cosine that a letter must reach to be written


@dataclass(frozen=True)
class Spelling:
    """(model, batch) -> {"spelling": float[], "norm": float[]}

    Connectionist temporal classification (Graves et al. 2006, section 4) whose classes are the language model's own
    embeddings of the letters. With those, v_1 … v_C, and their mean m, a token z has the logits

        scale · cos(z − m, v_c − m)   for letter c,   scale · BLANK   for none

    and the loss is −log of the probability of all ways to spell the text with these tokens, a letter. `norm` is
    that of `GridNaming`: a trained token lies where the language model keeps the letter that is heard.

    model:   has `features(name, inputs) -> Features`, as `MultimodalLM` does
    vectors: float[C, D], of the letters
    name:    the encoder whose Features are read

    batch.inputs: prepared sounds or their Features; batch.letters: int64[S], 1 … C, of all texts one after another;
    batch.counts: int64[B], letters a text. A text of more letters than tokens counts nothing.
    """

    vectors: Tensor
    name: str = "audio"
    scale: float = 20.0

    def __call__(self, model: Any, batch: Any) -> dict[str, Tensor]:
        features = model.features(self.name, batch.inputs)
        centred = features.tokens.float() - self.vectors.mean(0)
        lengths = features.mask.sum(1)
        logs = self._logits(centred).log_softmax(-1).transpose(0, 1)
        each = F.ctc_loss(logs, batch.letters, lengths, batch.counts, reduction="none", zero_infinity=True)
        length = (self.vectors - self.vectors.mean(0)).norm(dim=-1).mean()
        return {
            "spelling": each.sum() / batch.counts.sum(),
            "norm": (centred.norm(dim=-1) / length - 1)[features.mask].square().mean(),
        }

    def logits(self, model: Any, inputs: Any) -> tuple[Tensor, Tensor]:
        """float[B, T, 1 + C], that of no letter first, and bool[B, T], True where a token is real."""
        features = model.features(self.name, inputs)
        return self._logits(features.tokens.float() - self.vectors.mean(0)), features.mask

    def _logits(self, centred: Tensor) -> Tensor:
        directions = F.normalize(self.vectors - self.vectors.mean(0), dim=-1)
        letters = F.normalize(centred, dim=-1) @ directions.T
        return self.scale * torch.cat([torch.full_like(letters[..., :1], BLANK), letters], -1)


def letter_vectors(backbone: Any, letters: Sequence[str]) -> Tensor:
    """float[C, D]: the language model's input embedding of each letter, as it stands inside a word."""
    with torch.no_grad():
        rows = [backbone.tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in letters]
        return torch.stack([backbone.embed(torch.tensor(ids)).float().mean(0) for ids in rows])


def spelled(logits: Tensor, letters: Sequence[str]) -> str:
    """The likeliest letter of each token, float[T, 1 + C], repeats once and none left out: greedy decoding of CTC."""
    best = logits.argmax(-1).unique_consecutive().tolist()
    return "".join(letters[number - 1] for number in best if number)
