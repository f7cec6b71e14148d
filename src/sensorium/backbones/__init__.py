"""Embeddings -> hidden states: language models of `transformers`, seen through their embeddings.

float[B, L, D] ──► language model ──► float[B, L, D] ──► logits float[…, V]
"""

from sensorium.backbones.backbone import Backbone
from sensorium.backbones.causal import CausalBackbone
from sensorium.backbones.encoder_decoder import EncoderDecoderBackbone

__all__ = ["Backbone", "CausalBackbone", "EncoderDecoderBackbone"]
