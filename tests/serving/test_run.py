"""The process: what it accepted it answers before it ends, with exit status 0; a port in use is told."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from sensorium.serving.run import address, bound, serve
from sensorium.serving.settings import Settings

HERE = Path(__file__).parent
PROCESS = """
import sys
from pathlib import Path
sys.path[:0] = [{here!r}, {facade!r}, {tests!r}]
from tiny_served import Made
from sensorium.serving.run import address, bound, serve
from sensorium.serving.settings import Settings
settings = Settings(port=0, page=False, wait=1.0)
listening = bound(settings)
served = Made().served(Path({folder!r}), settings, filled=False)
drained = serve(served, settings, listening, ready=lambda: print(address(listening, settings), flush=True))
print(drained, len(served.index().index), flush=True)
"""
HELLO = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def test_sigterm_finishes_what_was_accepted_refuses_what_is_new_and_exits_with_0(tmp_path):
    places = {"here": str(HERE), "facade": str(HERE.parent / "facade"), "tests": str(HERE.parent)}
    code = PROCESS.format(folder=str(tmp_path / "squares"), **places)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        at = process.stdout.readline().strip()
        answers = {}

        def ask(name: str, **more) -> None:
            answers[name] = httpx.post(f"{at}/v1/chat/completions", json=HELLO | more, timeout=60)

        asking = [
            threading.Thread(target=ask, args=("whole",)),
            threading.Thread(target=ask, args=("streamed",), kwargs={"stream": True}),
        ]
        for thread in asking:
            thread.start()
        added = httpx.post(f"{at}/v1/index/squares/rows", json={"rows": [{"text": "kept"}]}, timeout=60)
        assert added.status_code == 202
        _until_waiting(at, 2)
        process.send_signal(signal.SIGTERM)
        _until_draining(at)
        refused = httpx.post(f"{at}/v1/embeddings", json={"input": "late"}, timeout=60)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        for thread in asking:
            thread.join()
        assert answers["whole"].json()["usage"]["completion_tokens"] == 4
        assert answers["streamed"].text.endswith("data: [DONE]\n\n")
        assert process.wait(60) == 0
        assert process.stdout.read().split() == ["True", "1"]
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_what_does_not_end_in_its_time_is_told_so(made, tmp_path):
    settings = Settings(port=0, page=False, drain=0.2, wait=60.0)
    listening = bound(settings)
    at = address(listening, settings)
    served = made.served(tmp_path / "squares", settings, filled=False)
    ends = {}

    def ask(name: str, **more) -> None:
        ends[name] = httpx.post(f"{at}/v1/chat/completions", json=HELLO | more, timeout=60)

    def stop() -> None:
        _until_waiting(at, 2)
        os.kill(os.getpid(), signal.SIGTERM)

    threads = [
        threading.Thread(target=ask, args=("whole",)),
        threading.Thread(target=ask, args=("streamed",), kwargs={"stream": True}),
        threading.Thread(target=stop),
    ]
    drained = serve(served, settings, listening, ready=lambda: [thread.start() for thread in threads])
    for thread in threads:
        thread.join()
    assert drained is False
    assert {name: answer.status_code for name, answer in ends.items()} == {"whole": 503, "streamed": 503}
    assert ends["whole"].json()["error"]["code"] == "draining"
    assert served.assistant().lane.statistics.left == 2


def _until_waiting(at: str, number: int) -> None:
    while (
        f'sensorium_queue_length{{lane="model",name="talker"}} {number:.1f}'
        not in httpx.get(f"{at}/metrics").text
    ):
        time.sleep(0.01)


def _until_draining(at: str) -> None:
    while httpx.get(f"{at}/healthz").json()["status"] != "draining":
        time.sleep(0.01)


def test_a_port_in_use_is_told_with_another_to_take():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ValueError, match=rf"127\.0\.0\.1:{port}: address already in use.*--port {port + 1}"
        ):
            bound(Settings(port=port))
    with pytest.raises(ValueError, match=r"cannot listen at 203\.0\.113\.1"):
        bound(Settings(host="203.0.113.1", port=0))


def test_the_address_can_be_opened_in_a_browser():
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost")):
        settings = Settings(host=host, port=0)
        with bound(settings) as listening:
            assert address(listening, settings) == f"http://{shown}:{listening.getsockname()[1]}"


def test_parts_of_an_answer_do_not_wait_for_each_other():
    async def no_delay() -> int:
        found: asyncio.Queue[int] = asyncio.Queue()

        async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock = writer.get_extra_info("socket")
            found.put_nowait(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = bound(Settings(port=0))
        async with await asyncio.start_server(accepted, sock=listening):
            _, client = await asyncio.open_connection(*listening.getsockname())
            option = await found.get()
            client.close()
        return option

    assert asyncio.run(no_delay()) != 0
