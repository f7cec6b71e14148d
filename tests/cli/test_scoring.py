"""`evaluate` on a file of conversations: what is counted right, beside what, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "facade"))

from small_model import model_of

from sensorium.cli import main, scoring
from sensorium.facade import Assistant

OK = {"role": "assistant", "content": "yes"}


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    return Assistant(model_of("llama"), precision="fp32")


@pytest.fixture
def write(tmp_path):
    for seed, name in enumerate(("a", "b")):
        pixels = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")

    def written(*conversations: list) -> str:
        rows = [json.dumps({"id": f"c{n}", "messages": one}) for n, one in enumerate(conversations)]
        (tmp_path / "asked.jsonl").write_text("\n".join(rows))
        return str(tmp_path / "asked.jsonl")

    return written


def question(words: str, *pictures: str) -> dict:
    return {"role": "user", "content": [*({"type": "image", "image": name} for name in pictures), words]}


def test_the_last_answer_of_each_conversation_is_scored(assistant, write, tmp_path):
    first, second = question("what?", "a.png"), question("and this?", "b.png")
    asked = [{"role": "user", "content": [{"type": "image", "image": tmp_path / "a.png"}, "what?"]}]
    right = assistant.answers([asked], max_tokens=256)[0]
    in_parts = {"role": "assistant", "content": [{"type": "text", "text": right}]}
    found = scoring.score_answers(assistant, write([first, in_parts], [first, OK, second, OK]), None)
    assert found["accuracy"].value == 0.5
    assert found["accuracy"].n == 2


def test_questions_about_one_picture_have_none_to_be_shuffled_with(assistant, write):
    found = scoring.score_answers(
        assistant, write([question("a?", "a.png"), OK], [question("b?", "a.png"), OK]), 1
    )
    assert found["accuracy"].n == 1
    assert found["accuracy"].blind_shuffled is None


@pytest.mark.parametrize(
    "conversation",
    [[question("what?")], [OK], [question("what?"), OK, OK], [question("what?"), {**OK, "content": ""}]],
)
def test_a_conversation_without_a_right_answer_is_refused(assistant, write, conversation):
    with pytest.raises(
        ValueError, match=r"c1: got the roles .*; expected a question and, as the last message"
    ):
        scoring.score_answers(assistant, write([question("what?"), OK], conversation), None)


def test_what_there_is_to_evaluate_on_is_named(assistant):
    with pytest.raises(ValueError, match=r"expected 'scenes', or a \.json or \.jsonl file"):
        scoring.score_answers(assistant, "nothing", None)


def test_a_limit_of_nothing_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "nowhere", "scenes", "--limit", "0"])
    assert "--limit 0; expected at least 1" in capsys.readouterr().err
