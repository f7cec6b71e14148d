"""What the tests of systems with a language model share: words, prompts built both ways, tiny configurations."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.data.tokens import TokenBatch

BLOCK = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
PATCHES = {"image_size": 32, "patch_size": 8}


def randomise(model: nn.Module) -> Any:
    """Give every weight a random value, those that start at 0 or 1 too, so that none can hide."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def prompt(rows: list[list[int | str]], length: int, image_id: int) -> tuple[Tensor, Tensor]:
    """Rows of token ids with "image" among them -> ids int64[B, L] and slots bool[B, L], `length` an image."""
    written = [
        [i for part in row for i in ([image_id] * length if part == "image" else [part])] for row in rows
    ]
    ids = torch.tensor(written)
    return ids, ids == image_id


def batch(ids: Tensor, slots: Tensor, media: Any, name: str = "image", **decoder: Any) -> TokenBatch:
    """A row is a conversation. Where media stand, ids are 0: the model may not read them."""
    B, L = ids.shape
    attend = torch.ones(L, L, dtype=torch.bool).tril().expand(B, L, L)
    return TokenBatch(
        ids=ids.masked_fill(slots, 0),
        targets=torch.full((B, L), -100),
        positions=torch.arange(L).expand(B, L),
        attend=torch.ones(B, L, dtype=torch.bool) if decoder else attend,
        slots={name: slots},
        media={name: media},
        **decoder,
    )


def logits(model: Any, tokens: TokenBatch) -> Tensor:
    with torch.no_grad():
        return model.logits(model(tokens).hidden)


def normalised(encoder: Any, pictures: list[np.ndarray]) -> Tensor:
    """What an image processor makes of pictures: the encoder's pixels are uint8, this the model sees."""
    mean, std = (torch.tensor(v).double()[:, None, None] for v in (encoder.make.mean, encoder.make.std))
    return ((encoder.prepare(pictures)["pixels"].double() / 255 - mean) / std).float()
