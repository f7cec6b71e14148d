"""Fewer tokens before a projector: pooled grids, shuffled pixels, stacked frames. Nothing here is trained.

Reshapes carry their axes: B item, h w windows down and across, i j a token's row and column inside its window,
W width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from sensorium.features import Features
from sensorium.projectors.projector import Projector, from_tokens, real


class DropFirst(Projector):
    """Features[B, T, W] -> Features[B, T − count, W] without the leading tokens.

    A vision transformer's class token comes first and has no place in the grid; LLaVA leaves it out too
    (arXiv:2304.08485, section 4.1: "grid features").
    """

    def __init__(self, width: int, count: int = 1) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"got count={count}; expected at least 1 token to drop")
        self.width, self.count = width, count

    def length_of(self, tokens: int) -> int:
        return max(0, tokens - self.count)

    def forward(self, features: Features) -> Features:
        return from_tokens(features.tokens[:, self.count :], features.mask[:, self.count :])


class GridPooling(Projector):
    """Features[B, side_in², W] -> Features[B, side_out², W]: the mean of the real tokens in each window.

    Tokens are a square map read row by row. Where side_out does not divide side_in, windows overlap as in
    `torch.nn.functional.adaptive_avg_pool2d` (7 × 7 -> 4 × 4: rows 0–1, 1–3, 3–5, 5–6).
    A window without any real token gives a masked one.
    """

    def __init__(self, width: int, side_in: int, side_out: int) -> None:
        super().__init__()
        if not 1 <= side_out <= side_in:
            raise ValueError(f"got side_in={side_in}, side_out={side_out}; expected 1 <= side_out <= side_in")
        self.width, self.side_in, self.side_out = width, side_in, side_out
        self.length = side_out**2

    def forward(self, features: Features) -> Features:
        tokens, mask = _grid(features, self.side_in)
        share = F.adaptive_avg_pool2d(mask[:, None].to(tokens.dtype), self.side_out)  # [B, 1, h, w]
        mean = F.adaptive_avg_pool2d(tokens.permute(0, 3, 1, 2), self.side_out)  # [B, W, h, w]
        mean = mean / share.masked_fill(share == 0, 1.0)
        return from_tokens(mean.flatten(2).transpose(1, 2), share.flatten(1) > 0)


class PixelShuffle(Projector):
    """Features[B, side², W] -> Features[B, (side / factor)², factor² · W]: neighbours side by side in one token.

    Tokens are a square map read row by row; each factor × factor window becomes one token, its tokens one
    after another, row by row. Nothing is lost, only rearranged (as connector: InternVL 1.5, arXiv:2404.16821,
    section 3.1; Idefics3, arXiv:2408.12637). Tokens that are not real count as zeros.
    """

    def __init__(self, width: int, side: int, factor: int = 2) -> None:
        super().__init__()
        if factor < 1 or side < 1 or side % factor:
            raise ValueError(f"got side={side}, factor={factor}; expected a factor that divides the side")
        self.side, self.factor = side, factor
        self.width = factor**2 * width
        self.length = (side // factor) ** 2

    def forward(self, features: Features) -> Features:
        tokens, mask = _grid(features, self.side)
        B, _, _, W = tokens.shape
        s, n = self.factor, self.side // self.factor
        tokens_BhiwjW = tokens.view(B, n, s, n, s, W)
        tokens_BhwijW = tokens_BhiwjW.transpose(2, 3)
        mask_Bhwij = mask.view(B, n, s, n, s).transpose(2, 3)
        return from_tokens(
            tokens_BhwijW.reshape(B, n * n, s * s * W), mask_Bhwij.reshape(B, n * n, -1).any(-1)
        )


class FrameStacking(Projector):
    """Features[B, T, W] -> Features[B, ⌈T / factor⌉, factor · W]: neighbouring frames side by side in one token.

    The connector of speech models (factor 5 in SLAM-ASR, Ma et al. 2024, arXiv:2402.08846), which
    brings 50 frames a second down to 10. What the last token lacks in frames is zeros.
    """

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise ValueError(f"got factor={factor}; expected at least 1 frame a token")
        self.factor = factor
        self.width = factor * width

    def length_of(self, tokens: int) -> int:
        return -(-tokens // self.factor)

    def forward(self, features: Features) -> Features:
        B, T, W = features.tokens.shape
        n = self.length_of(T)
        missing = n * self.factor - T
        tokens = F.pad(real(features), (0, 0, 0, missing))
        mask = F.pad(features.mask, (0, missing))
        return from_tokens(tokens.view(B, n, self.factor * W), mask.view(B, n, self.factor).any(-1))


class PlaceStacking(Projector):
    """Features[B, n · N, W] -> Features[B, N, n · W]: what one place of a clip is in its n frames, side by side.

    Tokens stand frame after frame, as a `FactorisedVideoEncoder` gives them. Nothing is lost, only rearranged: the
    order of frames becomes the order inside a token, so that motion can be read off one token by a linear map.
    A place of which any frame is not real counts as not real.
    """

    def __init__(self, width: int, frames: int, places: int) -> None:
        super().__init__()
        if frames < 1 or places < 1:
            raise ValueError(f"got frames={frames}, places={places}; expected at least 1 of both")
        self.frames, self.places = frames, places
        self.width, self.length = frames * width, places

    def forward(self, features: Features) -> Features:
        B, T, W = features.tokens.shape
        n, N = self.frames, self.places
        if n * N != T:
            raise ValueError(f"got items of {T} tokens; expected {n} frames of {N} places = {n * N}")
        tokens = real(features).view(B, n, N, W).transpose(1, 2).reshape(B, N, n * W)
        return from_tokens(tokens, features.mask.view(B, n, N).all(1))


def _grid(features: Features, side: int) -> tuple[Tensor, Tensor]:
    """float[B, side, side, W] and bool[B, side, side]; what a batch padded behind the grid is cut off."""
    B, T, W = features.tokens.shape
    extra = T - side**2
    if extra < 0 or (extra > 0 and features.mask[:, side**2 :].any()):
        most = int(features.mask.sum(1).max()) if B else 0
        raise ValueError(
            f"got items of {most} real tokens; expected a grid of {side} × {side} = {side**2}. Give the side of "
            "the encoder's map; where a class token comes first, put DropFirst(width) before"
        )
    tokens = real(features)[:, : side**2].reshape(B, side, side, W)
    return tokens, features.mask[:, : side**2].reshape(B, side, side)
