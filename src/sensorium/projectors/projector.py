"""The face that every input and output projector has: `Features -> Features` of stated width and length."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.features import Features


class Projector(nn.Module):
    """Tokens of one width and number -> tokens of another.

    width:  D of the Features that leave
    length: tokens out an item where that is fixed; None: it follows from the tokens that come in, and
            `length_of` says how

    What stands where the mask is False never reaches a real token or the pooled vector, whatever it is (nan
    too). The tokens that leave are zeros where their mask is False, and `pooled` is the mean of the real
    ones, zeros where an item has none: a connector's tokens are all that a language model reads, so their
    mean, not the encoder's own pooled vector, is what stands for them.
    """

    width: int
    length: int | None = None

    def length_of(self, tokens: int) -> int:
        """Real tokens out an item of so many real tokens in, at least one (placeholders are laid out by this)."""
        return tokens if self.length is None else self.length

    def forward(self, features: Features) -> Features:
        raise NotImplementedError


class Chain(Projector):
    """Projectors one after another: `Chain(GridPooling(W, 7, 4), MlpProjector(lift, lower))`.

    Beside nn.Sequential it knows the width and the length that leave.
    """

    def __init__(self, *parts: Projector) -> None:
        super().__init__()
        if not parts:
            raise ValueError("got no projector; expected at least one, as in Chain(LinearProjector(linear))")
        self.parts = nn.ModuleList(parts)
        self.width = parts[-1].width
        for part in parts:
            if part.length is not None or self.length is not None:
                self.length = part.length if self.length is None else part.length_of(self.length)

    def length_of(self, tokens: int) -> int:
        for part in self.parts:
            tokens = part.length_of(tokens)  # type: ignore[operator]
        return tokens

    def forward(self, features: Features) -> Features:
        for part in self.parts:
            features = part(features)
        return features


def real(features: Features) -> Tensor:
    """float[B, T, D]: the tokens, with zeros where the mask is False."""
    return features.tokens.masked_fill(~features.mask[..., None], 0.0)


def from_tokens(tokens: Tensor, mask: Tensor) -> Features:
    """float[B, T, D] and bool[B, T] -> Features pooled by the mean of the real tokens (zeros without any)."""
    tokens = tokens.masked_fill(~mask[..., None], 0.0)
    count = mask.sum(1, keepdim=True).clamp(min=1)
    pooled = (tokens.float().sum(1) / count).to(tokens.dtype)
    return Features(tokens, mask, pooled)
