"""Filters that callers may write, those that they may not, and both before a real index."""

import numpy as np
import pytest

from sensorium.data.sample import Sample
from sensorium.retrieval.index import Index
from sensorium.serving.filters import DEPTH, LONGEST, TESTS, VALUES, checked_filter
from sensorium.serving.refused import Refused


class OneVector:
    modalities, width, identity, source = ("text",), 4, "one", ""

    def embed(self, modality, media, progress=False):
        return np.ones((len(media), 4), np.float32)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    index = Index.create(tmp_path_factory.mktemp("filters") / "index", OneVector())
    rows = [
        {
            "split": ("train", "test")[n % 2],
            "year": 1990 + n,
            "Good": n < 5,
            "tags": ["a", f"t{n}"],
            "share": n / 10,
        }
        for n in range(10)
    ]
    index.add(
        [Sample(str(n), {"media": f"it's {n}"}, {"media": "text"}, fields=f) for n, f in enumerate(rows)]
    )
    return index


def found(index, where):
    hits = index.search(vector=np.ones(4), where=checked_filter(where), top_k=100)
    return "".join(sorted(hit.id for hit in hits))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("split = 'test'", "13579"),
        ("split='test'and year>=1995", "579"),
        ("split <> 'test' AND NOT year BETWEEN 1991 AND 1996", "08"),
        ("year not between 1991 and 1999 or id in ('3', '4')", "034"),
        ("id NOT IN ('0','1','2')", "3456789"),
        ("caption LIKE 'it''s 7'", "7"),
        ("caption NOT LIKE '%s%'", ""),
        ("(year < 1992 OR year > 1997) AND (split = 'test')", "19"),
        ("`Good`", "01234"),
        ("NOT `Good` AND share <= .7", "567"),
        ("`Good` IS TRUE AND share > -1.5e-3", "01234"),
        ("`Good` = false", "56789"),
        ("split IS NULL", ""),
        ("split IS NOT NULL AND year != 1990", "123456789"),
        ("array_has(tags, 't3')", "3"),
        ("modality = 'text'", "0123456789"),
        ("id = ' '';--'", ""),
        ("upper(split) = 'TEST' AND LENGTH(caption) = 6 and lower(caption) LIKE 'it%7'", "7"),
    ],
)
def test_what_may_be_said_means_what_it_says(index, where, ids):
    assert found(index, where) == ids


REFUSED = {
    "a function that takes all memory": "length(repeat(id, 100000000)) > 0",
    "another": "length(lpad(id, 2000000000, 'x')) > 0",
    "a range": "array_has(range(0, 2000000000), 1)",
    "a sum that overflows the stack": "+".join(["1"] * 3000) + " > 1",
    "a chain that does": "||".join(["id"] * 3000) + " = 'x'",
    "arithmetic": "year / 0 > 1",
    "a pattern": "regexp_like(caption, '(x{1000}){1000}')",
    "another's operator": "caption ~ '(a*)*b'",
    "brackets that close too much": "id = 'x') OR (1 = 1",
    "a comment": "id = 'x' -- and so on",
    "a second statement": "id = 'x'; DROP TABLE rows",
    "a query": "id IN (SELECT id FROM rows)",
    "no column": "1 = 1",
    "two columns": "id = caption",
    "a place": "vector[0] > 0",
    "a file": "read_csv('/etc/passwd') = 'x'",
    "an open quote": "id = 'x",
    "half a pair": "id = '\ud800'",
    "a NUL": "id = '\0'",
    "a long number": "year > 99999999999999999999999",
    "a large one": "share > 1e999",
    "nothing": "",
    "white space": "  \n",
    "an end": "id = 'x' AND",
    "a bracket": "(id = 'x'",
    "a word": "id IS",
    "a NOT": "id NOT 'x'",
    "an empty IN": "id IN ()",
    "other letters": "naïve = 1",
    "a backtick": "`a b` = 1",
    "too long": "id = '" + LONGEST * "x" + "'",
    "too many comparisons": " OR ".join(["year > 1"] * (TESTS + 1)),
    "too deep": (DEPTH + 1) * "(" + "year > 1" + (DEPTH + 1) * ")",
    "too many NOTs": 1000 * "NOT " + "year > 1",
    "too many values": "year IN (" + ",".join(["1"] * (VALUES + 1)) + ")",
    "a call of a call": "lower(lower(id)) = 'x'",
    "a call of a value": "lower('x') = id",
    "a type": "CAST(year AS text) = '1'",
    "an interval": "year > INTERVAL '1 day'",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_not_be_said(kind):
    with pytest.raises(Refused) as caught:
        checked_filter(REFUSED[kind])
    assert caught.value.status == 400
    assert len(str(caught.value)) < 300


def test_the_most_that_may_be_said_is_still_read(index):
    assert len(found(index, " OR ".join(["year > 1"] * TESTS))) == 10
    assert len(found(index, DEPTH * "(" + "year > 1" + DEPTH * ")")) == 10
    assert len(found(index, "year IN (" + ",".join(["1990"] * VALUES) + ")")) == 1


MISFITS = [
    "nowhere = 1", "year LIKE 'x'", "split > 1e5", "year = 'x'", "tags = 'a'", "array_has(year, 1)", "split", "good",
    "key = 'x'", "thumbnail = 'x'", "vector = 1", "year = 1.5", "`Good` > 3", "lower(year) = 'x'", "length(tags) > 1",
    "year BETWEEN 'a' AND 2", "id IN (1, TRUE, 'x')", "array_has(tags, 1)", "array_has(nowhere, 1)",
]  # fmt: skip


def test_what_fits_the_grammar_and_not_the_columns_is_a_value_error(index):
    refused = []
    for where in MISFITS:
        try:
            found(index, where)  # some do fit: texts are compared with numbers as texts
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > len(MISFITS) // 2
    assert not any(".rs:" in said for said in refused)
