"""`Assistant`: a multimodal language model, ready to be asked about pictures, sounds, clips and states."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Literal, overload

import numpy as np
import torch

from sensorium import speed
from sensorium.backbones.fast_llama import FastLlama
from sensorium.backbones.packed_linear import PRECISIONS
from sensorium.data.conversation import ConversationError
from sensorium.facade.chat import Chat
from sensorium.facade.prompt import Messages, Prompt, PromptReader, Seen
from sensorium.facade.transcribing import transcription
from sensorium.models.decoding import Decoding, decode, stream
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.models.reading import context_of

MEDIA = ("image", "audio", "video", "state")
PROMPTS = {"caption": "Describe the picture.", "transcribe": "Write down what is said."}
OPTIONS = tuple(field.name for field in fields(Decoding))


class Assistant:
    """A trained `MultimodalLM` with its preparation, its prompts and an engine that decodes fast.

        model = sensorium.load("runs/quickstart-lm")
        print(model.ask("What is left of the rocket?", image="scene.png"))
        for piece in model.ask("Tell me more.", image="scene.png", stream=True):
            print(piece, end="", flush=True)

    precision: what the language model computes in: "auto" (bfloat16 where the machine has it, else float32),
               "fp32", "bf16", "int8" or "int4" (`backbones.packed_linear`). Only a Llama on the CPU has all of
               them; other models run as they are
    modalities: what may stand in a conversation
    converses: False for a language model alone that never learnt roles (GPT): it has `complete`, and refuses the rest
    prompts:   sentences for `caption` and `transcribe`; a system sets its own as `model.prompts`

    Options of every method that answers are those of `Decoding`: max_tokens, temperature, top_k, top_p, seed,
    beams, stop. Media are paths, `Source`s or decoded media; a state is a list of numbers.
    """

    def __init__(self, model: MultimodalLM, source: str = "", precision: str = "auto") -> None:
        speed.apply()
        self.model, self.source = model.eval(), source
        self.engine = _engine(model.backbone, precision)
        self.prompts = {**PROMPTS, **model.prompts}
        encoders: Any = model.encoders.values()
        self.modalities: tuple[str, ...] = tuple(
            dict.fromkeys(["text", *(encoder.modality for encoder in encoders)])
        )
        self.converses = bool(len(model.encoders) or model.template or model.backbone.tokenizer.chat_template)
        self._prompt_of = PromptReader(model, self.engine.embed)

    # ---- one question -------------------------------------------------------------------------------------

    @overload
    def ask(self, question: str, *, stream: Literal[False] = False, **given: Any) -> str: ...
    @overload
    def ask(self, question: str, *, stream: Literal[True], **given: Any) -> Iterator[str]: ...

    def ask(
        self,
        question: str,
        *,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        state: Any = None,
        stream: bool = False,
        system: str | None = None,
        **decoding: Any,
    ) -> str | Iterator[str]:
        """The answer, whole or (`stream=True`) in pieces as they are written.

        image, audio, video, state: one, or a list of several; they come before the question, in this order
        system: how the model is to behave, said before the question

        Raises ConversationError, MediaError or DecodingError (all ValueErrors) before the first piece.
        """
        asked = message(question, image=image, audio=audio, video=video, state=state)
        messages = [asked] if system is None else [{"role": "system", "content": system}, asked]
        return self._answered(messages, stream, decoding)

    @overload
    def complete(self, text: str, *, stream: Literal[False] = False, **decoding: Any) -> str: ...
    @overload
    def complete(self, text: str, *, stream: Literal[True], **decoding: Any) -> Iterator[str]: ...

    def complete(self, text: str, *, stream: bool = False, **decoding: Any) -> str | Iterator[str]:
        """What follows a text, whole or in pieces as it is written: no roles, no template.

        Examples in the text show what is asked (Brown et al. 2020): "dog: animal\npizza: food\ncat:".

        Raises ConversationError for a text that leaves no room to write.
        """
        how = self.decoding(**decoding)
        return self._written(self._plain(text), stream, how)

    def caption(self, image: Any, **options: Any) -> str:
        """What a picture shows, asked with the sentence that the model was trained to caption with."""
        return self.ask(self.prompts["caption"], image=image, **options)

    def transcribe(self, audio: Any, **options: Any) -> str:
        """What is said in a recording.

        By a model with a `speller` it is searched, not written word by word; then no option changes it.
        """
        if self.model.speller is None:
            return self.ask(self.prompts["transcribe"], audio=audio, **options)
        self.decoding(**options)  # refuse unknown ones as `ask` does
        return transcription(self.model, audio)

    # ---- conversations ------------------------------------------------------------------------------------

    @overload
    def chat(
        self,
        messages: None = None,
        *,
        system: str | None = None,
        stream: Literal[False] = False,
        **decoding: Any,
    ) -> Chat: ...
    @overload
    def chat(
        self,
        messages: Messages,
        *,
        system: str | None = None,
        stream: Literal[False] = False,
        **decoding: Any,
    ) -> str: ...
    @overload
    def chat(
        self, messages: Messages, *, system: str | None = None, stream: Literal[True], **decoding: Any
    ) -> Iterator[str]: ...

    def chat(
        self,
        messages: Messages | None = None,
        *,
        system: str | None = None,
        stream: bool = False,
        **decoding: Any,
    ) -> Chat | str | Iterator[str]:
        """Without messages a `Chat` that remembers its turns; with them the answer to the last one.

        [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Who?"}]}]
        """
        if messages is None:
            return Chat(self, system, **decoding)
        if system is not None:
            messages = [{"role": "system", "content": system}, *messages]
        return self._answered(messages, stream, decoding)

    def answers(self, conversations: Sequence[Messages], batch_size: int = 8, **decoding: Any) -> list[str]:
        """The answers to many conversations, in their order, from batches of like length.

        Each gets what it would get alone. With a seed, draws depend on the place in a batch.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}; expected at least 1")
        how = self.decoding(**decoding)
        seen: Seen = {}
        self.look(conversations, seen)
        prompts = [self.prompt(messages, seen) for messages in conversations]
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        texts = [""] * len(prompts)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            rows = [prompts[place].embeddings[0] for place in places]
            embeddings = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            lengths = torch.tensor([len(row) for row in rows])
            mask = torch.arange(embeddings.shape[1]) < lengths[:, None]
            for place, text in zip(places, decode(self.engine, embeddings, mask, how).texts):
                texts[place] = text.strip()
        return texts

    # ---- parts --------------------------------------------------------------------------------------------

    def prompt(self, messages: Messages, seen: Seen | None = None) -> Prompt:
        """What the language model reads of a conversation. seen: media that were read before; gains the new ones."""
        if not self.converses:
            raise ConversationError(
                "this language model never learnt to answer, it writes on: complete('…'), or "
                f"sensorium ask {self.source or 'FOLDER'} '…' --complete"
            )
        return self._prompt_of(messages, {} if seen is None else seen)

    def look(self, conversations: Iterable[Messages], seen: Seen) -> None:
        """Read the media of many conversations ahead, in batches; their prompts then find them in `seen`."""
        self._prompt_of.look(conversations, seen)

    def _plain(self, text: str) -> Prompt:
        """A text as the tokenizer reads it. Where one token begins and ends texts (GPT-2), it stands in front."""
        tokenizer: Any = self.model.backbone.tokenizer
        ids = tokenizer(text, verbose=False)["input_ids"]
        first = tokenizer.bos_token_id
        if first is not None and first == tokenizer.eos_token_id and ids[:1] != [first]:
            ids = [first, *ids]
        context = context_of(self.model.backbone)
        if not ids or (context is not None and len(ids) >= context):
            room = "at least one" if context is None else f"1 to {context - 1}"
            raise ConversationError(f"the text has {len(ids)} tokens; expected {room}")
        with torch.no_grad():
            embeddings = self.engine.embed(torch.tensor(ids)).clone()
        return Prompt(embeddings[None], tuple(ids))

    def decoding(self, **options: Any) -> Decoding:
        """Options by name. Raises ValueError that lists them for one that there is not."""
        for name in options:
            if name not in OPTIONS:
                near = difflib.get_close_matches(name, OPTIONS, n=1)
                guess = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"no option {name!r}; there are: {', '.join(OPTIONS)}.{guess}")
        return Decoding(**options)

    def _answered(self, messages: Messages, streamed: bool, options: dict[str, Any]) -> str | Iterator[str]:
        how = self.decoding(**options)
        return self._written(self.prompt(messages), streamed, how)

    def _written(self, prompt: Prompt, streamed: bool, how: Decoding) -> str | Iterator[str]:
        if how.beams > 1:
            text = decode(self.engine, prompt.embeddings, how=how).texts[0].strip()
            return (piece for piece in [text] if piece) if streamed else text
        pieces = stream(self.engine, prompt.embeddings, how)
        return pieces if streamed else "".join(pieces).strip()


