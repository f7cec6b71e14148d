"""`RemoteChat`: a conversation with a served language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sensorium.client.content import parts_of

if TYPE_CHECKING:
    from sensorium.client.remote import Client


class RemoteChat:
    """A conversation with a served language model, as `facade.Chat`; a turn that fails leaves it as it was."""

    def __init__(
        self, client: Client, system: str | None, model: str | None, decoding: Mapping[str, Any]
    ) -> None:
        self.client, self.model, self.decoding = client, model, decoding
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.messages: list[dict[str, Any]] = list(self._system)

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
    ) -> Any:
        """The reply, whole or in pieces. A stream that is closed early leaves what was given out until then."""
        asked = {
            "role": "user",
            "content": parts_of(text, image=image, audio=audio, video=video, state=state),
        }
        options = {**self.decoding, **decoding, "model": self.model}
        pieces = self._answered(asked, options)
        return pieces if stream else "".join(pieces)

    def _answered(self, asked: dict[str, Any], options: Mapping[str, Any]) -> Iterator[str]:
        given = ""
        try:
            for piece in self.client.chat([*self.messages, asked], stream=True, **options):
                given += piece
                yield piece
        except (KeyboardInterrupt, GeneratorExit):
            if given:
                self._keep(asked, given)
            raise
        self._keep(asked, given)

    def _keep(self, asked: dict[str, Any], answer: str) -> None:
        self.messages += [asked, {"role": "assistant", "content": answer}]
