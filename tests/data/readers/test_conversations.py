"""LLaVA's files and lists of messages become samples whose paths stay in their folder."""

import json

import pytest

from sensorium.data.conversation import parse
from sensorium.data.readers import ReaderError, read_conversations


def write(path, rows):
    text = json.dumps(rows) if path.suffix == ".json" else "\n".join(map(json.dumps, rows))
    path.write_text(text, encoding="utf-8")
    return path


def llava(value, **cells):
    return {
        **cells,
        "conversations": [{"from": "human", "value": value}, {"from": "gpt", "value": "A fish."}],
    }


def test_llava(tmp_path, picture):
    picture(tmp_path / "coco" / "1.png")
    rows = [
        llava("<image>\nWhat is this?", id="a", image="coco/1.png", source="coco"),
        llava("And what is 2 + 2?"),
    ]
    first, second = read_conversations(write(tmp_path / "mix.json", rows))
    assert (first.id, first.modality, first.fields) == ("a", {"messages": "conversation"}, {"source": "coco"})
    question, answer = parse(first.columns["messages"])
    assert (question.role, answer.role, answer.parts) == ("user", "assistant", ("A fish.",))
    assert question.parts[0].media.decode().shape == (3, 4, 3)
    assert question.parts[1] == "\nWhat is this?"
    assert second.id == "mix.json:1"
    assert parse(second.columns["messages"])[0].parts == ("And what is 2 + 2?",)


def test_several_media_fill_their_places_in_order(tmp_path):
    rows = [llava("<image> or <image>? <audio>", image=["1.png", "2.png"], audio="3.wav")]
    [sample] = read_conversations(write(tmp_path / "rows.jsonl", rows))
    parts = parse(sample.columns["messages"])[0].parts
    assert [part if isinstance(part, str) else part.media.path.name for part in parts] == [
        "1.png", " or ", "2.png", "? ", "3.wav"
    ]  # fmt: skip


def test_messages_with_parts_or_with_marks(tmp_path):
    answer = {"role": "assistant", "content": "A fish."}
    parts = [{"type": "image", "image": "1.png", "as": "object"}, {"type": "text", "text": "What?"}]
    rows = [
        {"messages": [{"role": "user", "content": parts}, answer]},
        {"messages": [{"role": "user", "content": "<image>What?"}, answer], "images": ["1.png"]},
    ]
    media = tmp_path / "media"
    one, two = (
        parse(sample.columns["messages"])[0].parts
        for sample in read_conversations(write(tmp_path / "rows.jsonl", rows), media=media)
    )
    assert (one[0].name, two[0].name) == ("object", "image")
    assert one[0].media.path == two[0].media.path == media / "1.png"
    assert one[1:] == two[1:] == ("What?",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (llava("<image>?", image="../x.png"), r"leads out of .*expected a path below it"),
        (llava("<image>?", image="/etc/passwd"), "leads out of"),
        (llava("<image>?", image="https://x.org/1.png"), "readers fetch nothing"),
        (
            llava("<image> <image>?", image="1.png"),
            "message 1: <image> without one; the row names fewer image files",
        ),
        (llava("What?", image="1.png"), r"media that no message mentions, \{'image': 1\}; put <image> where"),
        (
            {"conversations": [{"from": "robot", "value": "x"}]},
            "unknown speaker 'robot'; expected one of human",
        ),
        ({"conversations": []}, "it is empty"),
        ({"text": "x"}, r"got the cells \['text'\]; expected a list called 'conversations' or 'messages'"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "unknown type 'smell'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "image": "../x.png"}]}]},
            "leads out of",
        ),
    ],
)
def test_bad_rows_are_named(tmp_path, row, message):
    file = write(tmp_path / "rows.jsonl", [row])
    with pytest.raises(ReaderError, match=f"rows.jsonl:1.*{message}"):
        read_conversations(file)


def test_paths_may_lead_out_when_the_list_is_trusted(tmp_path):
    (tmp_path / "lists").mkdir()
    file = write(tmp_path / "lists" / "rows.jsonl", [llava("<image>?", image="../1.png")])
    [sample] = read_conversations(file, allow_outside=True)
    assert parse(sample.columns["messages"])[0].parts[0].media.path == tmp_path / "1.png"


def test_two_rows_of_one_id_are_refused(tmp_path):
    with pytest.raises(ReaderError, match="two rows have the id 'a'"):
        read_conversations(write(tmp_path / "rows.jsonl", [llava("x", id="a"), llava("y", id="a")]))
