"""The routes under requests that nobody in good faith would send: no answer is a mistake of ours, all fit the schema.

Two ways: what schemathesis makes of /openapi.json, and good requests of which one value is changed.
"""

import base64
import copy
import json
import random
from dataclasses import replace

import hypothesis
import pytest
import schemathesis
from fastapi.testclient import TestClient
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tiny_served import png, wav

from sensorium.media import Limits
from sensorium.serving.api import create_app
from sensorium.serving.settings import Settings

SMALL = Settings(
    page=False, max_tokens=4, default_tokens=2, seconds=20.0, media=Limits(bytes=2**20, pixels=10**6)
)
FITTING = (
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
    content_type_conformance,
)
ROUTES = {  # examples of each; those that take what can break the schema are asked with that, too
    "GET /v1/models": (1, 0),
    "GET /v1/models/{model}": (5, 0),
    "POST /v1/chat/completions": (15, 30),
    "POST /v1/embeddings": (20, 20),
    "POST /v1/audio/transcriptions": (10, 20),
    "POST /v1/classify": (20, 20),
    "POST /v1/search": (30, 30),
    "GET /v1/index": (1, 0),
    "GET /v1/index/{name}": (5, 0),
    "POST /v1/index/{name}/rows": (20, 20),
    "POST /v1/index/{name}/files": (10, 20),
    "GET /v1/index/{name}/jobs/{id}": (5, 0),
    "DELETE /v1/index/{name}/rows": (10, 5),
    "GET /v1/index/{name}/thumbnail": (10, 5),
    "GET /healthz": (1, 0),
    "GET /readyz": (1, 0),
    "GET /metrics": (1, 0),
}
ALLOWED = {503, 504}  # of those from 500 on: stopped, too late


@pytest.fixture(scope="module")
def app(made, tmp_path_factory):
    return create_app(made.served(tmp_path_factory.mktemp("fuzz") / "squares", SMALL), SMALL)


@pytest.fixture(scope="module")
def api(app):
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(deterministic=True)
    return schema


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app) as client:
        yield client


def test_every_route_is_listed_here(api):
    there = {f"{found.ok().method.upper()} {found.ok().path}" for found in api.get_all_operations()}
    assert there == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_no_request_that_the_schema_leads_to_is_a_mistake_of_ours(api, route):
    method, path = route.split()
    operation = api[path][method]
    for mode, examples in zip(
        (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE),
        ROUTES[route],
        strict=True,
    ):
        if not examples:
            continue

        @hypothesis.settings(
            max_examples=examples, derandomize=True, deadline=None, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(operation.as_strategy(generation_mode=mode))
        def ask(case):
            if "name" in case.path_parameters:
                case.path_parameters["name"] = "squares"
            case.validate_response(case.call(), checks=FITTING)

        ask()


PICTURE = "data:image/png;base64," + base64.b64encode(png("red")).decode()
SOUND = base64.b64encode(wav()).decode()
GOOD = {
    "/v1/chat/completions": {
        "model": "talker",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": PICTURE}},
                    {"type": "text", "text": "What is it?"},
                ],
            },
            {"role": "assistant", "content": "A square."},
            {"role": "user", "content": "Which colour?"},
        ],
        "max_tokens": 2, "temperature": 0.5, "top_p": 0.9, "n": 2, "seed": 7, "stop": ["\n"], "stream": False,
    },
    "/v1/embeddings": {
        "model": "colours",
        "input": [
            "red", {"image": PICTURE}, {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
        ],
        "encoding_format": "float",
    },
    "/v1/classify": {
        "model": "colours", "input": [{"image": PICTURE}], "labels": ["red", "blue"], "templates": ["a {} square"],
    },
    "/v1/search": {
        "index": "squares", "text": "red", "image": PICTURE, "top_k": 3, "where": "bright = TRUE",
        "modality": ["image"],
    },
    "/v1/index/squares/rows": {
        "rows": [{"id": "x", "image": PICTURE, "caption": "a square", "fields": {"colour": "red", "bright": True}}],
    },
}  # fmt: skip
ODD = [
    None, True, False, 0, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e-320, 0.5, float("nan"), float("inf"),
    "", " ", "\0", "\ud800", "é" * 1000, "a" * 100_000, "<|im_end|>", "{}", "{0.__class__}", "%s%n", "../../etc/passwd",
    "/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/", "data:,", "data:image/png;base64,", "' OR 1=1 --",
    [], {}, [None], [[]], [[[[[[[[[[]]]]]]]]]], {"": None}, {"__class__": 1}, ["a"] * 2000, [0] * 5000, [0.5] * 8,
    {"type": "image", "image": "/etc/passwd"}, {"image": "/etc/passwd"}, {"text": ["a"]}, {"url": "/etc/passwd"},
]  # fmt: skip


