import json
import multiprocessing
import pickle

import pytest

from sensorium.data.quarantine import Quarantine, QuarantineError
from sensorium.media import MediaError


def error(file):
    return MediaError(file, "an empty file (0 bytes)", "a file with content")


def test_each_bad_one_is_listed_once_with_its_reason(tmp_path):
    quarantine = Quarantine(tmp_path / "deep" / "quarantine.jsonl", limit_share=1)
    for _ in range(3):  # three epochs
        quarantine.add("é/7", "image", error("7.jpg"))
        quarantine.add("8", "audio", error("8.wav"))
    reason = "got an empty file (0 bytes); accepted: a file with content"
    assert [json.loads(line) for line in quarantine.path.read_text().splitlines()] == [
        {"id": "é/7", "column": "image", "file": "7.jpg", "reason": reason},
        {"id": "8", "column": "audio", "file": "8.wav", "reason": reason},
    ]
    again = Quarantine(quarantine.path)  # a second run adds nothing that is there
    again.add("8", "audio", error("8.wav"))
    assert len(again.entries()) == 2


def test_above_the_share_the_run_stops_with_the_first_of_them(tmp_path):
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=0.05, minimum=100)
    quarantine.passed(94)
    for number in range(5):
        quarantine.add(str(number), "image", error(f"{number}.jpg"))  # 5 of 99: too few to judge
    quarantine.passed(1)  # 5 of 100 is not above 5 %
    quarantine.check()
    with pytest.raises(QuarantineError) as stopped:
        quarantine.add("5", "image", error("5.jpg"))
    message = str(stopped.value)
    assert "6 of 101 media cannot be decoded (5.9%, limit 5.0%)" in message
    assert "0 [image] 0.jpg: got an empty file" in message
    assert str(quarantine.path) in message
    assert "limit_share=0.07" in message
    assert len(quarantine.entries()) == 6


def test_where_little_data_ends(tmp_path):
    one = Quarantine(tmp_path / "one.jsonl")
    one.passed(5)
    one.add("a", "image", error("a.jpg"))
    one.check()  # one of six is forgiven
    one.add("b", "image", error("b.jpg"))
    with pytest.raises(QuarantineError, match="2 of 7"):
        one.check()
    everything = Quarantine(tmp_path / "all.jsonl")
    everything.add("a", "image", error("a.jpg"))
    with pytest.raises(QuarantineError, match="1 of 1"):
        everything.check()
    with pytest.raises(QuarantineError):
        Quarantine(tmp_path / "none.jsonl", limit_share=0).add("a", "image", error("a.jpg"))
    with pytest.raises(ValueError, match=r"got 5; expected a share"):
        Quarantine(tmp_path / "x", limit_share=5)


def test_a_line_cut_off_by_a_crash_spoils_no_other(tmp_path):
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=1)
    quarantine.add("1", "image", error("1.jpg"))
    with quarantine.path.open("a") as file:
        file.write('{"id": "2", "col')
    after = Quarantine(quarantine.path, limit_share=1)
    after.add("3", "image", error("3.jpg"))
    assert [entry.id for entry in Quarantine(quarantine.path).entries()] == ["1", "3"]


def _add_many(quarantine, who):
    for number in range(50):
        quarantine.add(f"{who}-{number}", "image", error("x" * 500))


def test_processes_write_to_one_file_without_mixing_lines(tmp_path):
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=1)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(quarantine, who)) for who in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ids = {entry.id for entry in quarantine.entries()}
    assert ids == {f"{who}-{number}" for who in "ab" for number in range(50)}
    assert pickle.loads(pickle.dumps(quarantine)).limit_share == 1
