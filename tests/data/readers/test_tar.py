import io
import itertools
import os
import tarfile

import pytest
from torch.utils.data import DataLoader

from sensorium.data.quarantine import Quarantine
from sensorium.data.readers import ReaderError, read, read_tar
from sensorium.media import Limits, MediaError


def write(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def png(tmp_path, picture):
    return picture(tmp_path / "p.png").read_bytes()


@pytest.fixture
def shards(tmp_path, png):
    for shard in range(4):
        numbers = range(3 * shard, 3 * shard + 3)
        members = [
            (f"{n:04}.{end}", png if end == "png" else b"number %d" % n)
            for n in numbers
            for end in ("png", "txt")
        ]
        write(tmp_path / f"x-{shard:03}.tar", members)
    return str(tmp_path / "x-{000..003}.tar")


def test_members_of_one_name_are_one_record(tmp_path, png):
    members = [
        ("a/0001.left.png", png),
        ("a/0001.png", png),
        ("a/0001.json", b'{"caption": "A Cat", "year": 1999}'),
        ("a/0001.cls", b"7\n"),
        ("a/0001.pth", b"\x80\x04 never opened"),
        ("a/0002.TXT", b"hello\n"),
        ("b/0001.JPG", png),
    ]
    for file in (write(tmp_path / "x.tar", members), write(tmp_path / "x.tar.gz", members, "w:gz")):
        samples = read(file)
        first, second, third = samples
        assert [sample.id for sample in (first, second, third)] == ["x/a/0001", "x/a/0002", "x/b/0001"]
        assert first.modality == {"left": "image", "image": "image", "caption": "text", "text": "text"}
        assert set(first.columns) == {"left", "image", "caption"}
        assert first.columns["left"].decode().shape == (3, 4, 3)
        assert (first.columns["caption"], first.meanings) == ("A Cat", ("caption:a cat",))
        assert first.fields == {"year": 1999, "label": 7}
        assert second.columns == {"text": "hello"}
        assert second.meanings == ("text:hello",)
        assert "0001" in third.columns["image"].name
        assert samples.skipped["pth"] >= 1
        assert len(list(samples)) == 3  # again


def test_nothing_is_written_and_links_are_passed_over(tmp_path, png, monkeypatch):
    file = write(tmp_path / "x.tar", [("../../evil.png", png), ("._a.png", b"?")])
    with tarfile.open(file, "a") as tar:
        for kind, name in (
            (tarfile.SYMTYPE, "b.txt"),
            (tarfile.LNKTYPE, "c.txt"),
            (tarfile.CHRTYPE, "d.txt"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert [sample.id for sample in read_tar(file)] == ["x/../../evil"]
    assert sorted(os.listdir(tmp_path)) == before


def ids(samples):
    return [sample.id.split("/")[1] for sample in samples]


ALL = [f"{n:04}" for n in range(12)]


def test_shards_are_shared_out_among_ranks_and_workers(shards):
    assert ids(read_tar(shards)) == ALL
    by_shard = [ids(read_tar(shards, rank=rank, world=2)) for rank in (0, 1)]
    assert by_shard == [ALL[0:3] + ALL[6:9], ALL[3:6] + ALL[9:12]]
    for world in (3, 5):  # 5: fewer shards than processes, so single records
        parts = [ids(read_tar(shards, rank=rank, world=world)) for rank in range(world)]
        assert sorted(itertools.chain(*parts)) == ALL
        assert all(parts)
    loaded = DataLoader(read_tar(shards, rank=1, world=2), batch_size=None, num_workers=2)
    assert sorted(ids(loaded)) == sorted(by_shard[1])
    loaded = DataLoader(read_tar(shards, rank=1, world=2), batch_size=None, num_workers=3)
    assert sorted(ids(loaded)) == ALL[1::2]


def test_launched_processes_are_known_from_the_environment(shards, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ids(read_tar(shards)) == ALL[3:6]


def test_shuffling_follows_from_seed_and_epoch(shards):
    samples = read_tar(shards, shuffle=5, seed=1)
    first = ids(samples)
    assert sorted(first) == ALL
    assert first != ALL
    assert ids(samples) == first
    samples.set_epoch(1)
    assert ids(samples) != first
    parts = [read_tar(shards, shuffle=5, seed=1, rank=rank, world=2) for rank in (0, 1)]
    assert sorted(ids(parts[0]) + ids(parts[1])) == ALL


def test_patterns(tmp_path, shards, png):
    assert [file.name for file in read_tar(str(tmp_path / "x-{000,003}.tar")).files] == [
        "x-000.tar",
        "x-003.tar",
    ]
    assert len(read_tar(str(tmp_path / "*.tar")).files) == 4
    assert len(read(tmp_path / "x-000.tar").files) == 1
    (tmp_path / "shards").mkdir()
    write(tmp_path / "shards" / "a.tar", [("1.png", png)])
    assert [file.name for file in read(tmp_path / "shards").files] == ["a.tar"]
    with pytest.raises(ReaderError, match=r"1 of 5 shards are not there, such as .*x-004\.tar"):
        read_tar(str(tmp_path / "x-{000..004}.tar"))
    for address in ("https://x.org/a.tar", "pipe:curl x"):
        with pytest.raises(ReaderError, match="readers fetch and run nothing"):
            read_tar(address)


@pytest.mark.parametrize("cut", ["content", "header", "garbage", "gzip"])
def test_a_damaged_shard_is_named_and_the_rest_goes_on(tmp_path, shards, png, cut):
    file = tmp_path / "x-001.tar"
    whole = file.read_bytes()
    if cut == "content":  # in the middle of the second record's picture
        file.write_bytes(whole[: 512 * 4 + 512 + 20])
    elif cut == "header":
        file.write_bytes(whole[: 512 * 4 + 100])
    elif cut == "garbage":
        file.write_bytes(whole[: 512 * 4] + b"\x07" * 512 + whole[512 * 5 :])
    else:
        members = [
            ("0003.png", png),
            ("0003.txt", b"x"),
            ("0004.png", os.urandom(100_000)),
            ("0004.txt", b"y"),
        ]
        write(file, members, "w:gz")
        file.write_bytes(file.read_bytes()[:50_000])
    with pytest.raises(MediaError, match=r"x-001\.tar: got an archive that"):
        list(read_tar(shards))
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=1)
    # The record before the damage is left out too: more members of it may have followed.
    assert ids(read_tar(shards, quarantine=quarantine)) == ALL[:3] + ALL[6:]
    [entry] = quarantine.entries()
    assert (entry.id, entry.column) == ("x-001.tar", "shard")


def test_what_is_no_tar_at_all(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(MediaError, match=r"a\.tar: got an archive that breaks off or is none"):
        read_tar(tmp_path / "a.tar")


def test_large_members_are_not_read(tmp_path, png):
    file = write(tmp_path / "x.tar", [("1.png", png), ("2.png", b"0" * 5000), ("2.txt", b"two")])
    with pytest.raises(MediaError, match=r"5,000 bytes; accepted: at most 1,000"):
        list(read_tar(file, limits=Limits(bytes=1000)))
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=1)
    _first, second = read_tar(file, limits=Limits(bytes=1000), quarantine=quarantine)
    assert set(second.columns) == {"text"}
    assert [entry.column for entry in quarantine.entries()] == ["image"]
    # A header of extensions that claims more than the limit is not believed either.
    claim = tarfile.TarInfo("big")
    claim.type, claim.size = tarfile.XHDTYPE, 2**40
    (tmp_path / "y.tar").write_bytes(claim.tobuf(tarfile.GNU_FORMAT) + b"0" * 5000)
    with pytest.raises(MediaError, match="a header that asks for"):
        list(read_tar(tmp_path / "y.tar", {"image": "image"}, limits=Limits(bytes=1000)))


def test_columns_must_be_clear(tmp_path, png):
    with pytest.raises(ReaderError, match="two members for the column 'image'"):
        read_tar(write(tmp_path / "a.tar", [("1.png", png), ("1.jpg", png)]))
    members = [(f"{n}.png", png) for n in range(100)] + [("100.txt", b"late")]
    late = write(tmp_path / "b.tar", members)
    with pytest.raises(ReaderError, match=r"column \['text'\] is not among those of the first records"):
        list(read_tar(late))
    samples = list(read_tar(late, {"image": "image", "text": "text"}))
    assert samples[100].columns == {"text": "late"}
    assert samples[0].modality == {"image": "image", "text": "text"}
    assert [set(s.columns) | set(s.fields) for s in read_tar(late, {"image": "image"})][-1] == set()
    with pytest.raises(ReaderError, match="not JSON"):
        read_tar(write(tmp_path / "c.tar", [("1.png", png), ("1.json", b"{")]))
    with pytest.raises(ReaderError, match="expected the number of a class"):
        read_tar(write(tmp_path / "d.tar", [("1.png", png), ("1.cls", b"cat")]))
