"""Token ids one by one -> the text that can already be shown, cut at stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

UNFINISHED = "\ufffd"  # what tokenizers write for bytes that are no whole character yet


class TextPieces:
    """The text of a growing list of token ids, given out in pieces that never have to be taken back.

    Held back are the bytes of unfinished characters, and whatever could become a stop string. A stop string is
    found across tokens, ends the text and is never shown. Special tokens are not shown either.

    ids:     what was added; text: what was given out; stopped: whether a stop string came
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self.tokenizer, self.stop = tokenizer, tuple(stop)
        self.ids: list[int] = []
        self.text = ""
        self.stopped = False
        self._held = ""
        # Tokens are decoded with a few before them, since some tokenizers drop a space at the very beginning:
        # [context:decoded] were given out (or held) last time, [context:] is decoded now.
        self._context, self._decoded = 0, 0

    def add(self, id: int) -> str:
        """What can be shown since the last piece, often nothing."""
        self.ids.append(id)
        return self._given(self._newly_decoded())

    def finish(self) -> str:
        """What was held back, when no token follows."""
        piece = self._given(self._newly_decoded(whole=True))
        if self.stopped:
            return piece
        rest, self._held = self._held, ""
        self.text += rest
        return piece + rest

    def _newly_decoded(self, whole: bool = False) -> str:
        known = self._decode(self.ids[self._context : self._decoded])
        text = self._decode(self.ids[self._context :])
        if text.endswith(UNFINISHED) and not whole:
            return ""
        self._context, self._decoded = self._decoded, len(self.ids)
        return text[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _given(self, fresh: str) -> str:
        if self.stopped:
            return ""
        self._held += fresh
        found = [at for stop in self.stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            piece, self._held = self._held[: min(found)], ""
        else:
            keep = max((_overlap(self._held, stop) for stop in self.stop), default=0)
            cut = len(self._held) - keep
            piece, self._held = self._held[:cut], self._held[cut:]
        self.text += piece
        return piece


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text could be the beginning of a stop string."""
    return next(
        (size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0
    )
