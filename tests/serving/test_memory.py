"""Requests of every kind, good and bad, leave nothing behind: no objects, open files, tasks or threads.

The same, ten thousand of them and with resident memory: benchmarks/serving_memory.py.
"""

import asyncio
import base64
import gc
import json
import threading
import time
from itertools import pairwise

import httpx
import psutil
import pytest
from live import live
from tiny_served import png, wav

from sensorium.media import Source
from sensorium.serving import assistant
from sensorium.serving.api import create_app
from sensorium.serving.settings import Settings

WARM, COUNTED = 4, 14  # rounds of all kinds


@pytest.fixture(scope="module")
def app(made, tmp_path_factory):
    settings = Settings(page=False, body_bytes=2**20, queue=4, max_tokens=64, default_tokens=8)
    return create_app(made.served(tmp_path_factory.mktemp("memory") / "squares", settings), settings)


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def a_round(client: httpx.Client, number: int) -> list[int]:
    """The statuses of a request of each kind; words and pictures are others in each round."""
    image = uri(png("red", number, 40))
    part = {"type": "image_url", "image_url": {"url": image}}
    asked = {
        "messages": [{"role": "user", "content": [part, {"type": "text", "text": f"What is {number}?"}]}]
    }
    damaged = bytearray(png("red", number, 40))
    damaged[50 + number] ^= 255
    sent = [
        ("/v1/embeddings", {"input": [f"text {number}", {"image": image}]}),
        ("/v1/search", {"text": f"red {number}", "where": f"colour != '{number}'"}),
        ("/v1/search", {"id": "red-0"}),
        ("/v1/search", {"image": "/etc/passwd"}),
        ("/v1/classify", {"input": [{"image": image}], "labels": ["red", f"blue {number}"]}),
        ("/v1/classify", {"model": "moods", "input": [{"title": f"What a day {number}"}]}),
        ("/v1/chat/completions", asked | {"max_tokens": 1}),
        ("/v1/chat/completions", asked | {"max_tokens": 2, "stream": True}),
        ("/v1/embeddings", {"input": [{"image": uri(bytes(damaged))}]}),
        ("/v1/embeddings", {"model": f"no {number}", "input": "x"}),
    ]
    statuses = [client.post(path, json=body).status_code for path, body in sent]
    with client.stream(
        "POST", "/v1/chat/completions", json=asked | {"max_tokens": 200, "stream": True}
    ) as answer:
        next(answer.iter_lines())  # and the client leaves
        statuses.append(answer.status_code)
    file = {"file": (f"{number}.wav", wav(100 + number), "audio/wav")}
    statuses.append(client.post("/v1/audio/transcriptions", files=file).status_code)
    kind = {"content-type": "application/json"}
    statuses.append(client.post("/v1/embeddings", content=bytes(2**20 + 1), headers=kind).status_code)
    statuses.append(client.post("/v1/embeddings", content=b"[" * 5000, headers=kind).status_code)
    row = {"id": f"new-{number}", "image": uri(png("blue", 100 + number, 8)), "fields": {"colour": "blue"}}
    statuses.append(client.post("/v1/index/squares/rows", json={"rows": [row]}).status_code)
    while client.get(f"/v1/index/squares/jobs/{_last_job(client)}").json()["state"] == "running":
        time.sleep(0.01)
    statuses.append(client.delete("/v1/index/squares/rows", params={"id": f"new-{number}"}).status_code)
    statuses.append(client.get("/metrics").status_code)
    return statuses


def _last_job(client: httpx.Client) -> str:
    return list(client.app.state.service.jobs._jobs)[-1]


def held() -> dict[str, int]:
    """Once what is about to end has ended."""
    for _ in range(3):
        gc.collect()
        time.sleep(0.1)
    objects = gc.get_objects()
    return {
        "objects": len(objects),
        "tasks": sum(issubclass(type(one), asyncio.Task) and not one.done() for one in objects),
        "files": psutil.Process().num_fds(),
        "threads": threading.active_count(),
    }


def test_requests_leave_nothing_behind(app):
    with live(app) as address:
        with httpx.Client(base_url=address, timeout=60) as client:
            client.app = app
            for number in range(WARM):
                a_round(client, number)
        before = held()
        with httpx.Client(base_url=address, timeout=60) as client:
            client.app = app
            for number in range(WARM, WARM + COUNTED):
                statuses = a_round(client, number)
                assert max(statuses) < 500, json.dumps(statuses)
                assert set(statuses) >= {200, 202, 400, 404, 413}
        after = held()
        assert app.state.service.metrics.active == app.state.service.metrics.held == 0
    kinds = len(statuses)
    assert kinds * COUNTED > 230
    # What is kept on purpose: an ended addition, token ids of texts, vectors of labels; some objects a round.
    assert after["objects"] - before["objects"] < 20 * COUNTED, (before, after)
    assert after["files"] <= before["files"] + 2, (before, after)
    assert after["tasks"] <= before["tasks"], (before, after)
    assert after["threads"] <= before["threads"] + 2, (before, after)


def test_conversations_about_new_pictures_add_no_more_than_what_is_remembered(served, monkeypatch):
    monkeypatch.setattr(assistant, "REMEMBERED", 50_000)

    async def counts() -> list[int]:
        found = []
        for number in range(300):
            image = {"type": "image", "image": Source("image", data=png("red", number))}
            asked = [{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}]
            await served.assistant(None).chat(asked, max_tokens=1)
            if number % 60 == 59:
                gc.collect()
                found.append(len(gc.get_objects()))
        return found

    _, *filled = asyncio.run(counts())
    grown = [late - early for early, late in pairwise(filled)]
    # Other threads' few objects come and go; what 60 conversations left behind would grow every time.
    assert min(grown) < 30, grown
