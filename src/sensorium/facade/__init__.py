"""What a user imports: `load()` a checkpoint, then search with it, ask it, or let it predict.

checkpoint folder ──load──► SharedSpace (embed, compare, classify, index) | Assistant (ask, chat, caption, transcribe)
                            | Predictor (predict)
"""

from __future__ import annotations

import os
from pathlib import Path

from sensorium.facade.assistant import Assistant
from sensorium.facade.chat import Chat
from sensorium.facade.predictor import Prediction, Predictor
from sensorium.facade.shared_space import SharedSpace
from sensorium.models.fusion_network import FusionNetwork
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.systems import system_builder
from sensorium.training.checkpoint import load_model

__all__ = [
    "Assistant",
    "Chat",
    "Prediction",
    "Predictor",
    "SharedSpace",
    "load",
    "load_assistant",
    "load_predictor",
    "load_space",
]


def load(checkpoint: str | os.PathLike, precision: str = "auto") -> SharedSpace | Assistant | Predictor:
    """The model in a checkpoint folder, with all that is needed to use it.

    A joint embedding becomes a `SharedSpace`, a multimodal language model an `Assistant`, a fusion network a
    `Predictor`.

    precision: of an Assistant's language model, see there

    Raises ValueError when the folder holds no checkpoint, or names a system that this version does not have.
    """
    model = load_model(Path(checkpoint), system_builder)
    source = str(Path(checkpoint).resolve())
    if isinstance(model, MultimodalLM):
        return Assistant(model, source, precision)
    if isinstance(model, FusionNetwork):
        return Predictor(model, source)
    if not isinstance(model, JointEmbedding):
        raise ValueError(
            f"{checkpoint}: holds a {type(model).__name__}; load() opens joint embeddings, multimodal language models "
            "and fusion networks"
        )
    return SharedSpace(model, source)


# What each is, and what to type for it: for who asks something else of it
_KINDS = {
    SharedSpace: "a joint embedding, which searches. To search with it: sensorium index my-index ~/Pictures --model {}",
    Assistant: "a language model, which answers. To question it: sensorium ask {} 'what is this?' --image x.png",
    Predictor: "a fusion network, which predicts. To let it: sensorium predict {} my/photos --out predictions.csv",
}


def load_space(checkpoint: str | os.PathLike) -> SharedSpace:
    """As `load`, for what searches and compares. Raises ValueError for another kind of model."""
    model = load(checkpoint)
    if not isinstance(model, SharedSpace):
        raise ValueError(f"{_not(checkpoint, model)}. Expected a joint embedding")
    return model


def load_assistant(checkpoint: str | os.PathLike, precision: str = "auto") -> Assistant:
    """As `load`, for what answers questions. Raises ValueError for another kind of model."""
    model = load(checkpoint, precision)
    if not isinstance(model, Assistant):
        raise ValueError(f"{_not(checkpoint, model)}. Expected a multimodal language model")
    return model


def load_predictor(checkpoint: str | os.PathLike) -> Predictor:
    """As `load`, for what answers tasks. Raises ValueError for another kind of model."""
    model = load(checkpoint)
    if not isinstance(model, Predictor):
        raise ValueError(f"{_not(checkpoint, model)}. Expected a fusion network (sensorium train fusion)")
    return model


def _not(checkpoint: str | os.PathLike, model: SharedSpace | Assistant | Predictor) -> str:
    return f"{checkpoint}: holds {_KINDS[type(model)].format(checkpoint)}"
