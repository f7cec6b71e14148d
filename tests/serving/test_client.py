"""`sensorium.Client` against a live server: what it gets is what the facade gives here."""

import subprocess
import sys

import httpx
import numpy as np
import pytest
from live import live
from tiny_served import png, wav

import sensorium
from sensorium.client import Client, ServerError
from sensorium.media import Source
from sensorium.serving.api import create_app
from sensorium.serving.keys import hashed
from sensorium.serving.settings import Settings


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    settings = Settings(page=False)
    with live(create_app(made.served(tmp_path_factory.mktemp("live") / "squares", settings), settings)) as at:
        yield at


@pytest.fixture(scope="module")
def client(address):
    with sensorium.Client(address) as client:
        yield client


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "red.png"
    path.write_bytes(png("red"))
    return path


def test_an_answer_is_the_assistants_whole_and_in_pieces(client, made, picture):
    here = made.assistant.ask("what?", image=picture, max_tokens=12)
    assert client.ask("what?", image=picture, max_tokens=12) == here != ""
    assert "".join(client.ask("what?", image=str(picture), max_tokens=12, stream=True)) == here
    assert client.ask("what?", image=picture.read_bytes(), max_tokens=12) == here
    assert client.caption(picture, max_tokens=12) == made.assistant.caption(picture, max_tokens=12)


def test_a_conversation_remembers_its_turns(client, made, picture):
    ours, theirs = (
        client.chat(system="be brief", max_tokens=6),
        made.assistant.chat(system="be brief", max_tokens=6),
    )
    for text, media in (("what?", {"image": picture}), ("and now?", {})):
        assert ours.say(text, **media) == theirs.say(text, **media).strip()
    assert [message["role"] for message in ours.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    ours.clear()
    assert ours.messages == [{"role": "system", "content": "be brief"}]


def test_messages_of_the_conversation_format_are_understood(client, made, picture):
    messages = [
        {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "what?"}]}
    ]
    assert client.chat(messages, max_tokens=5) == made.assistant.chat(messages, max_tokens=5)


def test_vectors_are_the_spaces(client, made):
    pictures = [png("red"), png("green"), png("grey")]
    here = made.space.embed("image", [Source("image", data=one) for one in pictures])
    np.testing.assert_allclose(client.embed("image", pictures), here, atol=1e-6)
    np.testing.assert_allclose(
        client.embed("audio", [wav()])[0],
        made.space.embed("audio", [Source("audio", data=wav())])[0],
        atol=1e-6,
    )
    same = client.similarity(("text", ["red", "green"]), ("image", pictures))
    assert same.argmax(1).tolist() == [0, 1]


def test_more_things_than_one_request_takes(client, made):
    words = [f"red {n}" for n in range(70)]
    np.testing.assert_allclose(client.embed("text", words), made.space.embed("text", words), atol=1e-6)


def test_labels_and_tasks(client, made, picture):
    [scores] = client.classify("image", [picture], ["red", "green"])
    [here] = made.space.classify("image", [picture], ["red", "green"])
    assert scores == pytest.approx(here, abs=1e-6)
    row = {"photo": picture, "title": "a day"}
    [said], [known] = client.predict([row]), made.predictor.predict([row])
    assert (said.answers, said.seen) == (known.answers, known.seen)
    assert said.probabilities["mood"] == pytest.approx(known.probabilities["mood"], abs=1e-6)
    with pytest.raises(ValueError, match=r"got colour; this model reads photo \(image\), title \(text\)"):
        client.predict([{"colour": "red"}])


def test_search_add_and_delete(client, picture):
    before = client.indexes()[0]["rows"]
    told: list[tuple[int, int]] = []
    rows = [{"image": png("yellow", 24), "caption": "mine", "id": "y"}, {"text": "all yellow", "id": "t"}]
    done = client.add(rows, progress=lambda *step: told.append(step))
    assert (done["added"], done["known"], done["bad"]) == (2, 0, 0)
    assert client.add(rows)["known"] == 2
    best = client.search(text="yellow", modality="image", top_k=3)
    assert "y" in [hit.id for hit in best]
    assert client.search(id="y", modality="image", top_k=1)[0].score == pytest.approx(1.0, abs=1e-3)
    mine = next(hit for hit in best if hit.id == "y")
    assert client.thumbnail(mine)[:2] == b"\xff\xd8"
    assert client.delete(["y", "t"]) == 2
    assert client.indexes()[0]["rows"] == before


def test_what_is_wrong_is_said_in_the_servers_words(client, tmp_path):
    with pytest.raises(ServerError, match="no_such") as refused:
        client.ask("what?", model="no_such")
    assert refused.value.status == 404
    with pytest.raises(ServerError, match="max_tokens"):
        list(client.ask("what?", stream=True, max_tokens=0))
    with pytest.raises(FileNotFoundError):
        client.embed("image", [tmp_path / "none.png"])


def test_a_client_needs_no_torch():
    code = "import sys, sensorium; sensorium.Client; print('torch' in sys.modules, 'sensorium.serving' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"
    )


def test_a_server_that_is_not_there():
    with pytest.raises(ServerError, match=r"cannot be reached .*sensorium serve") as refused:
        Client("http://127.0.0.1:9").models()
    assert refused.value.status == 0


def test_a_full_server_is_asked_again_after_the_time_it_wants():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            return httpx.Response(429, headers={"Retry-After": "0"}, json={"error": {"message": "full"}})
        return httpx.Response(200, json={"data": [{"id": "a"}]})

    assert Client("http://server", transport=httpx.MockTransport(answer)).models() == [{"id": "a"}]
    assert asked == ["/v1/models"] * 2
    asked.clear()
    with pytest.raises(ServerError, match="full"):
        Client("http://server", retries=0, transport=httpx.MockTransport(answer)).models()


def test_keys(made, tmp_path, monkeypatch):
    settings = Settings(page=False, key_hashes=(hashed("secret"),))
    with live(create_app(made.served(tmp_path / "squares", settings), settings)) as at:
        with pytest.raises(ServerError) as refused:
            Client(at, api_key="wrong").models()
        assert refused.value.status == 401
        monkeypatch.setenv("SENSORIUM_API_KEY", "secret")
        assert len(Client(at).models()) == 3
