"""What a user imports: `load()` a checkpoint, then search with it or ask it.

checkpoint folder ──load──► SharedSpace (embed, compare, classify, index) | Assistant (ask, chat, caption, transcribe)
"""

from __future__ import annotations

import os
from pathlib import Path

from sensorium.facade.assistant import Assistant
from sensorium.facade.chat import Chat
from sensorium.facade.shared_space import SharedSpace
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.systems import system_builder
from sensorium.training.checkpoint import load_model

__all__ = ["Assistant", "Chat", "SharedSpace", "load", "load_assistant", "load_space"]


def load(checkpoint: str | os.PathLike, precision: str = "auto") -> SharedSpace | Assistant:
    """The model in a checkpoint folder, with all that is needed to use it.

    A joint embedding becomes a `SharedSpace`, a multimodal language model an `Assistant`.

    precision: of an Assistant's language model, see there

    Raises ValueError when the folder holds no checkpoint, or names a system that this version does not have.
    """
    model = load_model(Path(checkpoint), system_builder)
    source = str(Path(checkpoint).resolve())
    if isinstance(model, MultimodalLM):
        return Assistant(model, source, precision)
    if not isinstance(model, JointEmbedding):
        raise ValueError(
            f"{checkpoint}: holds a {type(model).__name__}; load() opens joint embeddings and multimodal "
            "language models"
        )
    return SharedSpace(model, source)


def load_space(checkpoint: str | os.PathLike) -> SharedSpace:
    """As `load`, for what searches and compares. Raises ValueError for a model that answers instead."""
    model = load(checkpoint)
    if not isinstance(model, SharedSpace):
        raise ValueError(
            f"{checkpoint}: holds a language model, which has no vectors to compare; expected a joint embedding. "
            f"To question it: sensorium ask {checkpoint} 'what is this?' --image x.png"
        )
    return model


def load_assistant(checkpoint: str | os.PathLike, precision: str = "auto") -> Assistant:
    """As `load`, for what answers. Raises ValueError for a model that searches instead."""
    model = load(checkpoint, precision)
    if not isinstance(model, Assistant):
        raise ValueError(
            f"{checkpoint}: holds a joint embedding, which searches and answers nothing; expected a multimodal "
            f"language model. To search with it: sensorium index my-index ~/Pictures --model {checkpoint}"
        )
    return model
