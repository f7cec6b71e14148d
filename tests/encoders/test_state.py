"""States become tokens: one, or one for each object."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sensorium.encoders.state import StateEncoder

SCHEMA = ("a.x", "a.y", "b.x", "b.y", "goal.x", "goal.y", "goal.open", "time")
STATES = [np.arange(8, dtype=np.float32) / 10, np.linspace(-1, 1, 8, dtype=np.float32)]


def mlp(layers, numbers):
    return layers[2](F.gelu(layers[0](numbers)))


def test_one_token_is_the_mlp_of_all_numbers():
    encoder = StateEncoder(SCHEMA, 16)
    got = encoder.encode(STATES, dtype=torch.float32)
    with torch.no_grad():
        want = mlp(encoder.layers["0"], torch.tensor(np.stack(STATES))) + encoder.slots[0]
    torch.testing.assert_close(got.tokens, want[:, None])
    torch.testing.assert_close(got.pooled, want)
    assert got.mask.tolist() == [[True], [True]]


def test_a_token_for_each_object_reads_its_own_numbers():
    encoder = StateEncoder(SCHEMA, 16, by_object=True)
    assert encoder.objects == ("a", "b", "goal", "time")
    assert set(encoder.layers) == {"0", "2", "3"}  # a and b are alike
    got = encoder.encode(STATES, dtype=torch.float32).tokens
    rows = torch.tensor(np.stack(STATES))
    places = {"a": (0, 2, "0"), "b": (2, 4, "0"), "goal": (4, 7, "2"), "time": (7, 8, "3")}
    with torch.no_grad():
        for slot, (start, end, layers) in enumerate(places.values()):
            want = mlp(encoder.layers[layers], rows[:, start:end]) + encoder.slots[slot]
            torch.testing.assert_close(got[:, slot], want)
    moved = [state.copy() for state in STATES]
    for state in moved:
        state[2] += 1.0  # b.x
    changed = (encoder.encode(moved, dtype=torch.float32).tokens - got).abs().amax(-1) > 1e-4
    assert changed.tolist() == [[False, True, False, False]] * 2


def test_other_numbers_are_refused_by_name():
    encoder = StateEncoder(SCHEMA, 16)
    with pytest.raises(
        ValueError, match=r"state 1 of the batch: got \[7\] numbers; expected 8: a\.x, a\.y, b\.x … "
    ):
        encoder.prepare([STATES[0], STATES[1][:7]])
    broken = STATES[0].copy()
    broken[5] = np.nan
    with pytest.raises(ValueError, match=r"state 0 of the batch: goal\.y is nan"):
        encoder.prepare([broken])
    with pytest.raises(ValueError, match=r"got a\.x, a\.x; expected different names"):
        StateEncoder(("a.x", "a.x"), 16)
    with pytest.raises(ValueError, match="got the objects a, b, a; expected the names of each object beside"):
        StateEncoder(("a.x", "b.x", "a.y"), 16, by_object=True)


def test_schemas_are_part_of_the_identity():
    torch.manual_seed(0)
    one = StateEncoder(("x", "y"), 8)
    other = StateEncoder(("x", "z"), 8)
    other.load_state_dict(one.state_dict())
    assert one.identity != other.identity
    assert one.preparation != other.preparation
