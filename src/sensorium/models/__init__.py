"""Families of models, each put together from built parts: batch -> one frozen dataclass.

joint_embedding.py: one encoder a modality, one shared space. zero_shot.py: labels by their words alone.
prompt_learning.py: the same labels, in prompts that are learned (CoOp).
masked_autoencoder.py: what was hidden of a picture, from the rest. view_contrast.py: two views of one picture.
"""

from sensorium.models.joint_embedding import Embeddings, JointEmbedding
from sensorium.models.zero_shot import ZeroShotClassifier

__all__ = ["Embeddings", "JointEmbedding", "ZeroShotClassifier"]
