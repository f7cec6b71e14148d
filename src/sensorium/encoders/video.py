"""Clips -> Features: a picture encoder on every frame, averaged over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.encoders.encoder import Encoder, masked_mean
from sensorium.features import Features
from sensorium.media import Video


class FrameEncoder(Encoder):
    """Frames seen one by one; their vectors are the tokens, their mean the clip's vector.

        uint8[F, H, W, 3] ─► image encoder on B·F frames ─► tokens float[B, F, D] ─► mean = pooled

    Blind to order and motion, and a strong baseline all the same (CLIP4Clip, Luo et al. 2021, "meanP").
    """

    modality = "video"

    def __init__(self, image: Encoder) -> None:
        super().__init__()
        if image.modality != "image":
            raise ValueError(f"FrameEncoder: got an encoder of {image.modality}; expected one of image")
        self.image = image
        self.width, self.source = image.width, image.source
        self.preparation = f"each frame: {image.preparation}"
        self.config = {"image": f"{type(image).__name__}", **image.config}

    def length(self, media: Video) -> int:
        return len(media.frames)

    def token_count(self, media: Video) -> int:
        return len(media.frames)

    def prepare(self, media: Sequence[Video]) -> dict[str, Tensor]:
        """Clips -> what the picture encoder prepares, [B, F, …], and "mask": bool[B, F], the real frames."""
        counts = [len(video.frames) for video in media]
        if min(counts) == 0:
            raise ValueError(
                f"FrameEncoder: clip {counts.index(0)} of the batch has no frames; expected at least one"
            )
        frames = self.image.prepare([frame for video in media for frame in video.frames])
        mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        inputs = {"mask": mask}
        for name, flat in frames.items():
            inputs[name] = flat.new_zeros(*mask.shape, *flat.shape[1:])
            inputs[name][mask] = flat
        return inputs

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        tokens = self.frames(inputs)
        return Features(tokens, inputs["mask"], masked_mean(tokens, inputs["mask"]))

    def frames(self, inputs: dict[str, Tensor]) -> Tensor:
        """float[B, F, D of the picture encoder], a vector a frame, zeros where a clip has no frame."""
        mask = inputs["mask"]
        frames = {name: value[mask] for name, value in inputs.items() if name != "mask"}
        vectors = self.image(frames).pooled
        tokens = vectors.new_zeros(*mask.shape, vectors.shape[1])
        tokens[mask] = vectors
        return tokens


class FrameChanges(FrameEncoder):
    """Frames and what changes from one to the next: an untrained sense of motion beside what is seen.

        v_1 … v_F, a vector a frame ──► tokens [v_t ; v_t − v_(t−1)], the first change zeros
                                    └─► pooled [mean of v_t ; v_F − v_1]

    Differences of features between frames after TDN (Wang et al. 2021, arXiv:2012.10071). With the frames in reverse
    order every change has the other sign. The width is twice the picture encoder's.
    """

    def __init__(self, image: Encoder) -> None:
        super().__init__(image)
        self.width = 2 * image.width
        self.config = {**self.config, "changes": True}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        frames = self.frames(inputs)
        mask = inputs["mask"]
        before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
        changes = (frames - before).masked_fill(~mask[..., None], 0.0)
        last = frames[torch.arange(len(frames)), mask.sum(1) - 1]
        pooled = torch.cat([masked_mean(frames, mask), last - frames[:, 0]], 1)
        return Features(torch.cat([frames, changes], 2), mask, pooled)
