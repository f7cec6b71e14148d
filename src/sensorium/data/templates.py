"""Chat templates taken apart: which tokens and texts they write around the messages, and what is to be learnt.

roles + Jinja template -> atoms (Special token | Literal text | Content of a turn)
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# For language models that never learnt roles (GPT-2, OPT): a message a line, answers end the text.
PLAIN = (
    "{% for message in messages %}{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '\\n' }}{% endfor %}"
)
# For encoder-decoders (T5): what is read ends as their tokenizers end it, and so does every answer.
READ_AND_ANSWER = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' or (loop.last and add_generation_prompt) %}{{ eos_token }}"
    "{% elif not loop.last and loop.nextitem['role'] == 'assistant' %}{{ eos_token }}"
    "{% else %} {% endif %}{% endfor %}"
)


class Unfit(ValueError):
    """A template that refuses or drops messages, or text that no tokenizer call keeps plain."""


REMEMBERED = 1024  # orders of roles whose atoms are kept
PAD = "\u2003"  # white space that no template writes; gone when a template trims its messages


@dataclass(frozen=True)
class Special:
    """A special token that the template writes."""

    id: int
    supervised: bool


@dataclass(frozen=True)
class Literal:
    """Text that the template writes."""

    text: str
    supervised: bool


@dataclass(frozen=True)
class Content:
    """The place of a turn's content. stripped: the template trims white space around it."""

    turn: int
    stripped: bool


Atom = Special | Literal | Content


