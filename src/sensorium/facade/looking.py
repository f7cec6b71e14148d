"""Where an answer looked: what becomes of its probability when parts of a picture or a sound are hidden.

conversation, answer ──► the answer's log-probability with each spot hidden ──► Look: nats lost, by spot and by word

Hiding says what the answer was due to (Zeiler & Fergus 2014, section 4.2, there of pixels and a class), which
attention does not (Jain & Wallace 2019). `METHODS` has both and the gradient; what each tells is measured in
docs/page.md on scenes whose boxes are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.facade.assistant import Assistant
from sensorium.facade.prompt import Messages, Prompt
from sensorium.projectors.prefix import PrefixProjector
from sensorium.projectors.qformer import QFormer
from sensorium.projectors.resampler import PerceiverResampler

METHODS = ("hide", "gradient", "attention")
ASKING = (PrefixProjector, QFormer, PerceiverResampler)  # their tokens stand for no place
AROUND = 1  # a spot is hidden with the neighbours so far away: one cell alone is guessed from those beside it
STRETCHES = 24  # of a sound
LONGEST = 64  # words of an answer that are looked at: later ones look where earlier ones did


class CannotLook(ValueError):
    """A conversation, an answer or a model with which there is nothing to look at."""


@dataclass(frozen=True, eq=False)
class Look:
    """Where an answer looked in one medium.

    name:     of the encoder that read the medium; modality: of it
    number:   which of the conversation's media it is, from 0
    words:    of the answer
    lost:     float[W, h, w] of a picture (rows from the top), float[W, T] of a sound: for "hide" the nats that each
              word's log-probability loses when the spot is hidden (negative: it gains); for other methods what
              they give, in no unit
    seen:     float[W], each word's log-probability
    blind:    float[W], the same with the whole medium hidden
    """

    name: str
    modality: str
    number: int
    words: tuple[str, ...]
    lost: np.ndarray
    seen: np.ndarray
    blind: np.ndarray

    def heat(self, word: int | None = None) -> np.ndarray:
        """Shares of the loss, float[h, w] or float[T], from 0; they sum to 1, or to 0 where nothing is lost.

        word: of which the loss is; None: the whole answer's
        """
        lost = self.lost.sum(0) if word is None else self.lost[word]
        kept = np.clip(lost, 0, None)
        return kept / max(float(kept.sum()), 1e-12)


def look(assistant: Assistant, messages: Messages, answer: str, method: str = "hide") -> list[Look]:
    """Where an answer looked, a Look a picture and a sound of the conversation whose tokens stand for places.

    messages: up to and with the question
    answer:   what was answered, or what might have been

    "hide" costs about as many readings of question and answer as a picture has tokens. Raises CannotLook when there
    is nothing to look at, ConversationError and MediaError as `Assistant.chat`.
    """
    if method not in METHODS:
        raise CannotLook(f"method={method!r}; expected one of {', '.join(METHODS)}")
    causal = assistant.engine.kind == "causal"
    if method == "attention" and not causal:
        raise CannotLook(
            'method="attention" is for decoder-only language models; expected "hide" or "gradient"'
        )
    prompt = assistant.prompt(messages)
    words, of_token, ids = _words(assistant.engine.tokenizer, answer)
    looks = []
    for number, (name, positions) in enumerate(_media(prompt)):
        encoder: Any = assistant.model.encoders[name]
        projector: Any = assistant.model.projectors[name]
        if encoder.modality not in ("image", "audio"):
            continue
        if any(isinstance(part, ASKING) for part in projector.modules()):
            continue
        shape, spots = _spots(encoder.modality, positions)
        seen, hidden = _hidden(
            assistant, prompt, ids, [*spots, positions] if method == "hide" else [positions]
        )
        if method == "hide":
            lost = (seen - hidden[:-1]).T
        else:
            each = (_gradient if method == "gradient" else _attention)(assistant, prompt, ids)
            lost = np.stack([each[:, spot[len(spot) // 2]] for spot in spots], 1)
            if encoder.modality == "image":
                lost = each[:, positions]
        gathered = _gathered(lost, of_token, len(words))
        looks.append(
            Look(
                name,
                encoder.modality,
                number,
                words,
                gathered.reshape(len(words), *shape),
                _gathered(seen[:, None], of_token, len(words))[:, 0],
                _gathered(hidden[-1][:, None], of_token, len(words))[:, 0],
            )
        )
    if not looks:
        raise CannotLook(
            "no picture and no sound in this conversation whose tokens stand for places; expected one of them before "
            "the question, and a model whose connector keeps places (not a Q-Former, a resampler or a prefix)"
        )
    return looks


def _words(tokenizer: Any, answer: str) -> tuple[tuple[str, ...], list[int], Tensor]:
    """An answer's words, the word that each of its tokens belongs to, and the tokens, int64[A]."""
    encoded = tokenizer(answer.strip(), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, spans, owners = encoded["input_ids"], encoded["offset_mapping"], encoded.word_ids()
    words: list[str] = []
    of_token: list[int] = []
    for _, tokens in groupby(range(len(ids)), key=lambda n: owners[n]):
        own = list(tokens)
        if len(words) == LONGEST:
            break
        of_token += [len(words)] * len(own)
        words.append(answer.strip()[spans[own[0]][0] : spans[own[-1]][1]].strip())
    if not words:
        raise CannotLook("the answer is empty; expected words")
    return tuple(words), of_token, torch.tensor(ids[: len(of_token)])


def _media(prompt: Prompt) -> list[tuple[str, list[int]]]:
    """The encoder's name and the positions of each medium, in reading order."""
    media: list[tuple[str, list[int]]] = []
    before: tuple[str, int] | None = None
    for position, key in enumerate(prompt.keys):
        if isinstance(key, tuple):
            whose, place = key
            if before is None or before[0] != whose or place != before[1] + 1:
                media.append((str(whose).split(" ")[0], []))
            media[-1][1].append(position)
            before = (whose, place)
        else:
            before = None
    return media


def _spots(modality: str, positions: Sequence[int]) -> tuple[tuple[int, ...], list[list[int]]]:
    """The shape of what is looked at, and the positions that are hidden for each place of it."""
    T = len(positions)
    side = math.isqrt(T)
    if modality == "image" and side**2 == T:
        cells = [divmod(n, side) for n in range(T)]
        return (side, side), [
            [
                positions[row * side + column]
                for row, column in cells
                if max(abs(row - at_row), abs(column - at_column)) <= AROUND
            ]
            for at_row, at_column in cells
        ]
    number = min(T, STRETCHES)
    edges = np.linspace(0, T, number + 1).round().astype(int)
    return (number,), [
        [positions[t] for t in range(edges[max(0, n - AROUND)], edges[min(number, n + 1 + AROUND)])]
        for n in range(number)
    ]


# ---- hiding -----------------------------------------------------------------------------------------------


@torch.no_grad()
def _hidden(
    assistant: Assistant, prompt: Prompt, ids: Tensor, spots: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of the answer's tokens: float[A] as it is, float[S, A] with each of the spots hidden.

    Hidden is hidden from the words after the medium: their attention does not go there. What the encoder, and in the
    language model the medium's own later tokens, took over from the spot stays: hence `AROUND`. (Hiding it from those
    tokens, too, found no more, for three times the time.)
    """
    engine = assistant.engine
    B, P = 1 + len(spots), len(prompt)
    if engine.kind == "encoder_decoder":
        attend = torch.ones(B, P, dtype=torch.bool)
        for row, spot in enumerate(spots, 1):
            attend[row, list(spot)] = False
        before = torch.cat([torch.tensor([engine.start_id]), ids[:-1]])
        hidden = engine(prompt.embeddings.expand(B, -1, -1), attend, before.expand(B, -1))
    else:
        start = 1 + max(max(spot) for spot in spots)  # what stands before is read once for all of them
        whole = torch.cat([prompt.embeddings[0], engine.embed(ids[:-1]).to(prompt.embeddings.dtype)])
        L = len(whole)
        cache = engine.new_cache()
        engine(whole[None, :start].contiguous(), cache=cache)
        cache.batch_select_indices(torch.zeros(B, dtype=torch.long))
        attend = torch.ones(L, L, dtype=torch.bool).tril()[start:].repeat(B, 1, 1)
        for row, spot in enumerate(spots, 1):
            attend[row][:, list(spot)] = False
        positions = torch.arange(start, L).expand(B, -1)
        hidden = engine(whole[None, start:].expand(B, -1, -1).contiguous(), attend, positions, cache)
        hidden = hidden[:, P - 1 - start :].contiguous()
    chosen = _chosen(engine.logits(hidden), ids).numpy()
    return chosen[0], chosen[1:]


def _chosen(logits: Tensor, ids: Tensor) -> Tensor:
    """float[B, A, V], int64[A] -> float[B, A], the tokens' log-probabilities."""
    spread = logits.float().log_softmax(-1)
    return spread.gather(-1, ids.expand(len(spread), -1)[..., None])[..., 0]


# ---- the other two ----------------------------------------------------------------------------------------


def _gradient(assistant: Assistant, prompt: Prompt, ids: Tensor) -> np.ndarray:
    """float[A, P]: how steeply each token's log-probability answers to each position's embedding, the norm."""
    backbone: Any = assistant.model.backbone
    read = prompt.embeddings.to(next(backbone.lm.parameters()).dtype).clone().requires_grad_(True)
    if backbone.kind == "encoder_decoder":
        before = torch.cat([torch.tensor([backbone.start_id]), ids[:-1]])
        hidden = backbone(read, None, before[None])
    else:
        hidden = backbone(torch.cat([read, backbone.embed(ids[:-1])[None]], 1))[:, len(prompt) - 1 :]
    chosen = _chosen(backbone.logits(hidden.contiguous()), ids)[0]
    norms = [
        torch.autograd.grad(one, read, retain_graph=True)[0][0].float().norm(dim=-1).numpy() for one in chosen
    ]
    return np.stack(norms)


@torch.no_grad()
def _attention(assistant: Assistant, prompt: Prompt, ids: Tensor) -> np.ndarray:
    """float[A, P]: attention from where each token is decided, the mean over heads and the upper half of layers."""
    lm: Any = assistant.model.backbone.lm
    embedded = assistant.model.backbone.embed(ids[:-1])[None]
    whole = torch.cat([prompt.embeddings.to(embedded.dtype), embedded], 1)
    usual = lm.config._attn_implementation
    lm.set_attn_implementation("eager")  # the only one that says what it weighed
    try:
        layers = lm.base_model(inputs_embeds=whole, output_attentions=True, use_cache=False).attentions
    finally:
        lm.set_attn_implementation(usual)
    upper = torch.stack(layers[len(layers) // 2 :])[:, 0].float().mean((0, 1))
    return upper[len(prompt) - 1 :, : len(prompt)].numpy()


def _gathered(of_tokens: np.ndarray, of_token: Sequence[int], words: int) -> np.ndarray:
    """float[A, N] -> float[W, N], summed over each word's tokens: their log-probabilities add up."""
    gathered = np.zeros((words, of_tokens.shape[1]), np.float64)
    np.add.at(gathered, np.asarray(of_token), of_tokens)
    return gathered
