"""A small language model that hears: letters from Whisper's frames, two by two, and its word on what they say.

    audio float32[T] ──► Whisper's encoder (frozen) ──► 50 tokens/s ──► 2 side by side ──► MLP ──► 25 tokens/s ──┐
                                                                                                                 ▼
    words ────────────────────────────► SmolLM2's embedding table ───────────────────────► SmolLM2-135M + LoRA ──► words

The composition is SLAM-ASR's (Ma et al. 2024, arXiv:2402.08846, section 3): a speech encoder, stacked frames, a
two-layer connector, a language model. They stack five frames; with two, a token is no longer than a letter is
spoken, so that the connector can first be taught to spell (`objectives.spelling`). Ours are the parts: Whisper tiny.en,
which has heard English only, and SmolLM2-135M with LoRA.

With `letters`, what is transcribed is searched among what the connector's tokens spell (`models.speller`):

    25 tokens/s ──► logits of letters ──► beam search with counts of letters ──► 16 texts ──► log p by SmolLM2 ──► one

There the language model judges texts and does not read the connector's tokens: of a few hundred clips to learn from
it learns the texts by heart instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sensorium.backbones.causal import CausalBackbone
from sensorium.encoders.audio import WhisperEncoder
from sensorium.models.letter_counts import LetterCounts
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.speller import Speller, Weights
from sensorium.objectives.spelling import Spelling, letter_vectors
from sensorium.projectors import Chain, FrameStacking, MlpProjector
from sensorium.systems.smol_llava import TEMPLATE

PROMPTS = {"transcribe": "Write down what is said."}
# Least CER of 187 French clips of things that neither connector nor language model was trained on (folds 2 and 3).
WEIGHTS = Weights(counts=0.4, words=0.1, bonus=1.5)


def smol_listener(
    stacked: int = 2,
    hidden: int = 576,
    rank: int = 8,
    letters: str = "",
    texts: Sequence[str] = (),
    dropout: float = 0.0,
) -> MultimodalLM:
    """The system with pretrained encoder and language model, and an untrained connector.

    stacked: frames of 20 ms that make one token
    hidden:  width of the MLP's middle
    rank:    of LoRA; 0: the language model stays as it is
    letters: that a token may be; with them the model transcribes by searching (`Speller`), without it writes
    texts:   what is said of other things: whose letters are counted for that search
    dropout: in front of LoRA, in training
    """
    encoder = WhisperEncoder.pretrained().freeze()
    # In bfloat16 on every machine, and in blocks, for the reasons given in smol_llava.
    backbone = CausalBackbone.pretrained(dtype=torch.bfloat16).attend_in_blocks()
    backbone.lm.requires_grad_(False)
    if rank:
        backbone.add_lora(rank=rank, alpha=2.0 * rank, dropout=dropout)
    frames = FrameStacking(encoder.width, stacked)
    mlp = MlpProjector(nn.Linear(frames.width, hidden), nn.Linear(hidden, backbone.width))
    speller = None
    if letters:
        spelling = Spelling(letter_vectors(backbone, letters))
        speller = Speller(spelling, letters, LetterCounts(texts), WEIGHTS)
    return MultimodalLM(
        {"audio": encoder}, {"audio": Chain(frames, mlp)}, backbone, PROMPTS, TEMPLATE, speller
    )
