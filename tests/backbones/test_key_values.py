"""Rows and positions of `KeyValues` come and go as in a list of lists."""

import random

import pytest
import torch

from sensorium.backbones.key_values import KeyValues

LAYERS, HEADS, CHANNELS = 2, 2, 3


def numbered(rows: int, positions: int, first: int) -> torch.Tensor:
    """float32[2, rows, heads, positions, channels], in each place the number of its row and of its position."""
    places = torch.arange(first, first + rows)[:, None] * 1000 + torch.arange(positions)
    return places[None, :, None, :, None].expand(2, -1, HEADS, -1, CHANNELS).float()


def read(cache: KeyValues, values: torch.Tensor) -> None:
    with torch.inference_mode():
        cache.make_room(values.shape[1], HEADS, values.shape[3], CHANNELS)
        for layer in range(LAYERS):
            keys, _ = cache.write(layer, values + layer)
            assert keys.shape == (values.shape[1], HEADS, cache.length + values.shape[3], CHANNELS)
    cache.length += values.shape[3]


def held(cache: KeyValues, layer: int) -> list[list[float]]:
    """What a layer remembers, a list a row; keys and values, heads and channels are all alike."""
    window = cache._windows()[layer]
    assert bool((window == window[:1, :, :1, :, :1]).all())
    return window[0, :, 0, :, 0].tolist()


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_changes_is_as_in_lists(seed):
    chance = random.Random(seed)
    cache, rows, made = KeyValues(LAYERS), [], 0
    for _ in range(60):
        if not rows or chance.random() < 0.3:  # some join
            number, positions = chance.randint(1, 3), chance.randint(1, 40)
            fresh = numbered(number, positions, made)
            made += number
            lists = fresh[0, :, 0, :, 0].tolist()
            if not rows:
                cache, rows = KeyValues(LAYERS), lists
                read(cache, fresh)
                continue
            longest = max(len(rows[0]), positions)
            cache.move(longest - len(rows[0]))
            more = cache.room_behind(number, positions)
            read(more, fresh)
            cache.take_in(more)
            rows = [[None] * (longest - len(row)) + row for row in rows + lists]
        elif chance.random() < 0.4:  # some leave: the last take their places, or all keep their order
            stay = sorted(chance.sample(range(len(rows)), chance.randint(1, len(rows))))
            if chance.random() < 0.5:
                last = [row for row in stay if row >= len(stay)]
                stay = [row if row in stay else last.pop() for row in range(len(stay))]
            cache.batch_select_indices(torch.tensor(stay))
            rows = [rows[row] for row in stay]
        elif chance.random() < 0.2 and len(rows[0]) > 1:  # positions are dropped on a side
            cut = chance.randint(1, len(rows[0]) - 1)
            if chance.random() < 0.5:
                cache.move(-cut)
                rows = [row[cut:] for row in rows]
            else:
                cache.crop(-cut)
                rows = [row[:-cut] for row in rows]
        else:  # all read on
            fresh = numbered(len(rows), chance.choice([1, 1, 1, 200]), made)
            read(cache, fresh)
            made += len(rows)
            rows = [row + more for row, more in zip(rows, fresh[0, :, 0, :, 0].tolist())]
        for layer in range(LAYERS):
            wanted = [[0.0 if n is None else n + layer for n in row] for row in rows]
            assert held(cache, layer) == wanted
        assert cache.get_seq_length() == len(rows[0])


def test_rows_that_take_the_places_of_others_move_nothing_else():
    cache = KeyValues(LAYERS)
    read(cache, numbered(4, 5, 0))
    places = [buffer.data_ptr() for buffer in cache.buffers]
    cache.batch_select_indices(torch.tensor([0, 3, 2]))
    more = cache.room_behind(1, 5)
    read(more, numbered(1, 5, 9))
    cache.take_in(more)
    cache.move(-2)
    cache.move(1)
    assert [buffer.data_ptr() for buffer in cache.buffers] == places
    assert held(cache, 0) == [[0, row * 1000 + 2, row * 1000 + 3, row * 1000 + 4] for row in (0, 3, 2, 9)]


def test_what_stands_before_the_positions_of_rows_that_join_is_zeros():
    cache = KeyValues(LAYERS)
    read(cache, numbered(2, 5, 0))
    cache.batch_select_indices(torch.tensor([0]))
    with torch.inference_mode():
        for buffer in cache.buffers:
            buffer[:, 1] = torch.nan  # as memory that nobody has written
    more = cache.room_behind(1, 2)
    read(more, numbered(1, 2, 9))
    cache.take_in(more)
    assert held(cache, 1) == [[1, 2, 3, 4, 5], [0, 0, 0, 9001, 9002]]


def test_rows_that_were_only_given_room_change_nothing():
    cache = KeyValues(LAYERS)
    read(cache, numbered(1, 3, 0))
    cache.room_behind(4, 2)
    assert held(cache, 0) == [[0, 1, 2]]


def test_a_row_may_stand_many_times():
    cache = KeyValues(LAYERS)
    read(cache, numbered(1, 3, 7))
    cache.batch_select_indices(torch.zeros(4, dtype=torch.long))
    assert held(cache, 1) == [[7001, 7002, 7003]] * 4


def test_room_that_was_dropped_is_used_again():
    cache = KeyValues(LAYERS)
    read(cache, numbered(1, 200, 0))
    for _ in range(20):
        cache.move(-100)
        read(cache, numbered(1, 100, 1))
    assert cache.buffers[0].shape[3] == 512
