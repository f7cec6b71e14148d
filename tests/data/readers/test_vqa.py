import json

import pytest

from sensorium.data.readers import ReaderError, answer_vocabulary, read, read_vqa, within_vocabulary
from sensorium.data.sample import Sample
from sensorium.tasks import OneOf

TEN = ["net", "net", "net", "netting", "net", "net", "mesh", "net", "net", "net"]


def questions(part, *rows):
    return {
        "info": {"version": "2.0"},
        "data_subtype": part,
        "questions": [{"question_id": id, "image_id": image, "question": text} for id, image, text in rows],
    }


def annotations(*rows):
    return {
        "annotations": [
            {
                "question_id": id,
                "image_id": id // 1000,
                "question_type": "what is this",
                "answer_type": "other",
                "multiple_choice_answer": answer,
                "answers": [
                    {"answer": one, "answer_confidence": "yes", "answer_id": number}
                    for number, one in enumerate(TEN, start=1)
                ],
            }
            for id, answer in rows
        ]
    }


@pytest.fixture
def vqa(tmp_path):
    def write(folder="", **lists):
        root = tmp_path / "VQAv2"
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, content in lists.items():
            part, kind = name.replace("test_dev", "test-dev").rsplit("_", 1)
            stem = f"v2_OpenEnded_mscoco_{part}" if kind == "questions" else f"v2_mscoco_{part}"
            (root / folder / f"{stem}_{kind}.json").write_text(json.dumps(content))
        return root

    return write


@pytest.mark.parametrize(
    ("lists", "pictures"), [("", "train2014"), ("Questions", "Images/mscoco/train2014"), ("", "images")]
)
def test_questions(vqa, picture, lists, pictures):
    root = vqa(
        lists,
        val2014_questions=questions("val2014", (262148000, 262148, "Where is he looking?")),
        val2014_annotations=annotations((262148000, "down")),
        train2014_questions=questions(
            "train2014", (458752000, 458752, "What is this photo taken looking through?")
        ),
        train2014_annotations=annotations((458752000, "net")),
        test2015_questions=questions("test2015", (262144000, 262144, "Is the ball flying?")),
    )
    picture(root / pictures / "COCO_train2014_000000458752.jpg", size=(6, 5))
    samples = read_vqa(root)
    assert [(s.id, s.fields["answer"], s.fields["split"], s.fields["part"]) for s in samples] == [
        ("458752000", "net", "train", "train2014"),
        ("262148000", "down", "validation", "val2014"),
        ("262144000", None, "test", "test2015"),
    ]
    assert samples[0].fields == {
        "answer": "net",
        "answers": TEN,
        "question_type": "what is this",
        "answer_type": "other",
        "split": "train",
        "part": "train2014",
        "image_id": 458752,
    }
    assert samples[0].columns["text"] == "What is this photo taken looking through?"
    assert samples[0].columns["image"].decode().shape == (5, 6, 3)
    assert samples[0].modality == {"image": "image", "text": "text"}
    assert samples[0].meanings == ()
    assert samples[2].fields["answers"] is None


def test_both_test_parts_share_questions_and_pictures(vqa, picture):
    one, two = (5000, 5, "Is it?"), (5001, 5, "Is it not?")
    root = vqa(test2015_questions=questions("test2015", one, two), test_dev2015_questions=questions("x", two))
    picture(root / "test2015" / "COCO_test2015_000000000005.jpg")
    assert [(s.id, s.fields["part"]) for s in read_vqa(root)] == [("5000", "test2015"), ("5001", "test2015")]
    [dev] = read_vqa(root, parts=["test-dev2015"])
    assert (dev.id, dev.fields["part"], dev.fields["split"]) == ("5001", "test-dev2015", "test")
    assert dev.columns["image"].decode().shape == (3, 4, 3)


def test_pictures_in_a_folder_of_their_own(vqa, picture, tmp_path):
    root = vqa(test2015_questions=questions("test2015", (5000, 5, "Is it?")))
    picture(tmp_path / "coco" / "COCO_test2015_000000000005.jpg")
    [sample] = read_vqa(root, images=tmp_path / "coco")
    assert sample.columns["image"].decode().shape == (3, 4, 3)


def test_lists_that_do_not_fit(vqa):
    root = vqa(train2014_questions=questions("train2014", (1000, 1, "?")))
    with pytest.raises(ReaderError, match=r"v2_mscoco_train2014_annotations\.json is missing"):
        read_vqa(root)
    vqa(train2014_annotations=annotations((1000, "a"), (2000, "b")))
    with pytest.raises(
        ReaderError, match=r"no question 2000, which v2_mscoco_train2014_annotations\.json answers"
    ):
        read_vqa(root)
    vqa(train2014_questions=questions("train2014", (1000, "../../x", "?")))
    with pytest.raises(
        ReaderError, match=r"question 0: got the image_id '\.\./\.\./x'; expected a whole number"
    ):
        read_vqa(root)
    vqa(train2014_questions={"questions": [{"question_id": 1}]})
    with pytest.raises(
        ReaderError, match=r"item 0 of questions: got .* expected question_id, image_id, question"
    ):
        read_vqa(root)
    vqa(train2014_questions=[])
    with pytest.raises(ReaderError, match="got no list 'questions'"):
        read_vqa(root)
    (root / "v2_OpenEnded_mscoco_train2014_questions.json").write_text('{"questions": [')
    with pytest.raises(ReaderError, match=r"train2014_questions\.json: not JSON"):
        read_vqa(root)


def answered(*answers):
    return [Sample(str(n), {}, {}, fields={"answer": one, "answers": TEN}) for n, one in enumerate(answers)]


def test_the_vocabulary_of_answers():
    samples = answered("yes", "no", "yes", None, "two", "no", "yes", "red")
    assert answer_vocabulary(samples) == ("yes", "no", "red", "two")
    assert answer_vocabulary(samples, most=2) == ("yes", "no")
    assert answer_vocabulary(samples, least=2) == ("yes", "no")
    with pytest.raises(ValueError, match="none of 4 answers is that of 9 questions; give a smaller least="):
        answer_vocabulary(samples, least=9)
    kept = within_vocabulary(samples, answer_vocabulary(samples, most=2))
    assert [s.fields["answer"] for s in kept] == ["yes", "no", "yes", None, None, "no", "yes", None]
    assert kept[4].fields["answers"] == TEN
    targets, known = OneOf("answer", ("yes", "no")).targets([s.fields["answer"] for s in kept])
    assert targets.tolist() == [0, 1, 0, 1, 0]
    assert known.tolist() == [True, True, True, False, False, True, True, False]


def test_the_first_3129_by_default():
    samples = answered(*(str(n) for n in range(4000)), *(str(n) for n in range(100)))
    vocabulary = answer_vocabulary(samples)
    assert len(vocabulary) == 3129
    assert set(vocabulary[:100]) == {str(n) for n in range(100)}


def test_read_finds_it_and_another_folder_says_what_is_missing(vqa, tmp_path):
    root = vqa(
        val2014_questions=questions("val2014", (1000, 1, "?")), val2014_annotations=annotations((1000, "net"))
    )
    assert read(root)[0].fields["answer"] == "net"
    with pytest.raises(ReaderError, match="no part train2014; there are val2014"):
        read(root, parts=["train2014"])
    with pytest.raises(
        ReaderError, match=r"questions\.json is missing, so this is not VQA v2; found VQAv2/; expected"
    ):
        read_vqa(tmp_path)
