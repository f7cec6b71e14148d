"""A fusion network that many ask at once."""

import asyncio

import pytest
from tiny_served import picture, png

from sensorium.media import MediaError, Source
from sensorium.serving.predictor import ServedPredictor


@pytest.fixture
def moods(made) -> ServedPredictor:
    return ServedPredictor("moods", made.predictor)


def test_rows_of_many_requests_are_predicted_as_alone(moods, made):
    asked = [
        [{"photo": picture("red"), "title": "a cat"}],
        [{"photo": picture("blue", 3), "title": None}, {"title": "a long walk with the dog"}],
        [{"photo": picture("green")}],
    ]

    async def together() -> list:
        return await asyncio.gather(*(moods.predict(rows) for rows in asked))

    for rows, found in zip(asked, asyncio.run(together()), strict=True):
        for said, alone in zip(found, made.predictor.predict(rows), strict=True):
            assert said.seen == alone.seen
            assert said.answers == alone.answers
            assert said.probabilities["mood"] == pytest.approx(alone.probabilities["mood"], abs=1e-6)
    assert moods.lane.statistics.batches == 1
    assert moods.modalities == ("image", "text")


def test_a_bad_row_fails_its_own_request(moods, made):
    good = [{"photo": picture("red"), "title": "a cat"}]

    async def together() -> list:
        return await asyncio.gather(
            moods.predict([{"photo": Source("image", data=png("red")[:60])}]),
            moods.predict([{"smell": "of tea"}]),
            moods.predict([{}]),
            moods.predict(good),
            return_exceptions=True,
        )

    broken, unknown, empty, said = asyncio.run(together())
    assert isinstance(broken, MediaError)
    assert isinstance(unknown, ValueError)
    assert "got the columns smell" in str(unknown)
    assert isinstance(empty, ValueError)
    assert "no media" in str(empty)
    assert said[0].answers == made.predictor.predict(good)[0].answers
