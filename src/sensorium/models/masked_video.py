"""`MaskedVideo`: a video encoder that sees some places of a clip tells what its teacher makes of the whole clip.

Shapes: B clips, n frames of N places each, of which K are visible, the same in all frames; D the encoders' width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.models.masked_autoencoder import patches_of, taken


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`."""

    @property
    def columns(self) -> Any: ...


@dataclass(frozen=True)
class Distilled:
    """What `MaskedVideo.forward` returns.

    tokens, pooled:               float[B, n·N, D] and float[B, D], what the student and the decoder make of K places
    teacher_tokens, teacher_pooled: the same of the teacher, which sees the whole clip; without gradients
    """

    tokens: Tensor
    pooled: Tensor
    teacher_tokens: Tensor
    teacher_pooled: Tensor


class ShuffledDecoder(nn.Module):
    """The student's n·K tokens -> n·N tokens. Used in pretraining only.

        float[B, n·K, D] ──► shuffled ──► embed (D -> W) ──┐ (+) positions
        n·(N − K) times the mask token ────────────────────┴──────────────► blocks ──► norm ──► predict ──► [B, n·N, D]

    Token shuffling (Zhao et al. 2024, arXiv:2402.13217, section 3.3): the seen tokens get each other's positions, so
    that none can be handed through: where each belongs must be found out, as in a jigsaw puzzle.

    embed, blocks, norm, predict: built parts; a block takes and gives float[B, T, W]
    frames, places: n and N
    """

    def __init__(
        self,
        embed: nn.Linear,
        blocks: nn.ModuleList,
        norm: nn.Module,
        predict: nn.Linear,
        frames: int,
        places: int,
    ) -> None:
        super().__init__()
        self.embed, self.blocks, self.norm, self.predict = embed, blocks, norm, predict
        self.frames, self.places = frames, places
        self.mask_token = nn.Parameter(0.02 * torch.randn(embed.out_features))
        self.positions = nn.Parameter(0.02 * torch.randn(frames * places, embed.out_features))

    def forward(self, seen: Tensor, visible: Tensor, shuffle: Tensor) -> Tensor:
        """float[B, n·K, D], int64[B, K] and an order int64[B, n·K] -> float[B, n·N, D].

        shuffle: the token that stands at the i-th seen position; `arange(n·K)` shuffles nothing
        """
        B, n, N = len(seen), self.frames, self.places
        at = (torch.arange(n, device=seen.device)[:, None] * N + visible[:, None]).view(B, -1)  # [B, n·K]
        words = self.embed(taken(seen, shuffle))
        everywhere = self.mask_token.to(words.dtype).expand(B, n * N, -1)
        tokens = everywhere.scatter(1, at[..., None].expand_as(words), words) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        predicted: Tensor = self.predict(self.norm(tokens))
        return predicted


class MaskedVideo(nn.Module):
    """Clips -> what the student tells of them, and what it should (Zhao et al. 2024, section 3.3).

        whole clip ──► teacher ──► teacher_tokens, teacher_pooled
        K places   ──► student ──┬──► ShuffledDecoder ──► tokens
                                 └──► auxiliary blocks, pooling ──► pooled

    student, teacher: `FactorisedVideoEncoder`s with a pooling head; the student is what is kept. The teacher takes no
                      gradients and stays in evaluation mode.
    decoder:          a `ShuffledDecoder`
    share:            of the places that is hidden, in all frames at once (tubes); the paper's 0.65
    shuffled:         False leaves the tokens where they were, to see what shuffling does
    column:           of the batch

    Hidden places are taken away before the first multiplication: the student's work grows with K. The paper hides
    blocks of places (BEVT's); here each place is drawn for itself.

    Raises ValueError for encoders that do not fit, and for a share that hides nothing or everything.
    """

    def __init__(
        self,
        student: Any,
        teacher: Any,
        decoder: ShuffledDecoder,
        share: float = 0.65,
        shuffled: bool = True,
        column: str = "video",
    ) -> None:
        super().__init__()
        if not (student.pools and teacher.pools) or student.frames != teacher.frames:
            raise ValueError(
                "student and teacher: expected two encoders with a pooling head and equally many frames"
            )
        self.student, self.decoder, self.teacher = student, decoder, teacher.freeze()
        self.share, self.shuffled, self.column = share, shuffled, column
        self.visible = int(decoder.places * (1 - share))
        if not 1 <= self.visible < decoder.places:
            raise ValueError(
                f"share={share} leaves {self.visible} of {decoder.places} places; expected some, but not all"
            )

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoder by column, for what prepares media."""
        return {self.column: self.student}

    def forward(
        self, batch: BatchLike, noise: Tensor | None = None, shuffle: Tensor | None = None
    ) -> Distilled:
        """noise: float[B, N], the K places with the least are seen; shuffle: int64[B, n·K]; None: drawn anew."""
        inputs = batch.columns[self.column].inputs
        B, n = inputs["pixels"].shape[:2]
        N, K, device = self.decoder.places, self.visible, inputs["pixels"].device
        noise = torch.rand(B, N, device=device) if noise is None else noise
        visible = noise.argsort(1)[:, :K]
        if shuffle is None:
            drawn = torch.rand(B, n * K, device=device)
            shuffle = drawn.argsort(1) if self.shuffled else torch.arange(n * K, device=device).expand(B, -1)
        with torch.no_grad():
            whole_tokens, whole_pooled = self.encode(self.teacher, inputs)
        seen, pooled = self.encode(self.student, inputs, visible)
        return Distilled(self.decoder(seen, visible, shuffle), pooled, whole_tokens, whole_pooled)

    def encode(
        self, encoder: Any, inputs: dict[str, Tensor], visible: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """An encoder at places int64[B, K], or at all -> float[B, n·K, D] before its auxiliary blocks, and float[B, D].

        With all places in order this is what the encoder's own model computes.
        """
        whole: Any = encoder.model
        model = whole.vision_model
        pixels = encoder.normed(inputs)
        B, n = pixels.shape[:2]
        project, positions = model.spatial_embeddings.patch_embeddings.projection, model.spatial_embeddings
        patches = patches_of(pixels.flatten(0, 1), project.kernel_size[-1])  # [B·n, N, P]
        places = positions.position_embeddings[0]
        if visible is None:
            visible = torch.arange(len(places), device=pixels.device).expand(B, -1)
        K = visible.shape[1]
        of_frames = visible.repeat_interleave(n, 0)
        # The convolution of a patch with a kernel of its own size is one product; [D, 3, 1, s, s] -> [D, s·s·3].
        kernel = project.weight[:, :, 0].permute(0, 2, 3, 1).flatten(1)
        space = F.linear(taken(patches, of_frames), kernel, project.bias) + places[of_frames]
        for block in model.spatial_layers:
            space = block(space)
        space = model.layernorm1(space)  # [B·n, K, D]
        time = space.view(B, n, K, -1).transpose(1, 2).reshape(B * K, n, -1)
        time = time + model.temporal_embeddings.position_embeddings
        for block in model.temporal_layers:
            time = block(time)
        tokens = model.layernorm2(time).view(B, K, n, -1).transpose(1, 2).reshape(B, n * K, -1)
        mixed = tokens
        for block in whole.auxiliary_layers:
            mixed = block(mixed)
        pooled = whole.head_layernorm(whole.head(mixed)[0]).flatten(1)
        return tokens, F.normalize(pooled.float(), dim=-1)
