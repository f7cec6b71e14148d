import hashlib
import io
import tarfile

import pytest

import fetch


def npm_archive(folder, name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/icons.json")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    (folder / f"{name}.tgz").write_bytes(packed.getvalue())
    return packed.getvalue()


def integrity(data: bytes) -> str:
    import base64

    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def test_a_package_that_is_there_is_checked_and_unpacked_once(tmp_path):
    data = npm_archive(tmp_path, "scope-icons-1.0", b"{}")
    folder = fetch.npm_package("@scope/icons", "1.0", integrity(data), tmp_path)
    assert (folder / "icons.json").read_bytes() == b"{}"
    (folder / "icons.json").write_bytes(b"[]")
    assert (
        fetch.npm_package("@scope/icons", "1.0", integrity(data), tmp_path) / "icons.json"
    ).read_bytes() == b"[]"


def test_a_wrong_hash_is_one_line_and_unpacks_nothing(tmp_path):
    npm_archive(tmp_path, "scope-icons-1.0", b"{}")
    with pytest.raises(ValueError, match=r"got sha512-.*; expected sha512-other; delete the file"):
        fetch.npm_package("@scope/icons", "1.0", "sha512-other", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["scope-icons-1.0.tgz"]
    (tmp_path / "stamps_1_all.deb").write_bytes(b"no archive")
    with pytest.raises(
        ValueError, match=f"got sha256 {hashlib.sha256(b'no archive').hexdigest()}; expected 00"
    ):
        fetch.debian_package("stamps", "1", "00", tmp_path)


def test_a_missing_client_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="got no npm on this machine"):
        fetch.npm_package("icons", "1.0", "sha512-x", tmp_path)
