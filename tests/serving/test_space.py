"""A joint embedding that many ask at once: one batch, each their own vectors, and bad media nobody else's matter."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tiny_served import COLOURS, picture, png, wav

from sensorium.media import MediaError, Source
from sensorium.serving import opening
from sensorium.serving.settings import Settings
from sensorium.serving.space import ServedSpace


@pytest.fixture
def colours(made) -> ServedSpace:
    return ServedSpace("colours", made.space)


def test_requests_of_every_modality_get_their_own_vectors_out_of_one_batch(colours, made):
    asked = [
        ("image", [picture("red"), picture("blue", 7)]),
        ("text", ["a red and a green thing"]),
        ("audio", [Source("audio", data=wav(200))]),
        ("text", ["grey", "yellow", "no colour"]),
        ("image", [picture("green", 1)]),
    ]
    encoder = made.space.model.encoders["image"]
    encoder.batches.clear()

    async def together() -> list[np.ndarray]:
        return await asyncio.gather(*(colours.embed(modality, items) for modality, items in asked))

    found = asyncio.run(together())
    assert encoder.batches == [3]
    assert (colours.lane.statistics.batches, colours.lane.statistics.rows) == (1, 8)
    for (modality, items), vectors in zip(asked, found, strict=True):
        np.testing.assert_allclose(vectors, made.space.embed(modality, items), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_media_that_cannot_be_decoded_fail_their_own_request(colours, made):
    broken = Source("image", data=png("red")[:60], name="the second picture")

    async def together() -> list:
        return await asyncio.gather(
            colours.embed("image", [picture("red"), broken]),
            colours.embed("image", [picture("blue")]),
            return_exceptions=True,
        )

    bad, good = asyncio.run(together())
    assert isinstance(bad, MediaError)
    assert "the second picture" in str(bad)
    np.testing.assert_allclose(good, made.space.embed("image", [picture("blue")]), atol=1e-6)


def test_the_servers_limits_hold_for_what_is_decoded(made):
    settings = Settings(media=replace(Settings().media, pixels=30))
    with pytest.raises(MediaError, match="36 pixels"):
        asyncio.run(ServedSpace("colours", made.space, settings).embed("image", [picture("red")]))


def test_decoded_media_are_held_a_portion_at_a_time(colours, made, monkeypatch):
    monkeypatch.setattr(opening, "HELD", 2 * 6 * 6 * 3)  # two pictures
    encoder = made.space.model.encoders["image"]
    encoder.batches.clear()
    pictures = [picture(colour) for colour in COLOURS]
    vectors = asyncio.run(colours.embed("image", pictures))
    assert encoder.batches == [2, 2, 1]
    np.testing.assert_allclose(vectors, made.space.embed("image", pictures), atol=1e-6)


def test_tokens_are_counted_for_each_request_of_a_batch(colours, made, monkeypatch):
    words, encoder = ["red", "a blue fish", "grey"], made.space.model.encoders["text"]
    monkeypatch.setattr(
        encoder, "token_counts", lambda texts: [len(one.split()) for one in texts], raising=False
    )

    async def ask():
        return await asyncio.gather(
            colours.counted("text", words[:2]),
            colours.counted("image", [picture("red")]),
            colours.counted("text", words[2:]),
        )

    first, shown, last = asyncio.run(ask())
    assert (first.tokens, shown.tokens, last.tokens) == (4, 0, 1)
    np.testing.assert_allclose(first.vectors, made.space.embed("text", words[:2]), atol=1e-6)


def test_labels_are_told_apart_by_their_words(colours, made):
    pictures, labels = [picture("red"), picture("blue")], ["green", "blue", "red"]
    found = asyncio.run(colours.classify("image", pictures, labels, ["a {} square", "{}"]))
    expected = made.space.classify("image", pictures, labels, ["a {} square", "{}"])
    np.testing.assert_allclose(found, [list(row.values()) for row in expected], rtol=1e-4)
    assert [labels[place] for place in found.argmax(1)] == ["red", "blue"]


def test_the_vectors_of_labels_are_made_once(colours):
    asyncio.run(colours.classify("image", [picture("red")], ["red", "green"]))
    asyncio.run(colours.classify("image", [picture("blue")], ["red", "green"]))
    assert colours.lane.statistics.rows == 4  # two labels, two pictures


def test_what_it_cannot_embed_is_refused_by_name(colours):
    with pytest.raises(ValueError, match=r"colours embeds .*; got 'state'"):
        asyncio.run(colours.embed("state", ["?"]))
    with pytest.raises(ValueError, match="repeated"):
        asyncio.run(colours.classify("image", [picture("red")], ["red", "red"]))
    assert asyncio.run(colours.embed("text", [])).shape == (0, 8)
