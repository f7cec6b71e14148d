"""What a user imports: `load()` a checkpoint, then search with it, ask it, or let it predict.

checkpoint folder ──load──► SharedSpace (embed, compare, classify, index) | Captioner (that, caption, match)
                            | Matcher (compare, caption, match) | Predictor (predict)
                            | Assistant (ask, chat, caption, transcribe, complete)
"""

from __future__ import annotations

import os
from pathlib import Path

from torch import nn

from sensorium.encoders.text import TransformersTextEncoder
from sensorium.facade.assistant import Assistant
from sensorium.facade.chat import Chat
from sensorium.facade.describing import Captioner, Matcher
from sensorium.facade.predictor import Prediction, Predictor
from sensorium.facade.shared_space import SharedSpace
from sensorium.models.encoder_decoder import EncoderDecoder
from sensorium.models.fusion_network import FusionNetwork
from sensorium.models.image_text_qformer import ImageTextQFormer
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.masked_autoencoder import MaskedAutoencoder
from sensorium.models.masked_video import MaskedVideo
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.prompt_learning import PromptLearning
from sensorium.models.view_contrast import ViewContrast
from sensorium.systems import system_builder
from sensorium.systems.bert import Bert
from sensorium.training.checkpoint import load_model

__all__ = [
    "Assistant",
    "Captioner",
    "Chat",
    "Loaded",
    "Matcher",
    "Prediction",
    "Predictor",
    "SharedSpace",
    "load",
    "load_assistant",
    "load_predictor",
    "load_space",
]

Loaded = SharedSpace | Matcher | Predictor | Assistant


def load(checkpoint: str | os.PathLike, precision: str = "auto") -> Loaded:
    """The model in a checkpoint folder, with all that is needed to use it.

    | what was trained | what it becomes |
    | --- | --- |
    | a joint embedding (CLIP, SigLIP, CLAP, VideoPrism …) | `SharedSpace` |
    | an encoder (MAE, SimCLR, BERT, VideoPrism's stage 2) | `SharedSpace` of its modality, without heads or decoder |
    | BLIP | `Captioner`, which is a `SharedSpace` too |
    | BLIP-2's stage 1 | `Matcher` |
    | a fusion network, a ViT, a classifier, learned prompts | `Predictor`; a ViT's `space()` is its encoder |
    | a language model, with or without senses | `Assistant`; GPT, which never learnt roles, has `complete` |

    precision: of an Assistant's language model, see there

    Raises ValueError when the folder holds no checkpoint, or names a system that this version does not have.
    """
    model = load_model(Path(checkpoint), system_builder)
    source = str(Path(checkpoint).resolve())
    if isinstance(model, MultimodalLM):
        return Assistant(model, source, precision)
    if isinstance(model, FusionNetwork | PromptLearning):
        return Predictor(model, source)
    if isinstance(model, EncoderDecoder):
        return Captioner(model, source)
    if isinstance(model, ImageTextQFormer):
        return Matcher(model, source)
    return SharedSpace(model if isinstance(model, JointEmbedding) else kept(model), source)


def kept(model: nn.Module) -> JointEmbedding:
    """What stays of a pretrained encoder when its heads, decoder or teacher are dropped: a space of one modality.

    Raises ValueError for another kind of model.
    """
    if isinstance(model, MaskedAutoencoder):
        return JointEmbedding({model.column: model.encoder}).eval()
    if isinstance(model, ViewContrast):
        return JointEmbedding({model.encoder.modality: model.encoder}).eval()
    if isinstance(model, MaskedVideo):
        return JointEmbedding({model.column: model.student}).eval()
    if isinstance(model, Bert):
        # Its own pooled vector was trained to tell whether texts follow each other; the mean of the tokens is what the
        # recipe's probes read.
        bert = model.encoder
        text = TransformersTextEncoder(bert.model, bert.tokenizer, bert.limit, pooling="mean")
        return JointEmbedding({text.modality: text}).eval()
    raise ValueError(f"got a {type(model).__name__}, which load() does not know how to use")


def load_space(checkpoint: str | os.PathLike) -> SharedSpace:
    """As `load`, for what searches and compares; of a ViT, its encoder. Raises ValueError for another kind of model."""
    model = load(checkpoint)
    space = model.space() if isinstance(model, Predictor) else model
    if not isinstance(space, SharedSpace):
        raise ValueError(f"{_holds(checkpoint, model)}. Expected an encoder or a joint embedding")
    return space


def load_assistant(checkpoint: str | os.PathLike, precision: str = "auto") -> Assistant:
    """As `load`, for what answers questions. Raises ValueError for another kind of model."""
    model = load(checkpoint, precision)
    if not isinstance(model, Assistant):
        raise ValueError(f"{_holds(checkpoint, model)}. Expected a multimodal language model")
    return model


def load_predictor(checkpoint: str | os.PathLike) -> Predictor:
    """As `load`, for what answers tasks. Raises ValueError for another kind of model."""
    model = load(checkpoint)
    if not isinstance(model, Predictor):
        raise ValueError(f"{_holds(checkpoint, model)}. Expected a fusion network (sensorium train fusion)")
    return model


def _holds(checkpoint: str | os.PathLike, model: Loaded) -> str:
    """What a checkpoint is, and what to type for it: for who asked something else of it."""
    if isinstance(model, Assistant):
        what = "a language model, which answers" if model.converses else "a language model, which writes on"
        question = "'what is this?' --image x.png" if model.converses else "'cat:' --complete"
        todo = f"question it: sensorium ask {checkpoint} {question}"
    elif isinstance(model, Predictor):
        what = "a fusion network, which predicts"
        todo = f"let it: sensorium predict {checkpoint} my/photos --out predictions.csv"
    elif isinstance(model, Matcher):
        what = "BLIP-2's first stage: a picture is several vectors, which no index holds"
        todo = f"compare with it: sensorium.load({str(checkpoint)!r}).similarity(['x.png'], ['a cat'])"
    else:
        [modality, *others] = model.column_of
        what = "a joint embedding, which searches" if others else f"an encoder of {modality}, which searches"
        todo = f"search with it: sensorium index my-index ~/Pictures --model {checkpoint}"
        if isinstance(model, Captioner):
            what = "a BLIP, which searches, matches and captions"
            todo = f"caption with it: sensorium.load({str(checkpoint)!r}).caption('x.png')"
    return f"{checkpoint}: holds {what}. To {todo}"
