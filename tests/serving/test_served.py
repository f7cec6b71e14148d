"""What is served by name, and that nothing which was accepted is lost when the server is stopped."""

import asyncio

import pytest
from tiny_served import picture

from sensorium.serving.batching import Draining
from sensorium.serving.served import UnknownModel


def test_models_are_found_by_name_or_as_the_first_of_their_kind(served):
    assert served.assistant() is served.models["talker"]
    assert served.space("colours") is served.models["colours"]
    assert served.predictor().task == "classification"
    assert served.index("squares").space is served.space()


def test_a_name_that_is_not_served_is_answered_with_those_that_are(served):
    with pytest.raises(UnknownModel, match="got 'clip'; expected a joint embedding: there is colours"):
        served.space("clip")
    with pytest.raises(UnknownModel, match="'talker', which is no joint embedding"):
        served.space("talker")


def test_what_was_accepted_is_finished_and_nothing_new_let_in(served):
    async def stopped() -> tuple:
        hello = [{"role": "user", "content": "hello"}]
        asked = [
            asyncio.create_task(served.index().search(image=picture("blue"), top_k=1)),
            asyncio.create_task(served.assistant().chat(hello, max_tokens=20)),
            asyncio.create_task(served.space().classify("image", [picture("red")], ["red", "green"])),
        ]
        await asyncio.sleep(0)
        await served.drain()
        with pytest.raises(Draining):
            await served.space().embed("text", ["late"])
        return tuple(await asyncio.gather(*asked))

    found, written, [red] = asyncio.run(stopped())
    assert found[0].fields["colour"] == "blue"
    assert written.completion_tokens == 20 or written.finish == "stop"
    assert red[0] > red[1]
