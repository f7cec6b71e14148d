"""`FastLlama`: a Llama laid out for answering: fused, packed weights and buffers for keys and values.

Shapes: B rows, L positions, P positions in the cache, D width, H query heads, G key heads, E channels a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.backbones.key_values import KeyValues
from sensorium.backbones.packed_linear import Linear, dtype_of, pack
from sensorium.backbones.screened_head import ScreenedHead


class _Layer:
    """The weights of one transformer layer."""

    def __init__(self, layer: Any, pairing: Tensor, queries: int, keys: int, precision: str) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        query, key = (
            projection.weight.detach().unflatten(0, (heads, -1))[:, pairing].flatten(0, 1)
            for projection, heads in ((attention.q_proj, queries), (attention.k_proj, keys))
        )
        self.qkv = pack(torch.cat([query, key, attention.v_proj.weight.detach()]), precision)
        self.out: Linear = pack(attention.o_proj.weight, precision)
        self.gate_up = pack(
            torch.cat([mlp.gate_proj.weight.detach(), mlp.up_proj.weight.detach()]), precision
        )
        self.down: Linear = pack(mlp.down_proj.weight, precision)
        self.before_attention = _Norm(layer.input_layernorm, precision)
        self.before_mlp = _Norm(layer.post_attention_layernorm, precision)


class _Norm:
    """RMSNorm (Zhang and Sennrich 2019, eq. 4), with w √D and √(D ε) computed once.

        x / √(|x|² / D + ε) · w  =  x / hypot(|x|, √(D ε)) · w √D

    float32[R, D] -> rows of the precision's dtype. PyTorch's takes twice as many operations, and as long, for a row.
    """

    def __init__(self, norm: Any, precision: str) -> None:
        weight = norm.weight.detach().float()
        self.weight = weight * len(weight) ** 0.5
        self.least = torch.tensor((len(weight) * norm.variance_epsilon) ** 0.5)
        self.dtype = dtype_of(precision)

    def __call__(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x / torch.hypot(length, self.least)).mul_(self.weight).to(self.dtype)


class FastLlama:
    """What a `CausalBackbone` over a Llama computes, for decoding on a CPU, without gradients.

        embeddings [B, L, D] ──► layers × (norm ─► q·k·v as one ─► attention ─► norm ─► gate·up as one) ──► hidden

    Weights are copied and repacked once, LoRA merged into them; later changes to the backbone are not seen. Rotary
    positions (Su et al. 2021) turn neighbouring channels as one complex number, for which the rows of the query's
    and key's weights are put beside each other: the same dot products. Keys, values, rotation, attention and the sum of
    what the layers add are float32 in every precision, and heads that share a key (grouped queries) are that key's
    rows. A token takes some 25 small operations a layer, which cost what they are, not what they compute: each one
    less is felt.

    backbone:  a `CausalBackbone`; stays as it is
    precision: "fp32", "bf16", or "int8", "int4" for the layers' weights as `packed_linear.pack` says (the head is
               8-bit in both). On 4-bit weights see `benchmarks/README.md`

    Raises ValueError for a model that is not a plain Llama (`FastLlama.fits` asks).
    """

    kind = "causal"

    def __init__(self, backbone: Any, precision: str = "bf16") -> None:
        if not self.fits(backbone):
            raise ValueError(
                f"got a {backbone.lm.config.model_type!r} language model; expected a plain Llama: use it as it is"
            )
        self.dtype, self.precision = dtype_of(precision), precision
        self.tokenizer, self.width, self.source = backbone.tokenizer, backbone.width, backbone.source
        self.lm = lm = backbone.lm  # for its configuration, and for beams, which `transformers` searches
        if any(".lora_" in name for name, _ in lm.named_parameters()):
            lm = backbone.merged().lm
        config = lm.config
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.channels = lm.model.layers[0].self_attn.head_dim
        # Channels i and i + E / 2, which `transformers` turns together, become neighbours.
        pairing = torch.arange(self.channels).view(2, -1).T.flatten()
        self.frequencies = lm.model.rotary_emb.inv_freq.detach().float()
        self.rotation_scale = float(lm.model.rotary_emb.attention_scaling)
        self.layers = [
            _Layer(layer, pairing, self.heads, self.key_heads, precision) for layer in lm.model.layers
        ]
        self.norm = _Norm(lm.model.norm, precision)
        head = lm.get_output_embeddings().weight.detach()
        self.head = pack(head, "int8" if precision == "int4" else precision)
        # Of bfloat16 a screen would save half the bytes, which costs as much as it saves.
        self.screen = ScreenedHead(head.float()) if precision == "fp32" else None
        self.table = lm.get_input_embeddings().weight.detach().to(self.dtype)

    @staticmethod
    def fits(backbone: Any) -> bool:
        """Whether a backbone is a Llama without biases, clipped or length-dependent rotation, on the CPU."""
        config = backbone.lm.config
        return (
            backbone.kind == "causal"
            and config.model_type == "llama"
            and config.hidden_act == "silu"
            and not (config.attention_bias or config.mlp_bias)
            and config.rope_parameters["rope_type"] in ("default", "linear", "llama3")
            and next(backbone.lm.parameters()).device.type == "cpu"
        )

    def new_cache(self) -> KeyValues:
        return KeyValues(len(self.layers))

    def embed(self, ids: Tensor) -> Tensor:
        """int64[…] -> float[…, D]"""
        return F.embedding(ids, self.table)

    @torch.inference_mode()
    def __call__(
        self,
        embeddings: Tensor,
        attend: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """float[B, L, D] -> float[B, L, D], the states before the head; arguments as in `CausalBackbone`."""
        B, L, D = embeddings.shape
        cache = self.new_cache() if cache is None else cache
        P, H, G, E = cache.length, self.heads, self.key_heads, self.channels
        cache.make_room(B, G, L, E)
        if positions is None:
            positions = torch.arange(P, P + L).expand(B, L)
        angles = positions.reshape(B * L, 1, 1) * self.frequencies
        turn_R1C = torch.polar(torch.full_like(angles, self.rotation_scale), angles)
        if attend is None and L > 1 and P > 0:
            attend = torch.ones(L, P + L, dtype=torch.bool).tril(P)[None]
        mask = None if attend is None else attend[:, None]
        causal = attend is None and L > 1

        x = embeddings.float().reshape(B * L, D)
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(layer.before_attention(x)).float()
            pairs = torch.view_as_complex(qkv.view(B * L, H + 2 * G, E // 2, 2))
            pairs[:, : H + G].mul_(turn_R1C)  # turns queries and keys where they are, in qkv
            q, kv = qkv.split((H * E, 2 * G * E), 1)
            keys, values = cache.write(number, kv.view(B, L, 2, G, E).permute(2, 0, 3, 1, 4))
            if L == 1:  # the queries that share a key stand as its rows: [B, G, H / G, E]
                heard = F.scaled_dot_product_attention(q.view(B, G, H // G, E), keys, values, attn_mask=mask)
            else:
                q = q.view(B, L, H, E).transpose(1, 2)
                heard = F.scaled_dot_product_attention(
                    q, keys, values, attn_mask=mask, is_causal=causal, enable_gqa=True
                ).transpose(1, 2)
            x = x + layer.out(heard.reshape(B * L, H * E).to(self.dtype))
            gate, up = layer.gate_up(layer.before_mlp(x)).chunk(2, -1)
            x = x + layer.down(F.silu(gate).mul_(up))
        cache.length = P + L
        return self.norm(x).view(B, L, D)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """float[…, D] -> float[…, V]"""
        logits = self.head(hidden.reshape(-1, self.width).contiguous())
        return logits.view(*hidden.shape[:-1], -1)

    @torch.inference_mode()
    def likeliest(self, hidden: Tensor) -> Tensor:
        """float[B, D] -> int64[B], the first of the tokens whose logit is the largest."""
        if self.screen is not None and len(hidden) == 1 and (found := self.screen(hidden)) is not None:
            return found
        return self.logits(hidden).float().argmax(-1)  # bfloat16's own takes five times as long
