import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tables

SCHEMA = pa.schema(
    [("name", pa.string()), ("words", pa.map_(pa.string(), pa.string())), ("image", pa.binary())]
)
ROWS = [{"name": f"n{n}", "words": {"en": "one", "fr": "un"}, "image": bytes([n] * 50)} for n in range(10)]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: tables.write(ROWS, SCHEMA, path, rows_a_group=4, media=True),
        lambda path: tables.write(ROWS, SCHEMA, path, rows_a_group=4),
        lambda path: tables.write_mixed(ROWS, SCHEMA, path, rows_a_group=4, media="image"),
    ],
)
def test_a_table_comes_out_the_same_twice_and_as_it_went_in(tmp_path, write):
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    write(one)
    write(two)
    assert one.read_bytes() == two.read_bytes()
    assert [{**row, "words": dict(row["words"])} for row in pq.read_table(one).to_pylist()] == ROWS
    assert pq.ParquetFile(one).num_row_groups == 3


def test_mixed_tables_compress_words_and_leave_media(tmp_path):
    tables.write_mixed(ROWS, SCHEMA, tmp_path / "t.parquet", rows_a_group=10, media="image")
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    codecs = {group.column(n).path_in_schema: group.column(n).compression for n in range(group.num_columns)}
    assert codecs.pop("image") == "UNCOMPRESSED"
    assert set(codecs.values()) == {"ZSTD"}


def test_splits_depend_on_the_key_alone():
    # The first eight bytes of sha256("emoji:1f600"), worked out with sha256sum.
    assert tables.fraction_hash("emoji:1f600") == 0xE51EAF2B75483EF5
    assert {tables.fraction_hash(f"k{n}") % 10 for n in range(100)} == set(range(10))


def test_check_tells_what_changed(tmp_path):
    tables.write(ROWS, SCHEMA, tmp_path / "a.parquet", rows_a_group=4)
    tables.write(ROWS[:3], SCHEMA, tmp_path / "b.parquet", rows_a_group=4)
    assert tables.check(tmp_path) == [f"{tmp_path / tables.SUMS}: missing"]
    tables.record(tmp_path)
    assert tables.check(tmp_path) == []
    (tmp_path / "a.parquet").write_bytes(b"other")
    (tmp_path / "b.parquet").rename(tmp_path / "c.parquet")
    wrong = tables.check(tmp_path)
    assert len(wrong) == 3
    assert wrong[0] == f"{tmp_path / 'c.parquet'}: not in {tables.SUMS}"
    assert wrong[1].startswith(f"{tmp_path / 'a.parquet'}: got sha256 ")
    assert wrong[2] == f"{tmp_path / 'b.parquet'}: missing"
    with pytest.raises(SystemExit):
        tables.report_check(tmp_path)


@pytest.mark.parametrize("name", ["emoji", "stamps"])
def test_the_bundled_files_are_the_recorded_ones(name):
    assert tables.check(tables.DATASETS / name) == []
