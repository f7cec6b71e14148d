"""`Client`: a server's models and indexes, with the methods that `sensorium.load` gives here."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from sensorium.client.answers import RemoteHit, RemotePrediction, ServerError, error_of, reaching
from sensorium.client.chat import RemoteChat
from sensorium.client.content import Given, bytes_of, content_of, message_of, parts_of, thing_of, uri_of

AT_ONCE = 32  # things, or rows of an addition, that travel in one request
HIT = ("id", "score", "modality", "caption", "fields")


class Client:
    """What a `sensorium serve` serves.

        client = sensorium.Client("http://127.0.0.1:8000")
        print(client.ask("What is left of the rocket?", image="scene.png"))
        print(client.search(text="a red fish", top_k=3))

    api_key: where the server asks for one; by default that of the environment, SENSORIUM_API_KEY
    seconds: that an answer may take
    retries: when the server is full, after the time that it asks for

    Media are paths or the bytes of a file; a str is words where words are expected, else a path. `model` and `index`
    name one of several (`models()`, `indexes()`); by default the first that fits.

    Raises ServerError (a ValueError) with the server's own words; OSError for files that cannot be read.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        seconds: float = 120.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        key = api_key if api_key is not None else os.environ.get("SENSORIUM_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url, self.retries = url.rstrip("/"), retries
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(seconds, connect=10.0),
            transport=transport,
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # ---- what there is --------------------------------------------------------------------------------------

    def models(self) -> list[dict[str, Any]]:
        """The models: id, task, modalities …"""
        return self._json("GET", "/v1/models")["data"]

    def indexes(self) -> list[dict[str, Any]]:
        """The indexes: id, model, rows, columns …"""
        return self._json("GET", "/v1/index")["data"]

    # ---- language models ------------------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        *,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        state: Any = None,
        stream: bool = False,
        system: str | None = None,
        model: str | None = None,
        **decoding: Any,
    ) -> Any:
        """The answer; with stream=True an iterator over its pieces. As `Assistant.ask`.

        decoding: max_tokens, temperature, top_p, top_k, seed, stop
        """
        asked = {
            "role": "user",
            "content": parts_of(question, image=image, audio=audio, video=video, state=state),
        }
        messages = [asked] if system is None else [{"role": "system", "content": system}, asked]
        return self._answered(messages, stream, model, decoding)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        system: str | None = None,
        stream: bool = False,
        model: str | None = None,
        **decoding: Any,
    ) -> Any:
        """Without messages a `RemoteChat` that remembers its turns; with them the answer to the last one.

        messages: as `Assistant.chat` takes them: [{"role": "user", "content": [{"type": "image", "image": "a.png"},
        {"type": "text", "text": "Who?"}]}]
        """
        if messages is None:
            return RemoteChat(self, system, model, decoding)
        told = [message_of(message) for message in messages]
        if system is not None:
            told = [{"role": "system", "content": system}, *told]
        return self._answered(told, stream, model, decoding)

    def caption(self, image: Given, model: str | None = None, **options: Any) -> str:
        """What a picture shows, asked with the sentence that the model was trained to caption with."""
        cards = [card for card in self.models() if card["task"] == "chat" and model in (None, card["id"])]
        sentence = cards[0]["prompts"]["caption"] if cards else "Describe the picture."
        return self.ask(sentence, image=image, model=model, **options)

    def transcribe(self, audio: Given, model: str | None = None) -> str:
        """What is said in a recording."""
        form = {} if model is None else {"model": model}
        files = {"file": ("recording", bytes_of(audio), "application/octet-stream")}
        return self._json("POST", "/v1/audio/transcriptions", data=form, files=files)["text"]

    # ---- shared spaces and fusion networks ------------------------------------------------------------------

    def embed(self, modality: str, media: Sequence[Given], model: str | None = None) -> np.ndarray:
        """N media of one modality -> float32[N, D] of unit length, as `SharedSpace.embed`."""
        rows: list[np.ndarray] = []
        for things in _chunks([thing_of(modality, item) for item in media]):
            asked = _without_none(model=model, input=things, encoding_format="base64")
            found = self._json("POST", "/v1/embeddings", json=asked)["data"]
            rows += [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in found]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def similarity(
        self, a: tuple[str, Sequence[Given]], b: tuple[str, Sequence[Given]], model: str | None = None
    ) -> np.ndarray:
        """Cosines float32[N, M], as `SharedSpace.similarity`."""
        return self.embed(*a, model=model) @ self.embed(*b, model=model).T

    def classify(
        self,
        modality: str,
        media: Sequence[Given],
        labels: Sequence[str],
        templates: Sequence[str] = ("{}",),
        model: str | None = None,
    ) -> list[Mapping[str, float]]:
        """Zero-shot: a probability a label, for each of the media, as `SharedSpace.classify`."""
        found: list[Mapping[str, float]] = []
        for things in _chunks([thing_of(modality, item) for item in media]):
            asked = _without_none(model=model, input=things, labels=list(labels), templates=list(templates))
            found += [
                one["scores"]["label"] for one in self._json("POST", "/v1/classify", json=asked)["data"]
            ]
        return found

    def predict(
        self, rows: Sequence[Mapping[str, Given | None]], model: str | None = None
    ) -> list[RemotePrediction]:
        """A fusion network's answers to its tasks, as `Predictor.predict`. rows: words or media by column."""
        if isinstance(rows, Mapping):
            raise ValueError("predict: got one row; expected a list of rows, predict([row])")
        columns = self._columns(model)
        if unknown := sorted({name for row in rows for name in row} - set(columns)):
            reads = ", ".join(f"{name} ({modality})" for name, modality in columns.items())
            raise ValueError(f"got {', '.join(unknown)}; this model reads {reads}")
        found: list[RemotePrediction] = []
        for some in _chunks(list(rows)):
            told = [
                {n: content_of(columns[n], item) for n, item in row.items() if item is not None}
                for row in some
            ]
            for one in self._json("POST", "/v1/classify", json=_without_none(model=model, input=told))[
                "data"
            ]:
                found.append(
                    RemotePrediction(
                        one["answers"], one["scores"], tuple(one.get("seen", ())), one.get("gates")
                    )
                )
        return found

    def _columns(self, model: str | None) -> dict[str, str]:
        """Modality by column of a fusion network. Raises ValueError when there is none of that name."""
        for card in self.models():
            if card["task"] == "classification" and model in (None, card["id"]):
                return card["columns"]
        raise ValueError("no fusion network is served" + ("" if model is None else f" as {model!r}"))

    # ---- indexes --------------------------------------------------------------------------------------------

    def search(
        self,
        text: str | None = None,
        image: Given | None = None,
        audio: Given | None = None,
        video: Given | None = None,
        vector: np.ndarray | None = None,
        id: str | None = None,
        where: str | None = None,
        top_k: int = 10,
        modality: str | Sequence[str] | None = None,
        index: str | None = None,
    ) -> list[RemoteHit]:
        """The nearest rows, best first, as `Index.search`; id: like a row that is there."""
        media = {"image": image, "audio": audio, "video": video}
        asked = _without_none(
            index=index,
            text=text,
            vector=None if vector is None else np.asarray(vector, np.float32).tolist(),
            id=id,
            where=where,
            top_k=top_k,
            modality=modality if modality is None or isinstance(modality, str) else list(modality),
            **{name: None if item is None else uri_of(item) for name, item in media.items()},
        )
        found = self._json("POST", "/v1/search", json=asked)["data"]
        return [RemoteHit(**{k: h[k] for k in HIT}, thumbnail_url=self._at(h["thumbnail"])) for h in found]

    def add(
        self,
        rows: Sequence[Mapping[str, Any]],
        index: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Add rows, {"image" | "text" | …: media, "caption": …, "fields": {…}, "id": …}, and wait until they are there.

        What the index holds already is not added again. Returns how many were added, known and bad, and why.
        """
        at = f"/v1/index/{quote(self._index(index), safe='')}"
        total: dict[str, Any] = {"added": 0, "known": 0, "bad": 0, "reasons": {}}
        for start in range(0, len(rows), AT_ONCE):
            some = [{k: content_of(k, v) for k, v in row.items()} for row in rows[start : start + AT_ONCE]]
            job = self._json("POST", f"{at}/rows", json={"rows": some})
            while job["state"] == "running":
                time.sleep(0.1)
                job = self._json("GET", f"{at}/jobs/{job['id']}")
                if progress is not None:
                    progress(start + job["done"], len(rows))
            if job["state"] == "failed":
                raise ServerError(200, job["error"])
            for name in ("added", "known", "bad"):
                total[name] += job[name]
            total["reasons"] |= job.get("reasons") or {}
        return total

    def delete(self, ids: str | Sequence[str], index: str | None = None) -> int:
        """Delete rows by their ids; returns how many there were."""
        wanted = [ids] if isinstance(ids, str) else list(ids)
        at = f"/v1/index/{quote(self._index(index), safe='')}/rows"
        return sum(self._json("DELETE", at, params={"id": some})["deleted"] for some in _chunks(wanted))

    def thumbnail(self, hit: RemoteHit) -> bytes | None:
        """The small picture of a hit, a JPEG; None where it has none."""
        return None if hit.thumbnail_url is None else self._send("GET", hit.thumbnail_url).content

    def _index(self, index: str | None) -> str:
        if index is not None:
            return index
        there = self.indexes()
        if not there:
            raise ValueError("no index is served; serve one: sensorium serve CHECKPOINT --index FOLDER")
        return there[0]["id"]

    # ---- the wire -------------------------------------------------------------------------------------------

    def _answered(
        self, messages: list[Any], stream: bool, model: str | None, decoding: Mapping[str, Any]
    ) -> Any:
        asked = _without_none(model=model, messages=messages, **decoding)
        if stream:
            return self._pieces(asked | {"stream": True})
        return self._json("POST", "/v1/chat/completions", json=asked)["choices"][0]["message"]["content"]

    def _pieces(self, asked: Mapping[str, Any]) -> Iterator[str]:
        """The pieces of a stream of server-sent events. Closing the iterator stops the answer at the server."""
        with (
            reaching(self.url),
            self._http.stream("POST", "/v1/chat/completions", json=asked) as response,
        ):
            if response.is_error:
                response.read()
                raise error_of(response)
            for line in response.iter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = json.loads(line[len("data: ") :])
                if "error" in event:
                    raise ServerError(response.status_code, event["error"]["message"])
                for choice in event["choices"]:
                    if piece := choice["delta"].get("content"):
                        yield piece

    def _json(self, method: str, path: str, **content: Any) -> Any:
        return self._send(method, path, **content).json()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        for attempt in range(self.retries + 1):
            with reaching(self.url):
                response = self._http.request(method, path, **content)
            if not response.is_error:
                return response
            error = error_of(response)
            if response.status_code != 429 or attempt == self.retries:
                raise error
            time.sleep(1.0 if error.retry_after is None else error.retry_after)
        raise AssertionError("the last attempt returns or raises")

    def _at(self, path: str | None) -> str | None:
        return None if path is None else f"{self.url}{path}"


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), AT_ONCE):
        yield items[start : start + AT_ONCE]


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
