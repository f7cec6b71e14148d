"""Filters on an index's columns, as a caller may write them: comparisons of columns with values, and no more.

"split = 'test' AND year > 2000" ──► taken apart ──► written anew, for the index

The index understands all the SQL of its data base, functions and arithmetic included. From strangers that is too much:
`repeat(id, 100000000)` takes all memory there is, and a sum of fifty thousand terms overflows the stack of the
process. What this grammar cannot say does not reach the index:

    filter  = term { OR term };   term = factor { AND factor }
    factor  = NOT factor | "(" filter ")" | test
    test    = one [= != <> < <= > >=] value | one [NOT] IN "(" value { "," value } ")"
            | one [NOT] LIKE text | one [NOT] BETWEEN value AND value
            | one IS [NOT] (NULL | TRUE | FALSE) | array_has "(" column "," value ")" | one
    one     = column | (lower | upper | length) "(" column ")"
    column  = letters, digits and _, in backticks where it has capitals;   value = 'text' | number | TRUE | FALSE
"""

from __future__ import annotations

import re

from sensorium.serving.refused import Refused

LONGEST = 10_000  # characters of a filter
TESTS = 100  # comparisons in it
DEPTH = 20  # brackets and NOTs within each other
VALUES = 500  # of one IN

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^']|'')*')
    | (?P<number>-?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][+-]?\d{1,2})?)(?![\w.])
    | (?P<word>[A-Za-z_]\w*|`[A-Za-z_]\w*`)
    | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,)
    )""",
    re.VERBOSE | re.ASCII,
)
_COMPARISONS = ("=", "!=", "<>", "<", "<=", ">", ">=")
_FUNCTIONS = ("lower", "upper", "length")
_RESERVED = ("AND", "OR", "NOT", "IN", "LIKE", "BETWEEN", "IS", "NULL", "TRUE", "FALSE")
EXAMPLE = "split = 'test' AND (year > 2000 OR NOT caption LIKE '%cat%')"


def checked_filter(where: str, param: str = "where") -> str:
    """The filter in SQL that means the same. Raises `Refused` (400) for all that the grammar above does not have."""
    if not isinstance(where, str) or len(where) > LONGEST:
        got = f"{len(where):,} characters" if isinstance(where, str) else type(where).__name__
        raise Refused(
            400, f"got {got}; expected a filter of at most {LONGEST:,} characters: {EXAMPLE}", param
        )
    return _Reading(_tokens(where, param), param).whole()


def _tokens(where: str, param: str) -> list[tuple[str, str]]:
    tokens, place, end = [], 0, len(where.rstrip())
    while place < end:
        found = _TOKEN.match(where, place)
        if found is None:
            raise Refused(
                400,
                f"cannot read {where[place : place + 20].strip()!r} in the filter; as in: {EXAMPLE}",
                param,
            )
        kind = found.lastgroup or ""
        text = found[kind]
        if kind == "text" and ("\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)):
            raise Refused(400, "got a text in the filter with a character that is none", param)
        if kind == "word" and text.upper() in _RESERVED:
            kind, text = "key", text.upper()
        tokens.append((kind, text))
        place = found.end()
    return tokens


class _Reading:
    """Tokens that are taken one by one; each method writes what it took as SQL."""

    def __init__(self, tokens: list[tuple[str, str]], param: str) -> None:
        self.tokens, self.param = tokens, param
        self.place = self.tests = 0

    def whole(self) -> str:
        sql = self.any_of(0)
        if self.place < len(self.tokens):
            raise self.unfit("AND, OR or the end")
        return sql

    def any_of(self, depth: int) -> str:
        terms = [self.all_of(depth)]
        while self.takes("OR"):
            terms.append(self.all_of(depth))
        return " OR ".join(terms)

    def all_of(self, depth: int) -> str:
        factors = [self.factor(depth)]
        while self.takes("AND"):
            factors.append(self.factor(depth))
        return " AND ".join(factors)

    def factor(self, depth: int) -> str:
        if depth > DEPTH:
            raise Refused(400, f"got brackets or NOTs more than {DEPTH} deep in the filter", self.param)
        if self.takes("NOT"):
            return f"NOT {self.factor(depth + 1)}"
        if self.takes("("):
            inner = self.any_of(depth + 1)
            self.must(")")
            return f"({inner})"
        return self.test()

    def test(self) -> str:
        self.tests += 1
        if self.tests > TESTS:
            raise Refused(400, f"got more than {TESTS} comparisons in the filter", self.param)
        column = self.column()
        if column.lower() == "array_has" and self.takes("("):
            column = self.column()
            self.must(",")
            value = self.value()
            self.must(")")
            return f"array_has({column}, {value})"
        if column.lower() in _FUNCTIONS and self.takes("("):
            column = f"{column}({self.column()})"
            self.must(")")
        for sign in _COMPARISONS:
            if self.takes(sign):
                return f"{column} {sign} {self.value()}"
        if self.takes("IS"):
            negated = " NOT" if self.takes("NOT") else ""
            what = next((key for key in ("NULL", "TRUE", "FALSE") if self.takes(key)), None)
            if what is None:
                raise self.unfit("NULL, TRUE or FALSE")
            return f"{column} IS{negated} {what}"
        negated = " NOT" if self.takes("NOT") else ""
        if self.takes("IN"):
            return f"{column}{negated} IN ({', '.join(self.values())})"
        if self.takes("LIKE"):
            return f"{column}{negated} LIKE {self.value(text=True)}"
        if self.takes("BETWEEN"):
            low = self.value()
            self.must("AND")
            return f"{column}{negated} BETWEEN {low} AND {self.value()}"
        if negated:
            raise self.unfit("IN, LIKE or BETWEEN")
        return column

    def column(self) -> str:
        kind, text = self.next()
        if kind != "word":
            raise self.unfit("a column", back=1)
        return text

    def value(self, text: bool = False) -> str:
        kind, found = self.next()
        if not (kind == "text" or (not text and (kind == "number" or found in ("TRUE", "FALSE")))):
            raise self.unfit(
                "a text in single quotes" if text else "a text in single quotes or a number", back=1
            )
        return found

    def values(self) -> list[str]:
        self.must("(")
        found = [self.value()]
        while self.takes(","):
            found.append(self.value())
        self.must(")")
        if len(found) > VALUES:
            raise Refused(400, f"got {len(found)} values of one IN; expected at most {VALUES}", self.param)
        return found

    def takes(self, wanted: str) -> bool:
        """Whether the next token is this keyword or sign, which then is taken."""
        here = self.place < len(self.tokens) and self.tokens[self.place] in (
            ("key", wanted),
            ("sign", wanted),
        )
        self.place += here
        return here

    def must(self, wanted: str) -> None:
        if not self.takes(wanted):
            raise self.unfit(wanted)

    def next(self) -> tuple[str, str]:
        self.place += 1
        return self.tokens[self.place - 1] if self.place <= len(self.tokens) else ("", "")

    def unfit(self, wanted: str, back: int = 0) -> Refused:
        place = self.place - back
        got = repr(self.tokens[place][1][:40]) if place < len(self.tokens) else "the end"
        return Refused(
            400, f"got {got} in the filter where {wanted} was expected; as in: {EXAMPLE}", self.param
        )
