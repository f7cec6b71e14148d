"""Parts of an index, on one that was made by hand."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from sensorium.retrieval.part import choices, part_of


class Table:
    """As much of an `Index` as `part` reads."""

    def __init__(self, folder, rows: int) -> None:
        vectors = np.arange(2 * rows, dtype=np.float32)
        columns = {
            "id": pa.array([f"thing {n}" for n in range(rows)]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), 2),
            "split": pa.array(["train" if n % 3 else "test" for n in range(rows)]),
            "year": pa.array([1990 + n % 2 if n else None for n in range(rows)], pa.int64()),
            "one": pa.array(["same"] * rows),
            "name": pa.array([f"name {n}" for n in range(rows)]),
            "weight": pa.array([float(n) for n in range(rows)]),
        }
        self._table = lancedb.connect(folder).create_table("rows", pa.table(columns))

    def __len__(self) -> int:
        return self._table.count_rows()


@pytest.fixture
def table(tmp_path) -> Table:
    return Table(tmp_path, 90)


def test_a_part_is_whole_rows_in_order_and_the_same_each_time(table):
    part = part_of(table, ["id", "vector"], 20)
    numbers = [int(id.split()[1]) for id in part["id"]]
    assert len(set(numbers)) == 20
    assert numbers == sorted(numbers)
    np.testing.assert_array_equal(np.stack(part["vector"]), [[2 * n, 2 * n + 1] for n in numbers])
    assert part_of(table, ["id"], 20)["id"] == part["id"]
    assert part_of(table, ["id"], 20, seed=1)["id"] != part["id"]


def test_a_small_index_is_its_own_part(table, tmp_path):
    assert part_of(table, ["id"], 1000)["id"] == [f"thing {n}" for n in range(90)]
    assert part_of(Table(tmp_path / "empty", 0), ["id", "vector"], 5) == {"id": [], "vector": []}


def test_choices_are_columns_of_few_different_values(table):
    # Not: ids, one value only, 90 different names, numbers that are measured rather than chosen.
    assert choices(table) == {"split": ["test", "train"], "year": [1990, 1991]}
