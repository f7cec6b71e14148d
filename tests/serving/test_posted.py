"""Routes that take a JSON object: what is taken, what is refused in which words, and that they are described."""

import asyncio
import json

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from sensorium.serving.errors import install
from sensorium.serving.posted import Posted

router = APIRouter(tags=["sums"], route_class=Posted)


class Asked(BaseModel, strict=True):
    numbers: list[int] = Field(max_length=3)
    spoken: bool = False


class Answer(BaseModel):
    total: int
    note: str | None = None


@router.post("/sum", response_model=Answer)
async def total(request: Request, asked: Asked, here: int):
    """Adds up, beginning with what the service is."""
    if asked.spoken:
        return PlainTextResponse(f"{sum(asked.numbers, here)}!")
    return Answer(total=sum(asked.numbers, here))


@pytest.fixture
def app():
    app = FastAPI(routes=router.routes)
    app.state.service = 100
    install(app)
    return app


def ask(app, body: str | bytes, kind: str = "application/json"):
    return TestClient(app).post("/sum", content=body, headers={"content-type": kind})


def test_the_endpoint_gets_what_it_asks_for_and_answers_with_a_model_or_a_response(app):
    answer = ask(app, '{"numbers": [1, 2]}')
    assert (answer.status_code, answer.json()) == (200, {"total": 103, "note": None})
    assert answer.headers["content-type"] == "application/json"
    assert ask(app, '{"numbers": [3]}', "application/vnd.sums+JSON; charset=utf-8").json()["total"] == 103
    assert ask(app, '{"numbers": [], "spoken": true}').text == "100!"


@pytest.mark.parametrize(
    ("body", "message", "param", "code"),
    [
        ("{", "the body is no JSON that can be parsed", None, "invalid_json"),
        (b"\xff", "the body is no JSON that can be parsed", None, "invalid_json"),
        ("[" * 100_000, "the body is no JSON that can be parsed", None, "invalid_json"),
        (f'{{"numbers": [{"1" * 5000}]}}', "the body is no JSON that can be parsed", None, "invalid_json"),
        ("", "expected a JSON object as body, with Content-Type: application/json", None, None),
        ("[1]", "expected a JSON object as body, with Content-Type: application/json", None, None),
        ("null", "expected a JSON object as body, with Content-Type: application/json", None, None),
        ("{}", "numbers: Field required", "numbers", None),
        (
            '{"numbers": [1, "2"]}',
            "numbers[1]: Input should be a valid integer",
            "numbers[1]",
            None,
        ),
    ],
)
def test_other_bodies_are_refused(app, body, message, param, code):
    answer = ask(app, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["message"], error["param"], error["code"]) == (message, param, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_is_not_called_json_is_refused(app, kind):
    assert "Content-Type: application/json" in ask(app, '{"numbers": []}', kind).json()["error"]["message"]


def test_other_methods_are_refused(app):
    answer = TestClient(app).get("/sum")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_who_leaves_before_the_body_is_there_is_counted_as_gone(app):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/sum", "headers": headers, "query_string": b""}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 499


def test_it_is_described_as_other_routes_are(app):
    described = app.openapi()["paths"]["/sum"]["post"]
    assert described["tags"] == ["sums"]
    body = described["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Asked"}
    assert "Adds up" in json.dumps(described)
