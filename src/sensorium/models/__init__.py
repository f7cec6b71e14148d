"""Families of models, each put together from built parts: batch -> one frozen dataclass.

joint_embedding.py: one encoder a modality, one shared space.
"""

from sensorium.models.joint_embedding import Embeddings, JointEmbedding

__all__ = ["Embeddings", "JointEmbedding"]
