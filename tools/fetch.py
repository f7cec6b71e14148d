"""Packages of pinned versions, fetched with their own clients and checked: `npm pack` and `apt-get download`.

package name + version + hash -> a folder of its files under the work folder
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

# Downloads, kept so that a second build needs no network.
WORK = Path(tempfile.gettempdir()) / "sensorium-tools"


class FetchError(ValueError):
    """A package that cannot be had, or is not the one that was pinned."""


def npm_package(name: str, version: str, integrity: str, work: Path) -> Path:
    """Folder of an npm package's files.

    integrity: "sha512-…" of the archive, as a package lock writes it.
    Raises FetchError when npm is missing or the archive has another hash.
    """
    folder = work / f"{name.replace('@', '').replace('/', '-')}-{version}"
    archive = work / f"{folder.name}.tgz"  # as npm names it
    if not archive.exists():
        work.mkdir(parents=True, exist_ok=True)
        _run(["npm", "pack", f"{name}@{version}"], work)
    algorithm, _, wanted = integrity.partition("-")
    got = base64.b64encode(hashlib.new(algorithm, archive.read_bytes()).digest()).decode()
    if got != wanted:
        raise FetchError(
            f"{archive}: got {algorithm}-{got}; expected {integrity}; delete the file and try again"
        )
    if not folder.exists():
        unpacking = folder.with_name(folder.name + ".unpacking")
        shutil.rmtree(unpacking, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(unpacking, filter="data")
        (unpacking / "package").rename(folder)
        unpacking.rmdir()
    return folder


def debian_package(name: str, version: str, sha256: str, work: Path) -> Path:
    """Folder of a Debian package's files, unpacked without installing it (needs no root).

    Raises FetchError when apt-get or dpkg-deb is missing, or the archive has another hash.
    """
    folder = work / f"{name}-{version}"
    archive = work / f"{name}_{version}_all.deb"
    if not archive.exists():
        work.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", f"{name}={version}"], work)
    got = hashlib.sha256(archive.read_bytes()).hexdigest()
    if got != sha256:
        raise FetchError(f"{archive}: got sha256 {got}; expected {sha256}; delete the file and try again")
    if not folder.exists():
        unpacking = folder.with_name(folder.name + ".unpacking")
        shutil.rmtree(unpacking, ignore_errors=True)
        _run(["dpkg-deb", "-x", str(archive), str(unpacking)], work)
        unpacking.rename(folder)
    return folder


def _run(command: list[str], folder: Path) -> None:
    """A client run in `folder`; FetchError with what it said when it is missing or fails."""
    if shutil.which(command[0]) is None:
        raise FetchError(f"got no {command[0]} on this machine; expected it for `{' '.join(command)}`")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        hint = " (run `apt-get update` first)" if command[0] == "apt-get" else ""
        raise FetchError(f"`{' '.join(command)}` failed: {' '.join(said)}{hint}")
