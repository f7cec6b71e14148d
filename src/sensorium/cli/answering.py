"""`sensorium ask` and `sensorium chat`: questions about files, answered in the terminal as they are written."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from sensorium.data.conversation import ConversationError
from sensorium.facade import Assistant, Chat, load_assistant
from sensorium.facade.assistant import message
from sensorium.media import Source, modality_of
from sensorium.models.decoding import Decoding

HELP = """\
  a question                   what was said before is remembered
  a path in the line           as in: what is this? cat.png (quote paths with spaces)
  /image, /audio, /video PATH  attach a file to the next question
  /state 0.1 0.7 …             attach readings
  /clear                       begin a new conversation
  /help                        this
  /quit, or Ctrl-D             leave; Ctrl-C stops an answer"""

# A word of a line: in quotes, or without spaces but for those behind a backslash (as terminals paste them).
WORD = re.compile(r"""(?<!\S)(?:'(?P<single>[^']+)'|"(?P<double>[^"]+)"|(?P<bare>(?:\\.|[^\s\\])+))(?!\S)""")
AFTER = ".,;:!?)"  # may stand behind a path without being part of it
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what could move a terminal's cursor or colours


def ask_once(
    checkpoint: Path, question: str, media: Mapping[str, Any], precision: str, options: Mapping[str, Any]
) -> None:
    """Print the answer as it is written. Raises ValueError for what cannot be asked."""
    message(question)  # these two are refused before a model is opened
    Decoding(**options)
    assistant = load_assistant(checkpoint, precision)
    _print_pieces(assistant.ask(question, stream=True, **media, **options))


def complete_once(
    checkpoint: Path, text: str, given: Sequence[str], precision: str, options: Mapping[str, Any]
) -> None:
    """Print what follows a text. given: what else was asked for, which a text cannot have (ValueError)."""
    if given:
        raise ConversationError(f"--complete writes on from words alone; got --{', --'.join(given)} too")
    Decoding(**options)
    _print_pieces(load_assistant(checkpoint, precision).complete(text, stream=True, **options))


