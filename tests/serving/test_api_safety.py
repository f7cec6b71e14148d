"""What holds for every route: limits, who may ask, what is counted, what is told when something goes wrong."""

import asyncio
import json
import re
import time

import httpx
import pytest
from fastapi.testclient import TestClient
from live import live
from tiny_served import png

from sensorium.serving.api import create_app
from sensorium.serving.keys import hashed
from sensorium.serving.settings import Settings

HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.fixture
def of(made, tmp_path):
    """settings -> a client, and what it talks to; the index is empty."""

    def opened(**settings):
        chosen = Settings(page=False, **settings)
        served = made.served(tmp_path / "squares", chosen, filled=False)
        return TestClient(create_app(served, chosen)), served

    return opened


def error(answer, status: int) -> dict:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_every_answer_has_an_id_the_callers_if_it_gives_one(of):
    client, _ = of()
    ids = {client.get(path).headers["x-request-id"] for path in ("/v1/models", "/healthz", "/none")}
    assert len(ids) == 3
    assert client.get("/none", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert (
        client.get("/none", headers={"X-Request-ID": "two words"}).headers["x-request-id"].startswith("req_")
    )


def test_our_own_mistakes_are_logged_and_not_told(of, caplog, monkeypatch):
    client, served = of()

    async def fails(*_, **__):
        raise RuntimeError("secret /home/me")

    monkeypatch.setattr(served.space(), "counted", fails)
    told = client.post("/v1/embeddings", json={"input": "x"})
    assert error(told, 500)["code"] == "internal_error"
    assert "secret" not in told.text
    assert "secret /home/me" in caplog.text
    monkeypatch.setattr(served.index(), "stats", lambda: {}["rows"])
    told = client.get("/v1/index/squares")
    assert error(told, 500)["type"] == "server_error"
    assert "x-request-id" in told.headers
    assert error(client.get("/none"), 404)["message"].startswith("nothing is at /none; /docs")
    assert error(client.put("/v1/models"), 405)["type"] == "invalid_request_error"


def test_a_stream_that_breaks_off_ends_with_the_error(of, caplog, monkeypatch):
    client, served = of()

    async def breaks(*_, **__):
        yield "one "
        yield "two"
        raise RuntimeError("secret")

    monkeypatch.setattr(served.assistant(), "stream", breaks)
    text = client.post("/v1/chat/completions", json=HELLO | {"stream": True}).text
    events = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]
    assert [e["choices"][0]["delta"].get("content") for e in events[:-1]] == ["", "one", " two"]
    assert events[-1]["error"]["code"] == "internal_error"
    assert "secret" not in text
    assert client.app.state.service.metrics.active == 0


def test_a_request_that_takes_too_long_is_given_up(of):
    client, served = of(seconds=0.2)
    served.assistant().lane.wait = 60.0  # nothing leaves the queue
    late = client.post("/v1/chat/completions", json=HELLO)
    assert error(late, 504)["code"] == "deadline_passed"
    assert served.assistant().lane.waiting == 0


def test_who_leaves_takes_the_work_along(made, tmp_path):
    settings = Settings(page=False)
    served = made.served(tmp_path / "squares", settings, filled=False)
    lane = served.assistant().lane
    lane.wait = 60.0
    with live(create_app(served, settings)) as at:
        for number, asked in enumerate((HELLO, HELLO | {"stream": True})):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{at}/v1/chat/completions", json=asked, timeout=0.3)
            _until(lambda number=number: lane.statistics.left == number + 1)
            assert lane.waiting == 0
        lane.wait = 0.0
        endless = [{"role": "user", "content": "Hello"}]  # what the small model answers to this does not end
        long = {"messages": endless, "max_tokens": 300, "stream": True}
        with httpx.stream("POST", f"{at}/v1/chat/completions", json=long, timeout=30) as answer:
            assert next(answer.iter_lines()).startswith("data: ")
        _until(lambda: lane.statistics.left == 3)
        assert httpx.post(f"{at}/v1/chat/completions", json=HELLO, timeout=30).status_code == 200


def _until(true) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never was")


