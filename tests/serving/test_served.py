"""What is served by name, and that nothing which was accepted is lost when the server is stopped."""

import asyncio
from pathlib import Path

import pytest
from tiny_served import Known, picture

from sensorium.facade import SharedSpace
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.retrieval.index import Index
from sensorium.serving import served as serving
from sensorium.serving.batching import Draining
from sensorium.serving.served import Served, UnknownModel


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


# ---- opening -------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(made, tmp_path, monkeypatch):
    """Folders of runs whose checkpoints are the small models: quickstart, with index and answers; moods; other."""
    other = SharedSpace(JointEmbedding({"text": Known("text")}), str(tmp_path / "other"))
    models = {
        "quickstart": SharedSpace(made.space.model, str(tmp_path / "quickstart")),
        "answers": made.assistant,
        "moods": made.predictor,
        "step-00000050": made.predictor,
        "other": other,
    }
    monkeypatch.setattr(serving, "load", lambda folder: models[Path(folder).name])
    for folder in ("quickstart/answers/checkpoints", "moods/checkpoints/step-00000050", "other"):
        (tmp_path / folder).mkdir(parents=True)
    Index.create(tmp_path / "quickstart/index", models["quickstart"])
    Index.create(tmp_path / "words", other)
    return tmp_path


def test_a_quickstart_brings_its_index_and_its_answers(runs):
    served = Served.open([runs / "quickstart", f"feelings={runs / 'moods'}"])
    assert {name: model.task for name, model in served.models.items()} == {
        "quickstart": "embedding",
        "quickstart-answers": "chat",
        "feelings": "classification",
    }
    assert list(served.indexes) == ["quickstart"]
    assert served.index().space is served.space("quickstart")
    assert all(one.gate is served.gate for one in (*served.models.values(), served.index()))


def test_an_index_brings_the_model_that_made_it(runs):
    served = Served.open([runs / "moods"], [runs / "words", f"mine={runs / 'quickstart' / 'index'}"])
    assert list(served.models) == ["moods", "other", "quickstart"]
    assert {name: index.space.name for name, index in served.indexes.items()} == {
        "words": "other",
        "mine": "quickstart",
    }


def test_a_checkpoint_is_called_as_its_run(runs):
    assert list(Served.open([runs / "moods/checkpoints/step-00000050"]).models) == ["moods"]


def test_what_cannot_be_opened_says_what_to_type(runs):
    with pytest.raises(ValueError, match=r"two are called 'moods'.*OTHER-NAME=FOLDER"):
        Served.open([runs / "moods", runs / "moods"])
    with pytest.raises(ValueError, match="got the name 'a b'"):
        Served.open([f"a b={runs / 'moods'}"])
    with pytest.raises(ValueError, match="no index here"):
        Served.open([runs / "moods"], [runs / "moods"])
    (runs / "other").rename(runs / "elsewhere")
    with pytest.raises(ValueError, match=r"words: made with the model in .*other, which is not there"):
        Served.open([runs / "moods"], [runs / "words"])
    with pytest.raises(ValueError, match="nothing to serve"):
        Served.open([])


def test_an_index_of_another_model_is_refused(runs):
    changed = Known("text")
    changed.scale.data *= 2
    Index.create(runs / "changed", SharedSpace(JointEmbedding({"text": changed}), str(runs / "quickstart")))
    with pytest.raises(ValueError, match="made by another model"):
        Served.open([runs / "moods"], [runs / "changed"])
