"""Letters of a sound's tokens -> the likeliest texts: a beam search over prefixes.

logits float[T, 1 + C] + what a language is like, letter by letter ──hypotheses──► [Hypothesis], best first
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

END = ""  # the letter that ends a text, as a `Language` is asked for it
UNLIKELY = -7.0  # log probability below which a token is not taken for a letter
NEVER = -math.inf

Language = Callable[[str, str], float]  # (what is written, the next letter or END) -> its log probability
# Prefix -> log p of the ways to it that end in no letter, in its last letter
Ends = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Hypothesis:
    """A text that was perhaps said.

    sound:    log of the probability of all ways to spell it with the tokens, of those that were looked at
    language: log of its probability as a text, its end included; 0 without a `Language`
    """

    text: str
    sound: float
    language: float

    def score(self, weight: float, bonus: float) -> float:
        """log p(text | sound) + weight · log p(text) + bonus · letters (Hannun et al. 2014, equation 2)."""
        return self.sound + weight * self.language + bonus * len(self.text)


def hypotheses(
    logits: Tensor,
    letters: Sequence[str],
    language: Language | None = None,
    weight: float = 0.0,
    bonus: float = 0.0,
    beam: int = 16,
) -> list[Hypothesis]:
    """The likeliest texts, best first, at most `beam`.

    Prefix search (Graves 2012, section 7.5.2, here kept to a beam: Hannun et al. 2014, arXiv:1408.2873, algorithm 1,
    which takes words for letters): after each token those prefixes stay whose score is best.

    logits: float[T, 1 + C], that of no letter first, as `Spelling.logits` has them
    """
    ends: Ends = {"": (0.0, NEVER)}
    texts = {"": 0.0}  # prefix -> its log p as a text
    for row in logits.float().log_softmax(-1).tolist():
        likely = {letter: log for letter, log in zip(letters, row[1:]) if log > UNLIKELY}
        grown = _grown(ends, row[0], likely)
        for prefix in grown:
            if language and prefix not in texts:
                texts[prefix] = texts[prefix[:-1]] + language(prefix[:-1], prefix[-1])
        scores = {
            prefix: _sum(*logs) + weight * texts.get(prefix, 0.0) + bonus * len(prefix)
            for prefix, logs in grown.items()
        }
        ends = {
            prefix: grown[prefix] for prefix in sorted(scores, key=scores.__getitem__, reverse=True)[:beam]
        }
    found = [
        Hypothesis(text, _sum(*logs), texts[text] + language(text, END) if language else 0.0)
        for text, logs in ends.items()
    ]
    return sorted(found, key=lambda one: one.score(weight, bonus), reverse=True)


def _grown(ends: Ends, none: float, likely: Mapping[str, float]) -> Ends:
    """Every prefix that one more token makes: no letter, the last one still, or a new one.

    The same letter once more is new only where no letter stood between: hence the two numbers of a prefix.
    """
    grown: Ends = {}

    def add(prefix: str, without: float, within: float) -> None:
        if max(without, within) > NEVER:
            before = grown.get(prefix, (NEVER, NEVER))
            grown[prefix] = (_sum(before[0], without), _sum(before[1], within))

    for prefix, (without, within) in ends.items():
        both = _sum(without, within)
        add(prefix, both + none, NEVER)
        for letter, log in likely.items():
            if prefix.endswith(letter):
                add(prefix, NEVER, within + log)
                add(prefix + letter, NEVER, without + log)
            else:
                add(prefix + letter, NEVER, both + log)
    return grown


def _sum(a: float, b: float) -> float:
    """log(exp a + exp b)"""
    high, low = max(a, b), min(a, b)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))
