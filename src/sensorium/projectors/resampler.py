"""The Perceiver resampler of Flamingo (Alayrac et al. 2022, arXiv:2204.14198, section 3.1 and appendix A.1.1).

B item, T media token, R latent, F frame, W width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.features import Features
from sensorium.layers import Attention, FeedForward, SquaredReLU
from sensorium.projectors.projector import Projector, from_tokens, real
from sensorium.projectors.published import rename

# Names of `transformers`' IdeficsPerceiverResampler -> ours.
KEYS = {
    r"latents": r"latents",
    r"blocks\.(\d+)\.0\.context_layer_norm\.(\w+)": r"blocks.\1.media_norm.\2",
    r"blocks\.(\d+)\.0\.latents_layer_norm\.(\w+)": r"blocks.\1.latent_norm.\2",
    r"blocks\.(\d+)\.0\.q_proj\.(\w+)": r"blocks.\1.attention.query.\2",
    r"blocks\.(\d+)\.0\.k_proj\.(\w+)": r"blocks.\1.attention.key.\2",
    r"blocks\.(\d+)\.0\.v_proj\.(\w+)": r"blocks.\1.attention.value.\2",
    r"blocks\.(\d+)\.0\.output_proj\.(\w+)": r"blocks.\1.attention.output.\2",
    r"blocks\.(\d+)\.1\.ln\.(\w+)": r"blocks.\1.feed_forward_norm.\2",
    r"blocks\.(\d+)\.1\.fc\.(\w+)": r"blocks.\1.feed_forward.lift.\2",
    r"blocks\.(\d+)\.1\.c_proj\.(\w+)": r"blocks.\1.feed_forward.lower.\2",
    r"layer_norm\.(\w+)": r"norm.\1",
}


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of `IdeficsPerceiverResampler` without query and key norms -> a state of `PerceiverResampler`.

    Build ours with `hidden` from the shape of `c_proj` and `activation=nn.ReLU()`. Raises ValueError for a
    name that is not of it.
    """
    return rename(state, KEYS)


class PerceiverResampler(Projector):
    """Features[B, T, W] -> Features[B, R, W]: R learned latents read any number of media tokens.

        media ──(+ time of its frame)──► norm ──┐
                                                ├─► keys and values ─► attention ─(+)─► feed-forward ─(+)─► … ─► norm
        latents ──────────────────────► norm ──┴─► queries                        × layers

    Pre-norm, no biases but in the norms; the latents see each other as well as the media in each layer.
    An item without any real media token gives masked tokens: a missing picture stays missing.

    width, heads: W, attention heads (the paper's: as wide as the vision encoder, 16 heads)
    layers, latents: 6 and 64 in the paper
    head_width:   None: W / heads (96 in the paper)
    hidden:       inside the feed-forward; None: 4 · W
    activation:   None: squared ReLU, as in the paper's appendix
    frames:       moments with a learned time embedding (8 in the paper); 0: without time. An item of more
                  frames is read at as many moments between the first and the last, interpolated linearly, as the
                  paper does for 30
    frame_tokens: tokens of one frame, which follow each other
    """

    length: int

    def __init__(
        self,
        width: int,
        *,
        layers: int,
        heads: int,
        latents: int,
        head_width: int | None = None,
        hidden: int | None = None,
        activation: nn.Module | None = None,
        frames: int = 0,
        frame_tokens: int = 1,
    ) -> None:
        super().__init__()
        if min(layers, latents, frame_tokens) < 1 or frames < 0:
            raise ValueError(
                f"got layers={layers}, latents={latents}, frame_tokens={frame_tokens}, frames={frames}; "
                "expected at least 1 layer, latent and token a frame, and no negative number of frames"
            )
        self.width, self.length, self.frame_tokens = width, latents, frame_tokens
        self.latents = nn.Parameter(torch.randn(latents, width))
        self.times = nn.Parameter(torch.randn(frames, width)) if frames else None
        self.blocks = nn.ModuleList(
            ResamplerBlock(width, heads, head_width, hidden or 4 * width, activation or SquaredReLU())
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Features) -> Features:
        media = real(features)
        if self.times is not None:
            media = media + self._time(features.mask, self.times)
        x = self.latents.expand(len(media), -1, -1)
        sees_itself = torch.ones(x.shape[:2], dtype=torch.bool, device=media.device)
        mask = torch.cat([features.mask, sees_itself], 1)
        for block in self.blocks:
            x = block(x, media, mask)
        return from_tokens(self.norm(x), features.mask.any(1, keepdim=True).expand(-1, self.length))

    def _time(self, mask: Tensor, times: Tensor) -> Tensor:
        """float[B, T, W]: the embedding of each token's moment, from bool[B, T]."""
        frame = torch.arange(mask.shape[1], device=mask.device) // self.frame_tokens  # [T]
        count = F.pad(mask * (frame + 1), (1, 0)).amax(1, keepdim=True)  # [B, 1], frames of the item, maybe 0
        last = len(times) - 1
        stretch = torch.where(count > len(times), last / (count - 1).clamp(min=1), torch.ones_like(count))
        moment = (frame * stretch).clamp(max=last)  # [B, T]; only padding reaches past the last
        before = moment.floor().long()
        share = (moment - before)[..., None].to(times.dtype)
        after = (before + 1).clamp(max=last)
        return times[before] * (1 - share) + times[after] * share


class ResamplerBlock(nn.Module):
    """x float[B, R, W] reads media float[B, T, W] and itself, mask bool[B, T + R]; arguments as above."""

    def __init__(
        self, width: int, heads: int, head_width: int | None, hidden: int, activation: nn.Module
    ) -> None:
        super().__init__()
        self.media_norm = nn.LayerNorm(width)
        self.latent_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width=head_width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, activation=activation, bias=False)

    def forward(self, x: Tensor, media: Tensor, mask: Tensor) -> Tensor:
        latents = self.latent_norm(x)
        x = x + self.attention(latents, torch.cat([self.media_norm(media), latents], 1), mask)
        out: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return out