def test_health_is_answered_while_a_model_is_busy(made, tmp_path):
    settings = Settings(page=False, wait=60.0)
    app = create_app(made.served(tmp_path / "squares", settings, filled=False), settings)

    async def both() -> tuple[bool, int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            slow = asyncio.create_task(client.post("/v1/chat/completions", json=HELLO))
            await asyncio.sleep(0.05)
            health = await client.get("/healthz")
            waits = not slow.done()
            slow.cancel()
            return waits, health.status_code

    assert asyncio.run(both()) == (True, 200)


def test_a_server_that_is_being_stopped_takes_nothing_new_and_says_so(of):
    client, _ = of()
    assert client.get("/readyz").json() == {
        "status": "ok",
        "models": ["talker", "colours", "moods"],
        "indexes": ["squares"],
    }
    client.app.state.service.metrics.draining = True
    refused = client.post("/v1/chat/completions", json=HELLO)
    assert error(refused, 503)["code"] == "draining"
    assert refused.headers["retry-after"] == "10"
    assert client.get("/healthz").json() == {"status": "draining"}
    assert client.get("/readyz").status_code == 503


def test_bodies_are_bounded_one_by_one_and_together(of):
    client, _ = of(body_bytes=2000, held_bytes=2000)
    large = client.post("/v1/embeddings", json={"input": "x" * 3000})
    assert error(large, 413)["code"] == "request_too_large"
    assert "x-request-id" in large.headers
    client.app.state.service.metrics.held = 1500
    crowded = client.post("/v1/embeddings", json={"input": "x" * 1000})
    assert error(crowded, 429)["code"] == "queue_full"
    assert crowded.headers["retry-after"] == "1"
    assert client.post("/v1/embeddings", json={"input": "x"}).status_code == 200
    assert client.app.state.service.metrics.held == 1500
    files = [("files", ("a.png", png("red")))] * 20
    together = client.post("/v1/index/squares/files", files=files)
    assert together.status_code in (413, 429)


def test_with_keys_only_those_who_show_one_are_answered(of):
    client, _ = of(key_hashes=frozenset({hashed("first"), hashed("second")}))
    missing = client.get("/v1/models")
    assert error(missing, 401)["type"] == "authentication_error"
    assert missing.headers["www-authenticate"].startswith("Bearer")
    for path in ("/metrics", "/docs", "/openapi.json", "/v1/index"):
        assert client.get(path).status_code == 401, path
    assert (
        error(client.get("/v1/models", headers={"Authorization": "Bearer third"}), 401)["code"]
        == "invalid_api_key"
    )
    for authorization in ("Bearer second", "bearer first", "Basic dXNlcjpmaXJzdA=="):
        assert client.get("/v1/models", headers={"Authorization": authorization}).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_other_web_pages_may_neither_read_nor_send_unless_they_are_named(of):
    client, _ = of(origins=("https://friend.example",))
    friend, stranger = {"Origin": "https://friend.example"}, {"Origin": "https://stranger.example"}
    asked = friend | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    preflight = client.options("/v1/embeddings", headers=asked)
    assert preflight.headers["access-control-allow-origin"] == "https://friend.example"
    assert client.options("/v1/embeddings", headers=asked | stranger).status_code == 400
    body = {"input": "x"}
    assert client.post("/v1/embeddings", json=body, headers=friend).status_code == 200
    assert (
        error(client.post("/v1/embeddings", json=body, headers=stranger), 403)["code"] == "origin_not_allowed"
    )
    own = {"Origin": "http://testserver"}
    assert client.post("/v1/embeddings", json=body, headers=own).status_code == 200
    wrong = client.post("/v1/embeddings", json={"input": []}, headers=friend)
    assert wrong.headers["access-control-allow-origin"] == "https://friend.example"


def test_by_default_no_page_elsewhere_is_let_in(of):
    client, _ = of()
    answer = client.get("/v1/models", headers={"Origin": "https://stranger.example"})
    assert "access-control-allow-origin" not in answer.headers
    for origin in ("null", "http://[", "https://testserver.stranger.example"):
        files = {"files": ("a.png", png("red"))}
        sent = client.post("/v1/index/squares/files", files=files, headers={"Origin": origin})
        assert error(sent, 403)["code"] == "origin_not_allowed"


def test_a_name_that_was_made_to_lead_here_is_refused(of):
    client, _ = of(hosts=("localhost", "127.0.0.1"))
    assert (
        error(client.get("/v1/models", headers={"Host": "stranger.example"}), 403)["code"]
        == "host_not_allowed"
    )
    assert client.get("/v1/models", headers={"Host": "localhost:8000"}).status_code == 200


def test_requests_tokens_and_batches_are_counted(of):
    client, served = of()
    served.indexes["colours"] = served.index()  # a name that a model has, too
    usage = client.post("/v1/chat/completions", json=HELLO).json()["usage"]
    client.post("/v1/embeddings", json={"input": ["a", "b", "c"]})
    client.get("/v1/models/none")
    counted = client.get("/metrics").text

    def value(name: str) -> float:
        return float(re.search(rf"^{re.escape(name)} (\S+)$", counted, re.MULTILINE)[1])

    assert value('sensorium_tokens_total{kind="prompt",model="talker"}') == usage["prompt_tokens"]
    assert value('sensorium_tokens_total{kind="completion",model="talker"}') == 4
    route = 'route="/v1/chat/completions"'
    assert value(f'sensorium_requests_total{{method="POST",{route},status="200"}}') == 1
    assert value('sensorium_requests_total{method="GET",route="/v1/models/{model}",status="404"}') == 1
    assert value(f"sensorium_request_seconds_count{{{route}}}") == 1
    assert (
        value('sensorium_lane_rows_total{lane="model",name="colours"}')
        == served.space().lane.statistics.rows
        == 3
    )
    assert value('sensorium_queue_length{lane="search",name="squares"}') == 0
    series = [line.rpartition(" ")[0] for line in counted.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_every_route_is_described_with_an_example_and_the_page_of_them_loads_nothing(of):
    client, _ = of()
    schema = client.get("/openapi.json").json()
    named = schema["components"]["schemas"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                [example] = named[body["schema"]["$ref"].rpartition("/")[2]]["examples"]
                answer = client.request(method, path.replace("{name}", "squares"), json=example)
                assert answer.status_code in (200, 202), answer.text
            assert operation["description"], path
    page = client.get("/docs").text
    assert all(path in page for path in schema["paths"])
    assert not re.search(r"<script|<link|src=|@import|url\(", page)
