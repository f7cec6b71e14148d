"""`Chat`: a conversation that goes on, turn by turn, reading only what is new."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

from sensorium.facade.prompt import Prompt, Seen
from sensorium.models.decoding import Decoding, decode, stream

if TYPE_CHECKING:
    from sensorium.facade.assistant import Assistant


class Chat:
    """A conversation with an `Assistant`.

        chat = model.chat()
        print(chat.say("What is on the picture?", image="cat.png"))
        print(chat.say("And what colour is it?"))

    Pictures and sounds are encoded once, and keys and values of what was read stay in a cache: a turn reads what
    is new since the last one. (An encoder-decoder reads everything again: what it has read depends on what
    follows.) A turn that fails leaves the conversation as it was.

    messages: the conversation so far, in the conversation format; a system message may begin it
    """

    def __init__(self, assistant: Assistant, system: str | None = None, **decoding: Any) -> None:
        self.assistant, self.decoding = assistant, decoding
        assistant.decoding(**decoding)  # refuse unknown options now
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self.clear()

    def clear(self) -> None:
        """Begin anew; what the pictures look like is forgotten, too."""
        self.messages: list[dict[str, Any]] = list(self._system)
        self._seen: Seen = {}
        self._cache: Any = None
        self._read: tuple[Hashable, ...] = ()  # what the cache's positions hold

    @overload
    def say(self, text: str, *, stream: Literal[False] = False, **given: Any) -> str: ...
    @overload
    def say(self, text: str, *, stream: Literal[True], **given: Any) -> Iterator[str]: ...

    def say(
        self,
        text: str,
        *,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        state: Any = None,
        stream: bool = False,
        **decoding: Any,
    ) -> str | Iterator[str]:
        """The reply to a message, whole or in pieces as they are written.

        Arguments as in `Assistant.ask`. A stream that is closed early, or stopped by Ctrl-C, leaves in the
        conversation what was given out until then.
        """
        from sensorium.facade.assistant import message

        asked = message(text, image=image, audio=audio, video=video, state=state)
        how = self.assistant.decoding(**{**self.decoding, **decoding})
        prompt = self.assistant.prompt([*self.messages, asked], self._seen)
        pieces = self._answered(asked, prompt, how)
        return pieces if stream else "".join(pieces)

    def _answered(self, asked: dict[str, Any], prompt: Prompt, how: Decoding) -> Generator[str, None, None]:
        given = ""
        try:
            for piece in self._pieces(prompt, how):
                # The space that some models begin with is no part of the answer.
                piece = piece if given else piece.lstrip()
                given += piece
                if piece:
                    yield piece
        except (KeyboardInterrupt, GeneratorExit):
            if given:
                self._keep(asked, given)
            raise
        self._keep(asked, given)

    def _keep(self, asked: dict[str, Any], answer: str) -> None:
        self.messages += [asked, {"role": "assistant", "content": answer.rstrip()}]

    def _pieces(self, prompt: Prompt, how: Decoding) -> Generator[str, None, None]:
        engine = self.assistant.engine
        if how.beams > 1 or engine.kind != "causal":
            if how.beams > 1:
                yield decode(engine, prompt.embeddings, how=how).texts[0]
            else:
                yield from stream(engine, prompt.embeddings, how)
            return
        # Until this turn has ended well nothing is known about the cache: whatever happens in a layer, an
        # interrupted chat reads everything again rather than something wrong.
        cache, known = self._cache, self._read
        self._cache, self._read = None, ()
        if cache is None:
            cache = engine.new_cache()
        shared = _shared(known, prompt.keys)
        if shared < len(known):
            cache.crop(shared - len(known))
        decoded = yield from stream(engine, prompt.embeddings[:, shared:], how, cache)
        written = decoded.ids[0][:-1]  # the last one was not read
        self._cache, self._read = cache, prompt.keys + tuple(written)


def _shared(known: tuple[Hashable, ...], keys: tuple[Hashable, ...]) -> int:
    """How many positions agree from the beginning; the last one is read in any case: it gives the logits."""
    most = min(len(known), len(keys) - 1)
    return next((place for place in range(most) if known[place] != keys[place]), most)
