"""An index that many search while it grows."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image
from tiny_served import COLOURS, picture, png, rows

from sensorium.media import MediaError, Source
from sensorium.serving.indexes import NewRow
from sensorium.serving.served import ServedIndex
from sensorium.serving.settings import Settings


@pytest.fixture
def squares(served) -> ServedIndex:
    return served.index("squares")


def found(squares, **asked) -> list[str]:
    return [hit.id for hit in asyncio.run(squares.search(**asked))]


def test_searches_of_many_are_encoded_in_one_batch(squares):
    before = squares.space.lane.statistics.batches

    async def together() -> list:
        return await asyncio.gather(*(squares.search(text=f"something {name}", top_k=2) for name in COLOURS))

    for name, hits in zip(COLOURS, asyncio.run(together()), strict=True):
        assert {hit.id for hit in hits} == {f"{name}-0", f"{name}-1"}
    assert squares.space.lane.statistics.batches == before + 1


def test_queries_that_share_a_pass_over_the_table_get_their_own_hits(made, tmp_path, monkeypatch):
    squares = made.served(tmp_path / "squares", Settings(wait=0.3)).index()
    passes: list[int] = []
    search_many = squares.index.search_many
    monkeypatch.setattr(
        squares.index, "search_many", lambda *given: (passes.append(len(given[0])), search_many(*given))[1]
    )
    asked = [
        {"text": "red", "top_k": 1},
        {"text": "blue", "top_k": 4},
        {"id": "green-1", "top_k": 2},
        {"text": "red", "top_k": 3, "where": "bright"},
        {"text": "red", "where": "nonsense ="},
        {"text": "grey", "top_k": 2, "where": "bright", "modality": "image"},
    ]
    alone = [squares.index.search(**asked[place]) for place in (0, 1, 3)]
    passes.clear()

    async def together() -> list:
        return await asyncio.gather(*(squares.search(**one) for one in asked), return_exceptions=True)

    red, blue, green, bright, wrong, grey = asyncio.run(together())
    for hits, expected in zip((red, blue, bright), alone, strict=True):
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected])
        assert {hit.id for hit in hits[:2]} <= {hit.id for hit in expected}
    assert green[0].id == "green-0"
    assert len(green) == 2
    assert all(hit.fields["bright"] for hit in [*bright, *grey])
    assert isinstance(wrong, ValueError)
    assert sum(passes) == 6
    assert max(passes) >= 2


def test_queries_of_several_parts_go_in_the_direction_of_their_sum(squares):
    red, blue = (squares.space.space.embed("text", [name])[0] for name in ("red", "blue"))
    both = asyncio.run(squares.search(text="red", vector=(3 * blue).tolist(), top_k=3))
    expected = squares.index.search(vector=red + blue, top_k=3)
    assert [hit.id for hit in both] == [hit.id for hit in expected]
    assert [hit.score for hit in both] == pytest.approx([hit.score for hit in expected])


def test_what_is_near_a_row_is_found_without_it(squares):
    assert found(squares, id="red-0", top_k=1) == ["red-1"]
    assert found(squares, image=picture("red", 0), top_k=2, where="colour <> 'red'")[0].startswith("yellow")
    assert found(squares, text="red", modality="audio") == []


def test_what_cannot_be_searched_says_why(squares):
    for asked, reason in (
        ({"id": "nobody"}, "no such row"),
        ({}, "got no query"),
        ({"vector": [1.0, 2.0]}, r"got shape \(2,\)"),
        ({"text": "red", "where": "colour = "}, "Columns: id"),
        ({"text": "red", "top_k": 0}, "top_k: got 0"),
    ):
        with pytest.raises(ValueError, match=reason):
            asyncio.run(squares.search(**asked))
    with pytest.raises(MediaError):
        asyncio.run(squares.search(image=Source("image", data=b"no picture")))


def test_searches_go_on_while_rows_are_added(squares):
    """The embedding of the rows waits until a search that came after them was answered."""
    seen: list[tuple[int, int]] = []

    async def both() -> tuple:
        loop, searched = asyncio.get_running_loop(), asyncio.Event()
        adding_began = asyncio.Event()

        def progress(done: int, of: int) -> None:
            seen.append((done, of))
            loop.call_soon_threadsafe(adding_began.set)
            asyncio.run_coroutine_threadsafe(searched.wait(), loop).result(10)

        new = [NewRow("image", picture("blue", mark), f"new-{mark}") for mark in range(10, 50)]
        adding = asyncio.create_task(squares.add(new, progress))
        await adding_began.wait()
        hits = await squares.search(text="red", top_k=1)
        assert not adding.done()
        searched.set()
        return hits, await adding

    hits, added = asyncio.run(both())
    assert hits[0].fields["colour"] == "red"
    assert (added.added, added.known, added.bad) == (40, 0, 0)
    assert seen == [(16, 40), (32, 40), (40, 40)]
    assert len(found(squares, text="blue", top_k=100)) == 50


def test_what_is_known_or_broken_is_told_and_left_out(squares):
    new = [
        *rows()[:3],
        NewRow("image", Source("image", data=png("blue")[:60]), "half"),
        NewRow("text", "a poem about something yellow", caption="a poem"),
    ]
    seen = []
    added = asyncio.run(squares.add(new, lambda done, of: seen.append((done, of))))
    assert (added.added, added.known, added.bad) == (1, 3, 1)
    assert list(added.reasons) == ["half"]
    assert seen[-1] == (5, 5)
    [hit] = asyncio.run(squares.search(text="yellow", modality="text"))
    assert hit.caption == "a poem about something yellow"
    assert hit.id.startswith("text-")


def test_rows_that_are_deleted_are_found_no_more(squares):
    assert asyncio.run(squares.delete(["red-0", "nobody"])) == 1
    assert found(squares, text="red", top_k=1) == ["red-1"]
    assert squares.stats()["rows"] == 9
    assert asyncio.run(squares.add(rows()[:1])).added == 1  # it can come back


def test_a_row_shows_its_picture(squares):
    jpeg = squares.thumbnail("blue-1")
    assert np.abs(np.array(Image.open(io.BytesIO(jpeg))).mean((0, 1)) - COLOURS["blue"]).max() < 12
    assert squares.thumbnail("nobody") is None
    assert squares.thumbnail("' OR 1=1 --") is None


def test_only_bytes_can_be_added():
    with pytest.raises(ValueError, match="got a path; expected bytes"):
        NewRow("image", Source("image", path="/etc/passwd"))