def chat_loop(checkpoint: Path, precision: str, options: Mapping[str, Any]) -> None:
    """Read questions from the terminal, or lines from a pipe, until they end."""
    talking = sys.stdin.isatty()
    if talking:
        print(f"opening {checkpoint} …", flush=True)
    assistant = load_assistant(checkpoint, precision)
    if not assistant.converses:
        raise ConversationError(
            f"{checkpoint}: holds a language model that never learnt to answer, it writes on: sensorium ask "
            f"{checkpoint} 'cat:' --complete"
        )
    session = Session(assistant, options)
    if talking:
        import readline  # noqa: F401  # gives `input` a history and keys to edit with

        print(
            f"It takes {', '.join(assistant.modalities)}. Ask something; /help says what else can be typed.\n"
        )
    while True:
        try:
            line = input("you: " if talking else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            print("\n(/quit or Ctrl-D leaves)")
            continue
        try:
            if not session.handle(line):
                break
        except KeyboardInterrupt:
            print(" … stopped")
        except (ValueError, OSError) as error:
            print(f"sensorium: {error}", file=sys.stderr, flush=True)
        if talking:
            print()
    if talking:
        print("bye")


class Session:
    """A `Chat` driven by lines, and the media that wait for the next question."""

    def __init__(self, assistant: Assistant, options: Mapping[str, Any]) -> None:
        self.assistant = assistant
        self.chat: Chat = assistant.chat(**options)
        self.waiting: dict[str, list[Any]] = {}

    def handle(self, line: str) -> bool:
        """Carry out one line; False ends the session. Raises ValueError, and then nothing has changed."""
        line = line.strip()
        command, _, rest = line.partition(" ")
        if command in ("/quit", "/exit"):
            return False
        if command == "/help":
            print(HELP)
        elif command == "/clear":
            self.chat.clear()
            self.waiting = {}
            print("(a new conversation)")
        elif command == "/state":
            self._taken("state", "/state")
            self._attach({"state": [_numbers(rest)]})
        elif command in ("/image", "/audio", "/video"):
            self._attach({command[1:]: [self._checked(command[1:], _unquoted(rest))]})
        elif re.fullmatch(r"/\w+", command) and not Path(command).exists():
            raise ConversationError(
                f"no command {command}; there are /image, /audio, /video, /state, /clear, /help, /quit"
            )
        elif line:
            self._say(line)
        return True

    def _say(self, line: str) -> None:
        words, found = split_paths(line)
        media: dict[str, list[Any]] = {}
        for path in found:
            modality = modality_of(path) or ""
            media.setdefault(modality, []).append(self._checked(modality, path))
        if not words:
            self._attach(media)
            return
        given = _together(self.waiting, media)
        _print_pieces(self.chat.say(words, stream=True, **given))
        self.waiting = {}

    def _attach(self, media: Mapping[str, list[Any]]) -> None:
        self.waiting = _together(self.waiting, media)
        names = [str(item) for items in self.waiting.values() for item in items]
        print(f"(with the next question: {', '.join(names)})")

    def _checked(self, modality: str, path: Path) -> Path:
        """The path, once it is known that the file can be read and the model takes it."""
        self._taken(modality, str(path))
        Source(modality, path).decode()
        return path

    def _taken(self, modality: str, what: str) -> None:
        if modality not in self.assistant.modalities:
            known = ", ".join(self.assistant.modalities)
            raise ConversationError(f"{what}: this model has no encoder for {modality}; it takes {known}")


def split_paths(line: str) -> tuple[str, list[Path]]:
    """A line -> its words, and the media files that it names.

    A word is a file when its name ends like a picture, sound or clip and it exists. Raises ConversationError for
    one that names a folder too and does not exist.
    """
    found: list[Path] = []

    def taken(match: re.Match[str]) -> str:
        quoted = match["single"] or match["double"]
        for text, after in _candidates(quoted, match["bare"]):
            path = _unquoted(text)
            if modality_of(path) in (None, "text"):
                continue
            if path.is_file():
                found.append(path)
                return after
            if len(path.parts) > 1 and "://" not in text:
                raise ConversationError(f"{path}: there is no such file")
        return match[0]

    words = WORD.sub(taken, line)
    return " ".join(re.sub(r"\s+([.,;:!?)])", r"\1", words).split()), found


def _candidates(quoted: str | None, bare: str | None) -> Iterator[tuple[str, str]]:
    """What of a word could be a path, and what would stay behind it."""
    if quoted is not None:
        yield quoted, ""
        return
    assert bare is not None
    yield bare, ""
    shorter = bare.rstrip(AFTER)
    if shorter not in ("", bare):  # a sign that stands alone is no path
        yield shorter, bare[len(shorter) :]


def _unquoted(text: str) -> Path:
    """A path as it was typed, pasted or dropped."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if not text:
        raise ConversationError("a path is missing, as in: /image photo.png")
    if text.startswith("file://"):
        return Path(unquote(urlparse(text).path))
    if not Path(text).expanduser().exists():
        text = re.sub(r"\\(.)", r"\1", text)
    return Path(text).expanduser()


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.replace(",", " ").split()] or [float("")]
    except ValueError as error:
        raise ConversationError(f"/state: got {text!r}; expected numbers, as in: /state 0.1 0.7") from error


def _together(*media: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for one in media for name in one)
    return {name: [item for one in media for item in one.get(name, [])] for name in names}


def _print_pieces(pieces: Iterator[str]) -> None:
    column = 0
    try:
        for piece in pieces:
            # An answer is text, whatever bytes a model strings together.
            print(CONTROL.sub("", piece), end="", flush=True)
            column += len(piece)
    finally:
        pieces.close()  # type: ignore[attr-defined]  # a generator: what was given out stays in the chat
    print("" if column else "(nothing)", flush=True)
