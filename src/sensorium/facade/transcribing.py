"""What was said: letters that were heard, and the language model's word on which text they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.data.conversation import CONVERSATION, Medium, Renderer, parse
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.sample import Sample
from sensorium.data.tokens import NO_TARGET, TokenBatch
from sensorium.media import Source
from sensorium.models.letter_search import Hypothesis
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.speller import Speller

ASKED = "asked"  # the field whose samples begin alike
AT_ONCE = 64  # texts that are read together


def transcription(model: MultimodalLM, audio: Any) -> str:
    """What is said in one recording: a path, a `Source` or decoded. Raises ConversationError and MediaError."""
    asked = {"role": "user", "content": [{"type": "audio", "audio": audio}]}
    [medium] = parse([asked])[0].parts
    assert isinstance(medium, Medium)
    decoded = medium.media.decode() if isinstance(medium.media, Source) else medium.media
    encoder: Any = model.encoders["audio"]
    with torch.no_grad():
        return transcriptions(model, encoder.encode([decoded]))[0]


def transcriptions(model: MultimodalLM, inputs: Any) -> list[str]:
    """A text for each of B sounds, prepared or as Features, by a model with a `speller`."""
    speller = speller_of(model)
    return chosen(model, [speller.found(logits) for logits in speller.logits(model, inputs)])


def speller_of(model: MultimodalLM) -> Speller:
    """Raises ValueError for a model that has none."""
    if model.speller is None:
        raise ValueError(
            "this model does not spell: build it with letters=…, as `sensorium train speech` does"
        )
    return model.speller


def chosen(model: MultimodalLM, found: Sequence[Sequence[Hypothesis]]) -> list[str]:
    """Of what the first pass found for each sound, the best with the language model's word."""
    texts = sorted({one.text for several in found for one in several})
    words = dict(zip(texts, text_logs(model, texts)))
    return [speller_of(model).best(several, words) for several in found]


def text_logs(model: MultimodalLM, texts: Sequence[str]) -> list[float]:
    """For each text its log probability as the answer to the prompt of a transcription, its end included."""
    collate = ConversationCollator(Renderer(model.backbone.tokenizer, {}, model.template), {}, group=ASKED)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    logs = torch.zeros(len(texts))
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        logs[places] = answer_logs(model, collate([as_answer(model, texts[place]) for place in places]))
    values: list[float] = logs.tolist()
    return values


def as_answer(model: MultimodalLM, text: str) -> Sample:
    """A text as the answer to the prompt of a transcription, without a sound; column "messages"."""
    prompt = model.prompts["transcribe"]
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return Sample(
        id=text, columns={"messages": messages}, modality={"messages": CONVERSATION}, fields={ASKED: prompt}
    )


@torch.no_grad()
def answer_logs(model: MultimodalLM, batch: TokenBatch) -> Tensor:
    """float[n]: for each conversation of a batch the log probability of all that it asks for."""
    assert batch.owners is not None
    where = batch.targets != NO_TARGET
    logs = model.logits(model(batch).hidden[where]).float().log_softmax(-1)
    each = logs.gather(-1, batch.targets[where][:, None])[:, 0]
    return torch.zeros(len(batch.names), device=each.device).index_add(0, batch.owners[where], each).cpu()
