"""Embeddings -> hidden states: language models of `transformers`, seen through their embeddings.

float[B, L, D] ──► language model ──► float[B, L, D] ──► logits float[…, V]
"""

from sensorium.backbones.causal import CausalBackbone

__all__ = ["CausalBackbone"]