def places(value, path=()):
    """The paths to every value within one of JSON."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*path, key))


def changed(good, path, odd):
    if not path:
        return odd
    value = copy.deepcopy(good)
    within = value
    for key in path[:-1]:
        within = within[key]
    within[path[-1]] = odd
    return value


@pytest.mark.parametrize("route", GOOD)
def test_good_requests_of_which_one_value_is_odd(client, route):
    good = GOOD[route]
    assert client.post(route, json=good).status_code in (200, 202)
    every = [(path, odd) for path in places(good) for odd in ODD]
    statuses = set()
    for path, odd in random.Random(0).sample(every, 100):
        body = json.dumps(changed(good, path, odd))  # NaN, Infinity and half pairs as Python writes them
        answer = client.post(route, content=body, headers={"content-type": "application/json"})
        assert answer.status_code < 500 or answer.status_code in ALLOWED, (path, odd, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
            assert "Traceback" not in answer.text
            assert "site-packages" not in answer.text
            assert len(answer.text) < 5000
        statuses.add(answer.status_code)
    assert 400 in statuses
    jobs = client.app.state.service.jobs
    client.portal.call(jobs.finish)
    assert not [job.error for job in jobs._jobs.values() if job.error and "log explains" in job.error]


@pytest.mark.parametrize("route", GOOD)
def test_bodies_that_are_damaged(client, route):
    """Bytes of a good body removed, doubled or changed."""
    good, chance = json.dumps(GOOD[route]).encode(), random.Random(1)
    for _ in range(25):
        body = bytearray(good)
        for _ in range(chance.choice((1, 2, 8))):
            place = chance.randrange(len(body))
            body[place : place + chance.choice((0, 1, 1, 30))] = chance.choice(
                (b"", b"\xff", b'"', b"{", b"]", b"\0")
            )
        for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
            answer = client.post(route, content=bytes(body), headers={"content-type": kind})
            assert answer.status_code < 500, (bytes(body), answer.text)


def test_the_pages_own_routes(made, tmp_path):
    settings = replace(SMALL, page=True)
    app = create_app(made.served(tmp_path / "squares", settings), settings)
    good = {key: GOOD["/v1/chat/completions"][key] for key in ("model", "messages")} | {
        "answer": "It is red."
    }
    every = [(path, odd) for path in places(good) for odd in ODD]
    with TestClient(app) as client:
        assert client.post("/page/look", json=good).status_code == 200
        for path, odd in random.Random(2).sample(every, 60):
            answer = client.post(
                "/page/look",
                content=json.dumps(changed(good, path, odd)),
                headers={"content-type": "application/json"},
            )
            assert answer.status_code < 500 or answer.status_code in ALLOWED, (path, odd, answer.text)
        for odd in (
            "..",
            "%2e%2e%2fetc%2fpasswd",
            "/etc/passwd",
            "%00",
            "-1",
            "1e999",
            "9" * 400,
            "%ff",
            "squares%0a",
        ):
            for path in (
                "look/{}",
                "reports/{}",
                "map?index={}",
                "sprites?index={}",
                "gap?index={}",
                "scene?number={}",
            ):
                answer = client.get("/page/" + path.format(odd))
                assert 400 <= answer.status_code < 500 or path == "look/{}", (path, odd, answer.text[:200])
                assert answer.status_code < 500
                assert "root:" not in answer.text
        for language in ("zh;q=x", ",;q=1", "q=9", "zh-CN,zh;q=0.9", "\x7f" * 100, "*"):
            assert client.get("/", headers={"accept-language": language}).status_code == 200
