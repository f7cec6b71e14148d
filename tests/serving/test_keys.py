"""Keys: hashes at rest, and only what was hashed fits."""

import hashlib
import hmac

import pytest

from sensorium.serving import keys
from sensorium.serving.settings import Settings


def test_a_new_key_fits_its_hash_and_no_other():
    one, other = keys.new_key(), keys.new_key()
    assert keys.hashed(one) == hashlib.sha256(one.encode()).hexdigest()
    hashes = frozenset({keys.hashed(one)})
    assert keys.fits(one, hashes)
    assert not keys.fits(other, hashes)
    assert not keys.fits("", hashes)
    assert not keys.fits(keys.hashed(one), hashes)


def test_every_hash_is_compared_in_constant_time(monkeypatch):
    compared = []
    same = hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append(b) or same(a, b))
    hashes = frozenset(keys.hashed(key) for key in ("a", "b", "c"))
    assert keys.fits("a", hashes)
    assert sorted(compared) == sorted(hashes)


def test_a_file_holds_hashes_and_nothing_else(tmp_path):
    file = tmp_path / "keys.txt"
    line = f"sha256:{keys.hashed('one')}"
    file.write_text(f"# who may ask\n\n{line}  # the lab\n")
    assert keys.read_hashes(file) == {keys.hashed("one")}
    file.write_text(f"{line}\nsk-sensorium-plain\n")
    with pytest.raises(ValueError, match=r"line 2: expected sha256: .* --new-key") as told:
        keys.read_hashes(file)
    assert "plain" not in str(told.value)
    file.write_text("# none\n")
    with pytest.raises(ValueError, match="no keys in it"):
        keys.read_hashes(file)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic dTphOmI=", "a:b"),
        ("Basic !", None),
        ("Basic /w==", None),
        ("abc", None),
        ("", None),
    ],
)
def test_keys_are_read_from_bearers_and_from_what_browsers_send(header, key):
    assert keys.shown(header) == key


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"port": 70_000}, "port"),
        ({"queue": 0}, "queue"),
        ({"seconds": float("inf")}, "seconds"),
        ({"key_hashes": frozenset({"abc"})}, "64 hexadecimal"),
        ({"origins": ("example.org",)}, "https://example.org"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Settings(**wrong)


def test_a_file_that_is_not_there_is_told_with_what_to_type(tmp_path):
    with pytest.raises(ValueError, match="no such file; make a key"):
        keys.read_hashes(tmp_path / "none")
