"""VQA v2: questions about photographs, each answered by ten people -> samples, and answers as classes.

Goyal, Khot, Summers-Stay, Batra and Parikh, "Making the V in VQA Matter", CVPR 2017 (arXiv:1612.00837);
https://visualqa.org/download.html

Questions and answers are Creative Commons BY 4.0. The photographs are COCO's, each under the terms that its owner chose
on Flickr. Many answers can be guessed from the question alone: read scores beside a blind baseline.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.data.readers.layouts import chosen, first_folder, lacks, one_of_each, split_of
from sensorium.data.readers.rows import Layout, ReaderError, Samples
from sensorium.data.sample import Sample

QUESTIONS = re.compile(r"v2_OpenEnded_mscoco_(.+)_questions\.json")
ANNOTATIONS = "v2_mscoco_{part}_annotations.json"
LISTS = (".", "questions", "Questions", "annotations", "Annotations")  # folders that lists lie in
EXPECTED = (
    "VQAv2/{v2_OpenEnded_mscoco_train2014_questions.json, v2_mscoco_train2014_annotations.json, "
    "train2014/{COCO_train2014_000000458752.jpg, …}}"
)
USUAL_ANSWERS = 3129  # how many the least of 9 leaves of the training and validation answers


def is_vqa(folder: Path) -> bool:
    return bool(_questions(folder))


def read_vqa(
    path: str | os.PathLike,
    *,
    parts: Sequence[str] | None = None,
    images: str | os.PathLike | None = None,
    allow_outside: bool = False,
) -> Samples:
    """The questions of all parts that are there, such as train2014 and val2014; ids are the questions' numbers.

    Columns: image, text (the question). Fields:
    answer:  the most frequent of the ten answers; answers: all ten. None for parts without annotations
    question_type ("how many"), answer_type ("yes/no", "number", "other"): None without annotations
    split:   train, validation or test
    part:    train2014, val2014, test2015 or test-dev2015
    image_id

    parts:  read only these. test-dev2015 is a part of test2015 and is left out where both are there, unless it is
            named. Train has 443,757 questions: name the parts that you need
    images: the folder of pictures; by default `<part>`, `images/<part>`, `Images/mscoco/<part>` or `images` beside the
            lists, the first that exists (test2015 for both test parts)
    allow_outside: links among the pictures may lead out of their folder

    Answers stand as the files have them; the official scorer's normalisation is not applied. Pictures are opened when
    they are needed. Raises `ReaderError` for another folder, and for lists that do not fit each other.
    """
    root = Path(path)
    questions = _questions(root)
    if not questions:
        raise lacks(root, "VQA v2", "v2_OpenEnded_mscoco_…_questions.json", EXPECTED)
    if parts is None and {"test2015", "test-dev2015"} <= set(questions):
        del questions["test-dev2015"]
    layout = Layout(
        {"image": "image", "text": "text"},
        meanings=(),
        folder=root if images is None else Path(images),
        allow_outside=allow_outside,
    )
    samples = Samples()
    for part in chosen(list(questions), parts, str(root)):
        samples += _read(root, part, questions[part], layout, folder_given=images is not None)
    one_of_each(samples, str(root))
    return samples


def answer_vocabulary(
    samples: Iterable[Sample], most: int = USUAL_ANSWERS, least: int = 1
) -> tuple[str, ...]:
    """The answers that become classes when VQA is classification, the most frequent first.

    least: an answer must be that of so many questions. Teney et al. (2018, arXiv:1708.02711) take those that more than
           eight have (least=9) in train and validation, which are 3,129
    most:  keep at most so many

    Count over training questions only, unless you mean to follow that paper. The task is
    `OneOf("answer", answer_vocabulary(train))`; `within_vocabulary` makes the other answers unknown to it. Raises
    ValueError when nothing is left.
    """
    counts = Counter(str(answer) for sample in samples if (answer := sample.fields.get("answer")) is not None)
    ranked = sorted(counts, key=lambda answer: (-counts[answer], answer))
    kept = tuple(answer for answer in ranked if counts[answer] >= least)[:most]
    if not kept:
        raise ValueError(
            f"answer_vocabulary: none of {len(counts)} answers is that of {least} questions; give a smaller least="
        )
    return kept


def within_vocabulary(samples: Iterable[Sample], vocabulary: Sequence[str]) -> Samples:
    """The same records, whose answer is None where it is none of these; the field "answers" stays."""
    known = set(vocabulary)
    return Samples(
        sample
        if sample.fields.get("answer") in known
        else replace(sample, fields={**sample.fields, "answer": None})
        for sample in samples
    )


def _read(root: Path, part: str, file: Path, layout: Layout, folder_given: bool) -> list[Sample]:
    taken = part.replace("test-dev", "test")  # pictures of both test parts have one name
    usual = (taken, f"images/{taken}", f"Images/mscoco/{taken}", "images", "Images")
    folder = "." if folder_given else first_folder(root, usual)
    annotations = _annotations(root, part)
    samples = []
    for number, question in enumerate(_list(file, "questions", ("question_id", "image_id", "question"))):
        id, image_id = question["question_id"], question["image_id"]
        where = f"{file}, question {number}"
        if not isinstance(image_id, int):
            raise ReaderError(f"{where}: got the image_id {image_id!r}; expected a whole number")
        said: dict[str, Any] = annotations.pop(id, {})
        row = {
            "id": id,
            "image": f"{folder}/COCO_{taken}_{image_id:012d}.jpg",
            "text": question["question"],
            "answer": said.get("multiple_choice_answer"),
            "answers": said.get("answers"),
            "question_type": said.get("question_type"),
            "answer_type": said.get("answer_type"),
            "split": split_of(part, str(file)),
            "part": part,
            "image_id": image_id,
        }
        samples.append(layout.sample(row, where, where))
    if annotations:
        raise ReaderError(
            f"{file}: no question {next(iter(annotations))}, which {ANNOTATIONS.format(part=part)} answers (and "
            f"{len(annotations) - 1} more); expected the two files of one download"
        )
    return samples


def _questions(root: Path) -> dict[str, Path]:
    """List of questions by part: train, then validation, then test."""
    found: dict[str, Path] = {}
    for folder in LISTS:
        if (root / folder).is_dir():
            for name in os.listdir(root / folder):
                if match := QUESTIONS.fullmatch(name):
                    found.setdefault(match[1], root / folder / name)
    order = ("train", "validation", "test")
    return {
        part: found[part] for part in sorted(found, key=lambda one: (order.index(split_of(one, one)), one))
    }


def _annotations(root: Path, part: str) -> dict[Any, dict[str, Any]]:
    """By question; {} for parts that nobody published answers for."""
    name = ANNOTATIONS.format(part=part)
    file = next((root / folder / name for folder in LISTS if (root / folder / name).is_file()), None)
    if file is None:
        if split_of(part, part) == "test":
            return {}
        raise ReaderError(
            f"{root}: {name} is missing, which answers v2_OpenEnded_mscoco_{part}_questions.json; expected {EXPECTED}"
        )
    rows = _list(file, "annotations", ("question_id", "multiple_choice_answer", "answers"))
    return {row["question_id"]: row for row in rows}


def _list(file: Path, key: str, needed: Sequence[str]) -> list[dict[str, Any]]:
    """The objects below a key of a JSON file; answers are made plain texts as they are read, to keep memory small."""
    try:
        with file.open(encoding="utf-8") as stream:
            content = json.load(stream, object_hook=_plain)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise ReaderError(
            f"{file}: not JSON ({error}); expected a JSON object with the list {key!r}"
        ) from error
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ReaderError(f"{file}: got no list {key!r}; expected the file as it was downloaded")
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not set(needed) <= set(row):
            raise ReaderError(
                f"{file}, item {number} of {key}: got {str(row)[:80]}; expected {', '.join(needed)}"
            )
    return rows


def _plain(found: dict[str, Any]) -> Any:
    return sys.intern(found["answer"]) if isinstance(found.get("answer"), str) else found
