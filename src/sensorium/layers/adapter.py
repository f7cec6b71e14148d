"""Adapters: small layers between the layers of a model that stays as it is (Houlsby et al. 2019, arXiv:1902.00751)."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Where a sublayer of a transformer ends, attention and feed-forward, by the names of `transformers`; and the stages
# of our convolutional encoders.
ENDS = (
    "*.output.dense",  # BERT, RoBERTa: of attention and of the feed-forward
    "*.attention.o_proj",  # ViT, DINOv2
    "*.attention.out_lin",  # DistilBERT
    "*.ffn.lin2",
    "*.self_attn.out_proj",  # CLIP, SigLIP, Whisper
    "*.self_attn.o_proj",  # Llama
    "*.attn.c_proj",  # GPT-2
    "*.mlp.c_proj",
    "*.mlp.fc2",
    "*layers.*.fc2",  # Whisper
    "*.mlp.down_proj",
    "blocks.[0-9]",  # EfficientNetLite
)


class Adapter(nn.Module):
    """x + up(gelu(down(x))): float[…, D] -> float[…, D], or a map float[B, D, H, W] -> the same, place by place.

        x ──┬──► down (D -> inner) ──► GELU ──► up (inner -> D, starts at 0) ──► + ──► x'
            └──────────────────────────────────────────────────────────────────┘

    Houlsby et al. 2019, figure 2; on maps the two projections are 1×1 convolutions (Rebuffi et al. 2017,
    arXiv:1705.08045, section 3.2). `up` starts at zero, so that the adapter starts as the identity, exactly.
    """

    def __init__(self, width: int, inner: int, maps: bool = False) -> None:
        super().__init__()
        if inner < 1:
            raise ValueError(f"inner: got {inner}; expected the width of the adapter's waist, at least 1")
        self.down = nn.Conv2d(width, inner, 1) if maps else nn.Linear(width, inner)
        self.up = nn.Conv2d(inner, width, 1) if maps else nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        assert self.up.bias is not None
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.up(F.gelu(self.down(x)))
        return out


class Adapted(nn.Module):
    """x ──► inside (as it was) ──► adapter (trained) ──► x'"""

    def __init__(self, inside: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.inside, self.adapter = inside, adapter

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.adapter(self.inside(x))
        return out


def adapt(model: nn.Module, inner: int = 16, ends: tuple[str, ...] = ENDS) -> list[str]:
    """Freeze a model and put a trainable adapter behind every sublayer (transformers) or stage (EfficientNetLite).

    As in section 2.1 of the paper an adapter stands behind the projection back to the model's width, before the
    residual sum. The paper also trains the layer norms; here they stay frozen, so that the adapters are all that
    learns and can be taken away again.

    inner: width of the waist
    ends:  patterns over the names of modules, which end in a linear layer or in a convolution

    Returns the names of the adapted modules. Raises ValueError for a model that has adapters already, and for one
    that no pattern fits.
    """
    names = dict(model.named_modules())
    if any(isinstance(module, Adapted) for module in names.values()):
        raise ValueError("the model has adapters already; build it anew to adapt it otherwise")
    found = [name for name in names if any(fnmatchcase(name, end) for end in ends)]
    if not found:
        last = [name for name in names if name][-3:]
        raise ValueError(
            f"adapters: no module's name fits {', '.join(ends)}; there are, for example, {', '.join(last)}: "
            "give ends=(…) that name where its layers end"
        )
    model.requires_grad_(False)
    for name in found:
        inside = model.get_submodule(name)
        width, maps = _ends_in(name, inside)
        weight = next(inside.parameters())
        adapter = Adapter(width, inner, maps).to(weight.device, torch.float32).train(model.training)
        model.set_submodule(name, Adapted(inside, adapter))
    return found


def _ends_in(name: str, module: nn.Module) -> tuple[int, bool]:
    """The width that a module ends in, and whether it gives maps."""
    last = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    if last and isinstance(last[-1], nn.Conv2d):
        return last[-1].out_channels, True
    if last:
        return last[-1].out_features, False  # type: ignore[return-value]
    from transformers.pytorch_utils import Conv1D  # GPT-2's layers: linear ones, transposed

    if isinstance(module, Conv1D):
        return int(module.nf), False
    raise ValueError(
        f"{name}: got a {type(module).__name__}; expected it to end in a linear layer or a convolution"
    )
