"""An order of the data in which rare labels are not drowned: an epoch's places, drawn by label.

labels of the rows -> Balanced -> (seed, epoch, length) -> places: what `Run(order=…)` takes
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np


class Balanced:
    """`Run.order` that shows the labels in shares ∝ count^q, in as many places as there are rows.

    Kang et al. 2020 (arXiv:1910.09217, equation 1): q = 0 shows every label as often, q = 1/2 by the root of its
    count, q = 1 as often as it stands there.

    labels: one a row; what is the same is one group. None (no label) keeps its share: those rows come once each
    q:      from 0 to 1

    Within a label every row comes as often as any other, give or take once an epoch; rows of a frequent label that
    an epoch leaves out come in others. Which, and in what order, follows from the seed and the epoch alone.

        Balanced(["cat", "cat", "cat", "dog"])(0, 0, 4)   two places of cats, the dog's twice

    Groups can be anything: `presence` of columns, or whether a row has a label at all.
    Raises ValueError when there is nothing to balance, or q is out of range.
    """

    def __init__(self, labels: Sequence[Hashable], q: float = 0.0) -> None:
        if not 0 <= q <= 1:
            raise ValueError(
                f"q: got {q}; expected a number from 0 (every label as often) to 1 (as they are)"
            )
        self.length, self.q = len(labels), q
        places: dict[Hashable, list[int]] = {}
        for place, label in enumerate(labels):
            places.setdefault(label, []).append(place)
        self.unlabelled = np.array(places.pop(None, []), dtype=np.int64)
        self.groups = {label: np.array(found, dtype=np.int64) for label, found in places.items()}
        if not self.groups:
            raise ValueError(f"labels: got {len(labels)}, none of them known; expected some to balance")

    def shares(self) -> dict[Hashable, int]:
        """Places an epoch gives to each label; they add up to the labelled rows."""
        counts = np.array([len(group) for group in self.groups.values()], dtype=np.float64)
        exact = counts**self.q / (counts**self.q).sum() * counts.sum()
        given = np.floor(exact).astype(np.int64)
        # The largest remainders get what rounding left; ties in the order of appearance.
        for place in np.argsort(given - exact, kind="stable")[: int(counts.sum()) - int(given.sum())]:
            given[place] += 1
        return dict(zip(self.groups, given.tolist()))

    def __call__(self, seed: int, epoch: int, length: int) -> np.ndarray:
        """int64[length]. Raises ValueError when there is not one label a row."""
        if length != self.length:
            raise ValueError(f"labels: got {self.length} for {length} rows; expected one each")
        numbers = np.random.default_rng((seed, epoch))
        drawn = [self.unlabelled]
        for label, share in self.shares().items():
            group = self.groups[label]
            whole, rest = divmod(share, len(group))
            drawn += [group] * whole + [numbers.permutation(group)[:rest]]
        return numbers.permutation(np.concatenate(drawn))


def presence(columns: Sequence[Mapping[str, Any] | Collection[str]]) -> list[str]:
    """The columns that each row has -> one word a row, such as "audio+text": balance by it, and rows of which few
    have a modality are not drowned by those that lack it.
    """
    return ["+".join(sorted(names)) for names in columns]
