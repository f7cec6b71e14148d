"""A real Chromium without a window, driven over its debugging pipe (DevTools protocol, one JSON a NUL)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "ArrowLeft": (37, ""),
    "End": (35, ""),
}


def chromium() -> str | None:
    """The program, where the machine has one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page. `run` evaluates JavaScript, `until` waits for it to be true, `click` and `press` act as a person.

    said: what the page wrote to its console as an error, and what it could not load; a test wants it empty
    """

    def __init__(self, profile: Path, *options: str) -> None:
        program = chromium()
        assert program is not None
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # Chromium reads at 3 and writes at 4, whatever numbers we were given.
        arguments = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--remote-debugging-pipe", "--hide-scrollbars", "--force-color-profile=srgb"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}"),
            *(*options, "about:blank"),
        ]
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", program, *arguments],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._number, self._session = b"", 0, ""
        self.said: list[str] = []
        self.requested: list[str] = []
        [target] = [
            one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page"
        ] or [{"targetId": self._call("Target.createTarget", url="about:blank")["targetId"]}]
        attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setFocusEmulationEnabled", enabled=True)  # else keys can go to nobody

    def size(self, width: int, height: int, phone: bool = False, dark: bool = False) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._call("Emulation.setEmulatedMedia", features=scheme)

    def speak(self, language: str) -> None:
        """The language that the browser asks pages for, from the next one on."""
        self._call("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})

    def go(self, address: str) -> None:
        self._call("Page.navigate", url="about:blank")  # else a change of # alone would load nothing
        self.until("location.href === 'about:blank'")  # else what is awaited next may be true of the old page
        self._call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        self.until("performance.getEntriesByType('paint').length")  # before that it may drop what is pressed

    def run(self, script: str) -> Any:
        """The value of an expression; promises are waited for. Raises AssertionError for what it throws."""
        found = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 60.0) -> Any:
        """The first true value of an expression."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if (value := self.run(script)) not in (None, False, 0, ""):  # an element comes as {}
                return value
            time.sleep(0.05)
        raise AssertionError(
            f"never true: {script}\n{self.run('location.href')}\n{self.run('document.body.innerText')[:2000]}\n"
            f"{self.said} {self.requested[-3:]}"
        )

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of what a person sees there."""
        found = f"document.querySelector({json.dumps(selector)})"
        for _ in range(20):  # a busy browser may drop it, or what is pressed may have moved
            x, y = self.until(
                f"(() => {{ const e = {found}; if (!e || e.disabled) return null; window.pressed = false;"
                " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
                " e.addEventListener('mousedown', () => { window.pressed = true }, {capture: true, once: true});"
                " return r.width ? [r.x + r.width / 2, r.y + r.height / 2] : null; })()"
            )
            self.mouse(x, y)
            for what in ("mousePressed", "mouseReleased"):
                self._call("Input.dispatchMouseEvent", type=what, x=x, y=y, button="left", clickCount=1)
            if self.run("window.pressed") is not False:  # None: it led to another page
                return
        raise AssertionError(f"nothing pressed {selector} at {x}, {y}")

    def mouse(self, x: float, y: float) -> None:
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def write(self, text: str) -> None:
        """Into what has the focus."""
        self._call("Input.insertText", text=text)

    def press(self, key: str, shift: bool = False) -> None:
        code, text = KEYS[key]
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self._call("Input.dispatchKeyEvent", type="keyDown", **given, **({"text": text} if text else {}))
        self._call("Input.dispatchKeyEvent", type="keyUp", **given)

    def attach(self, selector: str, *files: Path) -> None:
        """Choose files in an <input type=file>."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def picture(self, path: Path, whole: bool = False) -> Path:
        taken = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self._call("Browser.close", wait=False)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._out)
        os.close(self._in)

    def _call(self, method: str, wait: bool = True, **given: Any) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._out, json.dumps(asked).encode() + b"\0")
        while wait:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])
            self._heard(message)
        return {}

    def _read(self, seconds: float = 120.0) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], seconds)[0], "Chromium says nothing any more"
            part = os.read(self._in, 1 << 20)
            assert part, "Chromium has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def _heard(self, message: dict[str, Any]) -> None:
        method, given = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.said.append(str(given["exceptionDetails"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.said.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])


@contextlib.contextmanager
def browser(profile: Path, *options: str) -> Iterator[Browser]:
    one = Browser(profile, *options)
    try:
        yield one
    finally:
        one.close()