class Template:
    """A tokenizer's chat template, or another, rendered once for each sequence of roles.

    Raises Unfit, in `atoms`, for roles that the template refuses or contents that it drops.
    """

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        self.tokenizer = tokenizer
        own = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
        self.source = template or own or PLAIN
        # A template writes the beginning token itself; where there is none, it is written as the tokenizer does.
        begins = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
        self._bos = tokenizer.bos_token if begins and self.source == PLAIN else ""
        self.added = {token.content: (id, token) for id, token in tokenizer.added_tokens_decoder.items()}
        self._special = _any_of(self.added)
        # What content must not spell: special tokens, and added ones that the template writes. Words that
        # were added to a vocabulary are words.
        control = {
            spelled: id
            for spelled, (id, token) in self.added.items()
            if token.special or spelled in self.source
        }
        self._control = _any_of(control)
        unknown = tokenizer.unk_token_id if tokenizer.unk_token_id != tokenizer.eos_token_id else None
        self._control_ids = set(control.values()) - {unknown}
        self._newline = self._encode("\n")
        self._prefixes = self._encode("\na") != self._newline + self._encode("a")
        self._atoms: dict[tuple[tuple[str, ...], bool], tuple[Atom, ...]] = {}

    def atoms(self, roles: tuple[str, ...], generation: bool = False) -> tuple[Atom, ...]:
        """What is written for messages of these roles, in order."""
        key = (roles, generation)
        if key not in self._atoms:
            if len(self._atoms) >= REMEMBERED:
                self._atoms.clear()
            self._atoms[key] = self._taken_apart(roles, generation)
        return self._atoms[key]

    def plain_ids(self, text: str, continued: bool) -> list[int]:
        """Token ids of text in which nothing is a special token. Raises Unfit if that cannot be had."""
        ids: list[int] = []
        # The spelling of a special token is broken after its first letter: neither half is one.
        for piece in _broken(text, self._control):
            ids += self._continued(piece) if continued or ids else self._encode(piece)
        if forged := self._control_ids.intersection(ids):
            names = self.tokenizer.convert_ids_to_tokens(sorted(forged))
            raise Unfit(f"the text {text[:60]!r} spells the special tokens {names}; leave them out")
        return ids

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _continued(self, text: str) -> list[int]:
        """As in the middle of a text: SentencePiece would begin one with a space."""
        if not self._prefixes:
            return self._encode(text)
        ids = self._encode(f"\n{text}")
        return ids[len(self._newline) :] if ids[: len(self._newline)] == self._newline else self._encode(text)

    def _render(self, roles: tuple[str, ...], generation: bool) -> str:
        from jinja2 import TemplateError

        messages = [
            {"role": role, "content": f"{PAD}{_stand_in(turn)}{PAD}"} for turn, role in enumerate(roles)
        ]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=self.source, tokenize=False, add_generation_prompt=generation
            )
        except TemplateError as error:
            raise Unfit(f"the tokenizer's template refuses {', '.join(roles)}: {error}") from error
        return self._bos + str(text)

    def _taken_apart(self, roles: tuple[str, ...], generation: bool) -> tuple[Atom, ...]:
        text = self._render(roles, generation)
        places: list[tuple[int, int]] = []
        for turn, role in enumerate(roles):
            found = [match.span() for match in re.finditer(f"{PAD}?{_stand_in(turn)}{PAD}?", text)]
            if len(found) != 1 or (places and found[0][0] < places[-1][1]):
                raise Unfit(
                    f"the tokenizer's template writes message {turn + 1} ({role}) {len(found)} times or out "
                    "of order; expected once: pass another template"
                )
            places += found
        answers = [self._answer(roles, turn, text, places) for turn in _answered(roles)]
        atoms: list[Atom] = []
        at = 0
        for turn, (start, end) in enumerate(places):
            atoms += self._literals(text, at, start, answers)
            atoms.append(Content(turn, stripped=text[start] != PAD))
            at = end
        return tuple(atoms + self._literals(text, at, len(text), answers))

    def _answer(
        self, roles: tuple[str, ...], turn: int, text: str, places: list[tuple[int, int]]
    ) -> tuple[int, int]:
        """From where to where an assistant turn is the model's to write, in characters."""
        start, end = places[turn]
        if turn:
            try:
                prompt = self._render(roles[:turn], generation=True)
            except Unfit:  # a template may refuse what only half a conversation is
                prompt = ""
            if prompt and len(prompt) <= start and text.startswith(prompt):
                start = max(len(prompt), places[turn - 1][1])
        following = re.compile(rf"\s*{self._special.pattern}").match(text, end)
        return start, following.end() if following and following.group(1) else end

    def _literals(self, text: str, start: int, end: int, answers: list[tuple[int, int]]) -> list[Atom]:
        """text[start:end] as special tokens and runs of text, none of which is supervised in part."""
        cuts = sorted({start, end, *(at for answer in answers for at in answer if start < at < end)})
        atoms: list[Atom] = []
        for low, high in itertools.pairwise(cuts):
            supervised = any(first <= low and high <= last for first, last in answers)
            pieces = self._special.split(text[low:high])
            for number, piece in enumerate(pieces):
                if number % 2:
                    atoms.append(Special(self.added[piece][0], supervised))
                    continue
                # Some special tokens take the white space beside them with them.
                if number and self.added[pieces[number - 1]][1].rstrip:
                    piece = piece.lstrip()
                if number + 1 < len(pieces) and self.added[pieces[number + 1]][1].lstrip:
                    piece = piece.rstrip()
                if piece:
                    atoms.append(Literal(piece, supervised))
        return atoms


def _stand_in(turn: int) -> str:
    """The word that stands for a turn's content; private characters, so that no template writes it."""
    return f"\ue0f0{turn}\ue0f1"


def _any_of(spelled: Iterable[str]) -> re.Pattern[str]:
    """Matches any of these, the longest first, in a group."""
    longest_first = sorted(filter(None, spelled), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def _answered(roles: tuple[str, ...]) -> list[int]:
    return [turn for turn, role in enumerate(roles) if role == "assistant"]


def _broken(text: str, special: re.Pattern[str]) -> list[str]:
    """Text cut inside every special token that is spelled out in it."""
    pieces, at = [], 0
    for match in special.finditer(text):
        pieces.append(text[at : match.start() + 1])
        at = match.start() + 1
    return [piece for piece in (*pieces, text[at:]) if piece]
