"""Clips -> Features by a GRU over the vectors of their frames, in the order of time."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.encoders.encoder import Encoder
from sensorium.encoders.lstm import ends, read_in_order
from sensorium.encoders.video import FrameEncoder
from sensorium.features import Features


class GruVideoEncoder(FrameEncoder):
    """Frames seen one by one, then read in order (Donahue et al. 2014, arXiv:1411.4389, figure 3).

        uint8[F, H, W, 3] ─► image encoder on B·F frames ─► vectors float[B, F, W] ─► GRU ─► tokens float[B, F, D]
                                                                                         └► last state = pooled

    Beside `FrameEncoder`, which averages its frames, it tells a clip from the same clip played backwards.

    image: the picture encoder, shared by all frames
    width: D of the GRU's states (Cho et al. 2014, arXiv:1406.1078); layers: of them, on top of each other
    both_ways: also read from the end, half of the width each way
    """

    def __init__(self, image: Encoder, width: int = 256, layers: int = 1, both_ways: bool = False) -> None:
        super().__init__(image)
        if width < 1 or (both_ways and width % 2):
            raise ValueError(f"width: got {width}; expected a number above 0, even with both_ways=True")
        self.gru = nn.GRU(
            image.width, width // 2 if both_ways else width, layers, batch_first=True, bidirectional=both_ways
        )
        self.width, self.source = width, None  # its own part has weights of no source
        self.config |= {"layers": layers, "both_ways": both_ways}

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        mask = inputs["mask"]
        vectors = self.image({name: value[mask] for name, value in inputs.items() if name != "mask"}).pooled
        x = next(self.gru.parameters()).new_zeros(*mask.shape, self.image.width)
        x[mask] = vectors.to(x.dtype)
        tokens, last = read_in_order(self.gru, x, mask)
        return Features(tokens, mask, ends(last, self.gru).float())
