"""Bodies that are too large, too slow or too finely divided, with and without a Content-Length."""

import asyncio
import json
import tracemalloc

import pytest
from fastapi import FastAPI, Request, UploadFile
from pydantic import BaseModel

from sensorium.serving.body import BodyLimit


class Given(BaseModel):
    things: list


def application(**limits):
    app = FastAPI()
    app.state.read = 0

    @app.post("/json")
    async def of_json(given: Given):
        app.state.read += 1
        return {"things": len(given.things)}

    @app.post("/raw")
    async def raw(request: Request):
        return {"bytes": sum([len(part) async for part in request.stream()])}

    @app.post("/file")
    async def of_file(file: UploadFile):
        return {"bytes": len(await file.read())}

    @app.post("/careless")
    async def careless(request: Request):
        try:
            await request.body()
        except Exception as error:  # noqa: BLE001 — an app that swallows everything
            return {"swallowed": str(error)}
        return {"read": True}

    app.add_middleware(BodyLimit, **({"most_bytes": 1000} | limits))
    return app


def ask(app, path, parts, headers=(), pause=0.0):
    """(status, JSON, response headers) of a body that arrives in parts."""

    async def main():
        sent, waiting = [], list(parts)

        async def receive():
            if not waiting:
                await asyncio.sleep(3600)
            if pause:
                await asyncio.sleep(pause)
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}

        async def send(message):
            sent.append(message)

        named = {b"content-type": b"application/json"} | {k.encode(): v.encode() for k, v in headers}
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": "",
            "query_string": b"", "headers": list(named.items()), "http_version": "1.1", "scheme": "http",
            "server": ("test", 80), "client": ("test", 1), "asgi": {"version": "3.0"},
        }  # fmt: skip
        await app(scope, receive, send)
        starts = [message for message in sent if message["type"] == "http.response.start"]
        assert len(starts) == 1
        body = b"".join(message.get("body", b"") for message in sent)
        return starts[0]["status"], json.loads(body), dict(starts[0]["headers"]), len(waiting)

    return asyncio.run(main())


def body_of(length):
    """JSON of exactly so many bytes."""
    return b'{"things": ["' + (length - 16) * b"x" + b'"]}'


def test_a_body_within_the_limit_passes_and_one_byte_more_does_not():
    app = application()
    for length, status in ((1000, 200), (1001, 413)):
        body = body_of(length)
        assert len(body) == length
        stated = [("content-length", str(length))]
        assert ask(app, "/json", [body], stated)[0] == status
        assert ask(app, "/json", [body])[0] == status
        assert ask(app, "/json", [body[:500], body[500:]])[0] == status
    assert app.state.read == 3


def test_the_refusal_has_openais_shape_and_closes_the_connection():
    status, said, headers, _ = ask(application(), "/json", [body_of(2000)])
    assert status == 413
    assert set(said["error"]) == {"message", "type", "param", "code"}
    assert said["error"]["type"] == "invalid_request_error"
    assert "1,000" in said["error"]["message"]
    assert headers[b"connection"] == b"close"


def test_a_content_length_is_believed_when_it_is_too_large_and_what_comes_is_thrown_away():
    """Some of it is read, since a client that still sends does not see the answer; the app sees nothing."""
    app = application()
    for parts, left in (([bytes(10)] * 5, 0), ([bytes(600)] * 50, 48)):  # 1000 bytes at most
        assert ask(app, "/raw", parts, [("content-length", "1001")])[::3] == (413, left)
    waiting = [("content-length", "1001"), ("expect", "100-continue")]
    assert ask(app, "/raw", [bytes(10)] * 5, waiting)[::3] == (413, 5)
    for lie in ("10", "0", "-5", "99x", "", "9" * 5000):
        status, _, _, left = ask(app, "/raw", [bytes(600)] * 50, [("content-length", lie)])
        assert status == 413
        assert left >= 46


def test_an_app_that_swallows_the_error_is_overruled():
    status, said, _, _ = ask(application(), "/careless", [bytes(600)] * 3)
    assert status == 413
    assert "swallowed" not in said


def test_uploads_are_bounded_too():
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    kind = [("content-type", "multipart/form-data; boundary=b")]
    assert ask(application(), "/file", [head, bytes(100), b"\r\n--b--\r\n"], kind)[:2] == (
        200,
        {"bytes": 100},
    )
    assert ask(application(), "/file", [head, *[bytes(100)] * 20, b"\r\n--b--\r\n"], kind)[0] == 413
    # nor are their bytes counted as values of JSON
    full = [head, 500 * b",", b"\r\n--b--\r\n"]
    assert ask(application(values=10), "/file", full, kind)[:2] == (200, {"bytes": 500})


def test_a_slow_body_is_given_up_and_a_slow_answer_is_not():
    app = application(seconds=0.1)
    status, said, _, _ = ask(app, "/raw", [b"x"] * 100, pause=0.02)
    assert status == 408
    assert said["error"]["code"] == "request_timeout"
    assert ask(app, "/raw", [b"x"] * 3, pause=0.01)[:2] == (200, {"bytes": 3})

    async def thoughtful(scope, receive, send):
        while (await receive()).get("more_body"):
            await asyncio.sleep(0.05)  # the app's own time is not the client's
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.15)
        await send({"type": "http.response.body", "body": b"{}"})

    assert ask(BodyLimit(thoughtful, 1000, seconds=0.1), "/", [b"x"] * 5)[0] == 200


def test_a_client_that_leaves_while_its_answer_streams_is_noticed():
    seen = []

    async def app(scope, receive, send):
        await receive()
        seen.append(await receive())

    async def main():
        messages = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

        async def receive():
            await asyncio.sleep(0.05)
            return messages.pop(0)

        await BodyLimit(app, 1000, seconds=0.07)({"type": "http", "headers": []}, receive, None)

    asyncio.run(main())
    assert seen == [{"type": "http.disconnect"}]


def test_json_of_too_many_values_is_refused_before_it_grows():
    app = application(most_bytes=10**7, values=1000)
    some, many, most = (b'{"things": [' + b"{}," * n + b"{}]}" for n in (400, 600, 10**6))
    tracemalloc.start()
    assert ask(app, "/json", [many])[0] == 413
    assert ask(app, "/json", [most])[0] == 413
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000  # a million empty dicts take more than 60 MB
    assert ask(app, "/json", [some])[:2] == (200, {"things": 401})


@pytest.mark.parametrize(
    "body",
    [
        b'{"things": ' + 100_000 * b"[",
        100_000 * b'{"things":',
        b'{"things": [' + 5000 * b"9" + b"]}",
        b"\xff\xfe",
        b"",
    ],
)
def test_json_that_is_deep_or_strange_is_the_callers_fault(body):
    status, _, _, _ = ask(application(most_bytes=10**7), "/json", [body])
    assert 400 <= status < 500


def test_other_scopes_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(BodyLimit(app, 1)({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]