def message(text: str, **media: Any) -> dict[str, Any]:
    """A user's message: media by modality, one or a list of each, then the words. Raises ConversationError."""
    if not isinstance(text, str) or not text.strip():
        raise ConversationError("the question is empty; type what you want to know")
    parts = [
        {"type": modality, modality: item}
        for modality in MEDIA
        for item in _several(modality, media.get(modality))
    ]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def _several(modality: str, given: Any) -> list[Any]:
    """None, one medium or a list of them -> a list. A list of numbers is one state."""
    if given is None:
        return []
    if not isinstance(given, list | tuple):
        return [given]
    one_state = modality == "state" and all(isinstance(item, int | float | np.number) for item in given)
    return [given] if one_state else list(given)


def _engine(backbone: Any, precision: str) -> Any:
    """What decodes: a repacked copy where the model is a Llama, else the backbone itself."""
    if precision not in ("auto", *PRECISIONS):
        raise ValueError(f"precision={precision!r}; expected one of auto, {', '.join(PRECISIONS)}")
    fits = FastLlama.fits(backbone)
    if precision == "auto":
        if not fits or not speed.enabled():
            return backbone
        return FastLlama(backbone, "bf16" if speed.inference_dtype("cpu") == torch.bfloat16 else "fp32")
    if not fits:
        raise ValueError(
            f"precision={precision!r} is for Llamas on the CPU, this language model is a "
            f"{backbone.lm.config.model_type!r}; leave it at 'auto'"
        )
    return FastLlama(backbone, precision)
