"""What errors and the preflight call a batch."""

import torch

from sensorium.data.sample import Batch
from sensorium.data.tokens import TokenBatch
from sensorium.training import describe


def tokens(names):
    ids = torch.zeros(1, 4, dtype=torch.int64)
    return TokenBatch(ids=ids, targets=ids, positions=ids, attend=None, slots={}, media={}, names=names)


def test_samples_are_named_by_their_ids_and_conversations_by_their_names():
    batch = Batch(("a", "b"), {}, torch.zeros(2, 1, dtype=torch.int64), {})
    assert describe.ids(batch, [3, 4]) == "samples a, b"
    assert describe.ids(tokens(("scene 3 there", "scene 3 name")), [3]) == (
        "items 3 of the data (scene 3 there, scene 3 name)"
    )
    assert describe.ids(tokens(()), [3, 4]) == "items 3, 4 of the data"
    assert describe.ids({"x": torch.zeros(2)}, range(8)) == "items 0, 1, 2, 3, 4, 5 and 2 more of the data"
