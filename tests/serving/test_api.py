"""The routes beside chat: their values are the facade's and the index's, and their errors have one shape."""

import base64
import io
import re
import time

import av
import numpy as np
import pytest
from fastapi.testclient import TestClient
from tiny_served import COLOURS, picture, png

from sensorium.media import Source
from sensorium.serving.api import create_app
from sensorium.serving.settings import Settings

SETTINGS = Settings(page=False, top_k=20, inputs=40, labels=10)


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    return made.served(tmp_path_factory.mktemp("api") / "squares", SETTINGS)


@pytest.fixture(scope="module")
def client(served):
    with TestClient(create_app(served, SETTINGS)) as client:
        yield client


@pytest.fixture
def changing(made, tmp_path):
    """A client of an index that the test may change."""
    with TestClient(create_app(made.served(tmp_path / "squares", SETTINGS), SETTINGS)) as client:
        yield client


def refused(answer, status: int, words: str) -> dict:
    """The error of an answer, in its one shape."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert re.search(words, error["message"]), error["message"]
    return error


# ---- classification ----------------------------------------------------------------------------------------------


def test_zero_shot_probabilities_are_the_spaces(client, made):
    labels, templates = ["red", "blue"], ["a {} square", "all {}"]
    asked = {"input": [{"image": uri(png("blue"))}, "red"], "labels": labels, "templates": templates}
    answer = client.post("/v1/classify", json=asked).json()
    [right_picture] = made.space.classify("image", [picture("blue")], labels, templates)
    [right_words] = made.space.classify("text", ["red"], labels, templates)
    assert answer["model"] == "colours"
    for got, right in zip(answer["data"], (right_picture, right_words), strict=True):
        assert got["scores"]["label"] == pytest.approx(right, abs=1e-5)
        assert got["answers"]["label"] == max(right, key=right.get)
    assert [got["answers"]["label"] for got in answer["data"]] == ["blue", "red"]


def test_a_fusion_network_answers_about_rows_as_the_predictor_does(client, made):
    rows = [{"photo": uri(png("red")), "title": "a day"}, {"title": "hm"}, {"photo": uri(png("grey"))}]
    answer = client.post("/v1/classify", json={"model": "moods", "input": rows}).json()
    given = [{"photo": png("red"), "title": "a day"}, {"title": "hm"}, {"photo": png("grey")}]
    for got, right in zip(answer["data"], made.predictor.predict(given), strict=True):
        assert got["answers"] == dict(right.answers)
        assert tuple(got["seen"]) == right.seen
        assert got["gates"] == pytest.approx(dict(right.gates), abs=1e-5)
        for task, scores in right.probabilities.items():
            assert got["scores"][task] == pytest.approx(dict(scores), abs=1e-5)
    assert client.post("/v1/classify", json={"input": "hm"}).json()["data"][0]["seen"] == ["title"]


def test_what_cannot_be_classified_says_what_can(client):
    def classify(**asked):
        return client.post("/v1/classify", json=asked)

    refused(classify(model="colours", input="x"), 400, "labels: expected some: colours is a joint embedding")
    refused(
        classify(model="moods", input="x", labels=["a", "b"]), 400, "a fusion network has labels of its own"
    )
    refused(classify(input="x", labels=["a", "a"]), 400, "each label once")
    refused(classify(input="x", labels=["a"] * 11), 400, "expected 1 to 10 of them")
    refused(classify(input="x", labels=["a", "b"], templates=["no place"]), 400, r"expected \{\} in each")
    refused(
        classify(input=[{"picture": "x"}]), 400, r"got picture; moods reads photo \(image\), title \(text\)"
    )
    refused(classify(input=["x"] * 41), 400, "got 41 things; at most 40")
    refused(classify(input=[]), 400, "an empty list")
    refused(classify(model="talker", input="x"), 404, "which is no fusion network")


# ---- search and the index ----------------------------------------------------------------------------------------


def test_a_search_finds_what_the_index_finds(client, served):
    hits = client.post("/v1/search", json={"text": "green", "top_k": 4}).json()["data"]
    right = served.index().index.search(vector=served.space().space.embed("text", ["green"])[0], top_k=4)
    assert [(hit["id"], hit["score"]) for hit in hits] == [
        (r.id, pytest.approx(r.score, abs=1e-5)) for r in right
    ]
    assert {hit["id"] for hit in hits[:2]} == {"green-0", "green-1"}
    assert (hits[0]["caption"], hits[0]["fields"]["colour"]) == ("a green square", "green")
    shown = client.get(hits[0]["thumbnail"])
    assert shown.headers["content-type"] == "image/jpeg"
    assert shown.content == served.index().thumbnail(hits[0]["id"])


def test_pictures_vectors_ids_and_filters_search_too(client, served):
    def found(**asked):
        return [hit["id"] for hit in client.post("/v1/search", json=asked).json()["data"]]

    assert set(found(image=uri(png("yellow")), top_k=2)) == {"yellow-0", "yellow-1"}
    vector = served.space().space.embed("text", ["blue"])[0].tolist()
    assert found(vector=vector, top_k=3) == found(text="blue", top_k=3)
    assert found(id="red-0", top_k=1) == ["red-1"]
    assert set(found(text="red", where="colour = 'blue'")) == {"blue-0", "blue-1"}
    assert found(text="red", modality="text") == []
    assert len(found(text="red")) == 10


def test_what_cannot_be_searched_says_what_can(client):
    def search(**asked):
        return client.post("/v1/search", json=asked)

    refused(search(), 400, "got no query; expected one of text, image, audio, video, vector, id")
    refused(search(text="x", top_k=21), 400, "at most 20 hits")
    refused(search(text="x", index="circles"), 404, "there is squares")
    refused(search(text="x", where="repeat(id, 100000000) = ''"), 400, "where")
    refused(search(vector=[1.0, 2.0]), 400, r"expected finite float\[8\]")
    refused(search(id="nobody"), 400, "squares has no such row")
    refused(search(image="/etc/passwd"), 400, "no data URI")
    assert refused(search(image=uri(b"words")), 415, "expected image")["param"] == "image"
    refused(client.get("/v1/index/squares/thumbnail?id=nobody"), 404, "no picture of 'nobody'")


def job_of(client, answer) -> dict:
    """The job that an addition began, once it has ended."""
    assert answer.status_code == 202, answer.text
    for _ in range(500):
        job = client.get(f"/v1/index/squares/jobs/{answer.json()['id']}").json()
        if job["state"] != "running":
            return job
        time.sleep(0.01)
    raise AssertionError(f"still running: {job}")


def test_rows_are_added_found_deleted_and_never_added_twice(changing):
    rows = [
        {"id": "mine", "image": uri(png((0, 0, 0), 5)), "caption": "night", "fields": {"colour": "black"}},
        {"text": "a red word"},
    ]
    job = job_of(changing, changing.post("/v1/index/squares/rows", json={"rows": rows}))
    assert (job["state"], job["added"], job["known"], job["done"], job["total"]) == ("done", 2, 0, 2, 2)
    again = job_of(changing, changing.post("/v1/index/squares/rows", json={"rows": rows}))
    assert (again["added"], again["known"]) == (0, 2)
    about = changing.get("/v1/index/squares").json()
    assert about["rows"] == 12
    assert about["modalities"] == {"image": 11, "text": 1}
    [hit] = changing.post("/v1/search", json={"text": "red", "modality": "text"}).json()["data"]
    assert hit["caption"] == "a red word"
    black = {"text": "red", "where": "colour = 'black'"}
    assert [hit["id"] for hit in changing.post("/v1/search", json=black).json()["data"]] == ["mine"]
    assert changing.delete("/v1/index/squares/rows?id=mine&id=red-0&id=nobody").json()["deleted"] == 2
    assert changing.post("/v1/search", json=black).json()["data"] == []


def test_files_are_added_by_what_their_bytes_are(changing):
    files = [
        ("files", ("night.png", png((0, 0, 0), 6))),
        ("files", ("../words.txt", b"some words", "text/plain")),
        ("files", ("cut.png", png("red", 9)[:60])),
    ]
    job = job_of(changing, changing.post("/v1/index/squares/files", files=files))
    assert (job["added"], job["bad"]) == (2, 1)
    [(id, reason)] = job["reasons"].items()
    assert id.startswith("cut.png-")
    assert "truncated" in reason
    hits = changing.post("/v1/search", json={"image": uri(png((0, 0, 0), 6)), "top_k": 1}).json()["data"]
    assert hits[0]["caption"] == "night.png"


def test_what_cannot_be_added_says_what_can(client):
    def add(*rows):
        return client.post("/v1/index/squares/rows", json={"rows": rows})

    refused(add({"caption": "x"}), 400, r"rows\[0\]: got nothing; expected exactly one of text, image")
    refused(add({"text": "x", "image": "y"}), 400, "got text, image")
    refused(add({"text": "x", "fields": {"path": "y"}}), 400, "got the name 'path'")
    refused(add({"text": "x", "colour": "y"}), 400, r"'rows\[0\]\.colour'")
    refused(add(*[{"text": "x"}] * 41), 400, "at most 40")
    files = {"files": ("x.exe", b"MZ\0\0")}
    refused(client.post("/v1/index/squares/files", files=files), 415, "this index takes")
    refused(client.get("/v1/index/squares/jobs/job_1"), 404, "no job 'job_1'")
    refused(client.post("/v1/index/circles/rows", json={"rows": [{"text": "x"}]}), 404, "there is squares")
    assert client.get("/v1/index").json()["data"][0]["rows"] == 2 * len(COLOURS)


# ---- embeddings and chat: what the other file does not ask -------------------------------------------------------


def test_embeddings_in_base64_are_little_endian_floats(client, made):
    asked = {"input": ["red", {"image": uri(png("red"))}], "encoding_format": "base64"}
    answer = client.post("/v1/embeddings", json=asked).json()
    found = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
    right = [made.space.embed("text", ["red"])[0], made.space.embed("image", [picture("red")])[0]]
    assert np.allclose(found, right, atol=1e-6)


def clip(colours: list[str]) -> bytes:
    """An MP4 of a frame a colour."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 32
        for colour in colours:
            pixels = np.full((32, 32, 3), COLOURS[colour], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return out.getvalue()


def test_clips_are_embedded_searched_by_and_added(changing, made):
    data = clip(["red", "red", "blue", "blue"])
    address = uri(data, "video/mp4")
    right = made.space.embed("video", [Source("video", data=data)])[0]
    part = {"type": "video_url", "video_url": {"url": address}}
    answer = changing.post("/v1/embeddings", json={"input": [{"video": address}, part]}).json()
    assert np.allclose([one["embedding"] for one in answer["data"]], [right, right], atol=1e-6)
    added = changing.post("/v1/index/squares/rows", json={"rows": [{"id": "clip", "video": address}]})
    assert job_of(changing, added)["added"] == 1
    [hit] = changing.post("/v1/search", json={"video": address, "top_k": 1}).json()["data"]
    assert (hit["id"], hit["modality"]) == ("clip", "video")
    assert hit["score"] == pytest.approx(1, abs=1e-4)


def test_things_of_no_known_kind_are_refused_by_their_place(client):
    def embed(given):
        return client.post("/v1/embeddings", json={"input": given})

    assert refused(embed(["a", {"image": "x"}]), 400, "no data URI")["param"] == "input[1].image"
    refused(embed(["a", ""]), 400, r"input\[1\]: got an empty string")
    refused(embed({"smell": "x"}), 400, "got the keys smell; expected one of text, image, audio, video")
    refused(embed({"image": "x", "text": "y"}), 400, "got the keys image, text")
    refused(embed([None]), 400, r"input: got null; expected a string or an object")
    refused(embed({"type": "image", "image": "/etc/passwd"}), 400, "name files, which no request may")


def test_conversations_that_cannot_be_answered_say_what_can(client):
    def chat(*messages, **options):
        return client.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 4, **options})

    user = {"role": "user", "content": "hello"}
    refused(chat(), 400, "messages")
    refused(chat({"role": "system", "content": "x"}), 400, "no message of a user")
    refused(chat(user, {"role": "assistant", "content": "x"}), 400, "expected a user's")
    refused(chat({"role": "tool", "content": "x"}), 400, r"messages\[0\]\.role: .*'user'")
    refused(chat({"role": "user", "content": None}), 400, r"messages\[0\]\.content: got nothing")
    video = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}
    refused(chat({"role": "user", "content": [video]}), 415, "messages.0..content.0.")
    refused(chat(user, stop=["x"] * 17), 400, "at most 16 strings")
    refused(chat(user, stream_options={"include_usage": True}), 400, "only for stream")
    refused(chat({"role": "user", "content": "x" * 500}), 400, "reads at most 399")
    refused(chat({"role": "user", "content": "x" * 500}, stream=True), 400, "reads at most 399")
    refused(chat(user, temperature="1"), 400, "temperature: Input should be a valid number")
    state = {"type": "state", "state": [5.0, -3.0]}
    two = [state, {"type": "text", "text": "what?"}]
    assert chat({"role": "user", "content": two}).json()["usage"]["completion_tokens"] == 4
    broken = client.post("/v1/chat/completions", content="{", headers={"content-type": "application/json"})
    refused(broken, 400, "no JSON")


def test_max_tokens_are_capped(made, tmp_path):
    settings = Settings(page=False, max_tokens=3, default_tokens=2)
    hello = {"messages": [{"role": "user", "content": "hello"}]}
    with TestClient(create_app(made.served(tmp_path / "squares", settings), settings)) as client:
        for asked, written in ((None, 2), (100, 3), (1, 1)):
            answer = client.post("/v1/chat/completions", json=hello | {"max_tokens": asked}).json()
            assert answer["usage"]["completion_tokens"] == written
            assert answer["choices"][0]["finish_reason"] == "length"
