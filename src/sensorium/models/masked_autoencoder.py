"""`MaskedAutoencoder`: most patches of a picture are hidden, the rest must tell what they were.

Shapes: B pictures, N patches each, of which K are visible and M = N − K hidden; P = side² · 3 numbers a patch,
D the encoder's width, W the decoder's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`."""

    @property
    def columns(self) -> Any: ...


@dataclass(frozen=True)
class Reconstruction:
    """What `MaskedAutoencoder.forward` returns.

    predicted: float[B, M, P], what the decoder makes of the hidden patches, in the order of `hidden`
    patches:   float[B, N, P], all patches as the encoder's normed pixels (see `patches_of`)
    visible:   int64[B, K], the places of the patches that were seen
    hidden:    int64[B, M], the places of those that were not
    """

    predicted: Tensor
    patches: Tensor
    visible: Tensor
    hidden: Tensor


class PatchDecoder(nn.Module):
    """What the encoder made of K patches -> the other M patches. Used in pretraining only.

        float[B, 1 + K, D] ──► embed (D -> W) ──► + positions ──┐
        M times the mask token ─────────────────► + positions ──┴──► blocks ──► norm ──► predict ──► float[B, M, P]

    embed, blocks, norm, predict: built parts; a block takes and gives float[B, T, W]
    positions: float[1 + N, W], of the class token and of every patch; they stay as they are

    Attention does not care for order, and every token carries its position: the visible tokens stay in front of the
    mask tokens, nothing is shuffled back.
    """

    def __init__(
        self, embed: nn.Linear, blocks: nn.ModuleList, norm: nn.Module, predict: nn.Linear, positions: Tensor
    ) -> None:
        super().__init__()
        self.embed, self.blocks, self.norm, self.predict = embed, blocks, norm, predict
        self.mask_token = nn.Parameter(0.02 * torch.randn(embed.out_features))
        self.positions = nn.Parameter(positions, requires_grad=False)

    def forward(self, seen: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """float[B, 1 + K, D] (class token first), int64[B, K] and int64[B, M] -> float[B, M, P]."""
        first, patches = self.positions[:1], self.positions[1:]
        seen_BTW = self.embed(seen)
        places = torch.cat([first.expand(len(seen), 1, -1), patches[visible]], 1)
        tokens = torch.cat([seen_BTW + places, self.mask_token + patches[hidden]], 1)
        for block in self.blocks:
            tokens = block(tokens)
        predicted: Tensor = self.predict(self.norm(tokens[:, -hidden.shape[1] :]))
        return predicted


class MaskedAutoencoder(nn.Module):
    """Pictures -> the patches that were hidden from the encoder (He et al. 2021, arXiv:2111.06377, figure 1).

        pixels ──► patches ──► 25 % drawn by chance ──► ViT ──► PatchDecoder ──► the other 75 %
                   float[B, N, P]  float[B, K, P]       encoder  decoder         float[B, M, P]

    encoder: `TransformersImageEncoder` around a ViT of `transformers`; it is what is kept afterwards and sees whole
             pictures then
    decoder: a `PatchDecoder`
    share:   of the patches that is hidden; the encoder sees int(N · (1 − share)) of them
    column:  of the batch

    Hidden patches are taken away before the ViT's first multiplication, the patch projection too: its work grows
    with K, not with N.

    Raises ValueError for a share that hides nothing or everything, and for pictures that are not whole patches.
    """

    def __init__(
        self, encoder: Any, decoder: PatchDecoder, share: float = 0.75, column: str = "image"
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.share, self.column = encoder, decoder, share, column
        side = encoder.model.config.patch_size
        self.side = side[0] if isinstance(side, list | tuple) else side
        N = len(decoder.positions) - 1
        if not 1 <= int(N * (1 - share)) < N:
            raise ValueError(
                f"share={share} hides {N - int(N * (1 - share))} of {N} patches; expected some, but not all"
            )

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoder by column, for what prepares media."""
        return {self.column: self.encoder}

    def forward(self, batch: BatchLike, noise: Tensor | None = None) -> Reconstruction:
        """noise: float[B, N], the K patches with the least are seen; None: drawn anew."""
        patches = patches_of(self.pixels(batch.columns[self.column].inputs), self.side)
        visible, hidden = self.split(patches, noise)
        seen = self.encode_visible(taken(patches, visible), visible)
        return Reconstruction(self.decoder(seen, visible, hidden), patches, visible, hidden)

    def pixels(self, inputs: dict[str, Tensor]) -> Tensor:
        """{"pixels": [B, 3, h, w] in 0..255} -> float[B, 3, h, w], normed as the encoder norms them."""
        pixels = inputs["pixels"]
        mean, std = (
            torch.tensor(v, device=pixels.device)[:, None, None]
            for v in (self.encoder.make.mean, self.encoder.make.std)
        )
        normed: Tensor = (pixels.float() / 255 - mean) / std
        return normed

    def split(self, patches: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """float[B, N, P] -> the places that are seen, int64[B, K], and those that are not, int64[B, M]."""
        B, N, _ = patches.shape
        if len(self.decoder.positions) - 1 != N:
            raise ValueError(
                f"got pictures of {N} patches; this model was built for {len(self.decoder.positions) - 1}"
            )
        noise = torch.rand(B, N, device=patches.device) if noise is None else noise
        order, K = noise.argsort(1), int(N * (1 - self.share))
        return order[:, :K], order[:, K:]

    def encode_visible(self, patches: Tensor, places: Tensor) -> Tensor:
        """float[B, K, P] and int64[B, K], where they stand -> float[B, 1 + K, D], the class token first."""
        vit: Any = self.encoder.model
        project, positions = vit.embeddings.patch_embeddings.projection, vit.embeddings.position_embeddings[0]
        # The convolution of a patch with a kernel of its own size is one product; [D, 3, s, s] -> [D, s·s·3].
        kernel = project.weight.permute(0, 2, 3, 1).flatten(1)
        tokens = F.linear(patches, kernel, project.bias) + positions[1:][places]
        first = (vit.embeddings.cls_token[0] + positions[:1]).expand(len(tokens), 1, -1)
        tokens = torch.cat([first, tokens], 1)
        for block in vit.layers:
            tokens = block(tokens)
        normed: Tensor = vit.layernorm(tokens)
        return normed


def patches_of(pixels: Tensor, side: int) -> Tensor:
    """[B, C, H, W] -> [B, N, side² · C]: patches row by row, in each the pixels row by row, in each the channels."""
    B, C, H, W = pixels.shape
    if H % side or W % side:
        raise ValueError(f"got pictures of {H} × {W} pixels; expected multiples of the patch's {side}")
    cut = pixels.view(B, C, H // side, side, W // side, side).permute(0, 2, 4, 3, 5, 1)
    return cut.reshape(B, -1, side * side * C)


def pixels_of(patches: Tensor, side: int, channels: int = 3) -> Tensor:
    """[B, N, side² · C] of square pictures -> [B, C, H, H]: the reverse of `patches_of`."""
    B, N, _ = patches.shape
    n = round(N**0.5)
    assert n * n == N, f"{N} patches are no square"
    cut = patches.view(B, n, n, side, side, channels).permute(0, 5, 1, 3, 2, 4)
    return cut.reshape(B, channels, n * side, n * side)


def taken(patches: Tensor, places: Tensor) -> Tensor:
    """float[B, N, P] and int64[B, K] -> float[B, K, P]."""
    return patches.gather(1, places[..., None].expand(-1, -1, patches.shape[2]))
