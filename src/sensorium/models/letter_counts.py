"""What texts are like, letter by letter: counts of the letters that follow a few others."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from sensorium.models.letter_search import END

START = "\n"  # stands before a text


class LetterCounts:
    """(what is written, the next letter or END) -> its log probability, from counts in some texts.

    With n(h) the letters that followed the history h, t(h) how many different ones, and h' the history without its
    first letter (interpolated by Witten and Bell 1991, method C):

        p(x | h) = (n(h x) + t(h) p(x | h')) / (n(h) + t(h)),   p(x) before anything = 1 / (all letters + END + START)

    order: letters that are looked at, the next one included
    """

    def __init__(self, texts: Sequence[str], order: int = 5) -> None:
        if order < 1:
            raise ValueError(f"order={order}; expected at least 1")
        self.order = order
        self.letters = 2 + len({letter for text in texts for letter in text})
        self.followers: dict[str, Counter[str]] = defaultdict(Counter)
        for text in texts:
            written = START + text
            for place in range(1, len(written) + 1):
                following = written[place] if place < len(written) else END
                for length in range(min(order, place + 1)):
                    self.followers[written[place - length : place]][following] += 1

    def __call__(self, prefix: str, letter: str) -> float:
        written = START + prefix
        p = 1 / self.letters
        for length in range(min(self.order, len(written) + 1)):
            followers = self.followers.get(written[len(written) - length :])
            if followers is None:
                break
            p = (followers[letter] + len(followers) * p) / (followers.total() + len(followers))
        return math.log(p)
