"""A language model that watches, at a debug size: clips asked about, trained, scored, opened and asked from a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium
from sensorium.cli import main
from sensorium.media.video import decode
from sensorium.recipes.clip_questions import QuestionCollator, clip_questions, questions_of, tower
from sensorium.recipes.scene_questions import collator
from sensorium.recipes.videoprism import videoprism
from sensorium.recipes.videoprism_clips import Clips
from sensorium.training.loop import fit

ROOT = Path(__file__).resolve().parents[2]
TINY = {"steps": 1, "batch_size": 1, "tested": 4, "progress": False}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Stage 1 of VideoPrism, and a language model on its tokens; the folder of both, and the second's result."""
    folder = tmp_path_factory.mktemp("runs")
    fit(videoprism(folder / "videoprism", probed=16, **{**TINY, "batch_size": 2}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensorium.recipes.clip_questions.WORDS", 3)
        return folder, *_watching(folder)


def _watching(folder):
    run = clip_questions(
        folder / "videoprism", ROOT / "weights" / "smol_llava", folder / "watcher", captioned=4, **TINY
    )
    return run, fit(run)


def test_a_clip_backwards_has_the_same_questions_and_the_other_direction():
    clip = Clips().clip(2)
    there, back = questions_of(clip), questions_of(clip.backwards())
    ways = {clip.direction, clip.backwards().direction}
    assert ways in ({"left", "right"}, {"up", "down"})
    for asked, found in ((there, clip), (back, clip.backwards())):
        by_kind = {question.kind: question.answer for question in asked}
        assert (by_kind["direction"], by_kind["caption"]) == (found.direction, found.caption)
        assert by_kind["moves"] == clip.moving.thing.en
        assert by_kind["ground"] == clip.scene.ground


def test_the_encoder_and_what_the_language_model_knew_are_taken_over_and_the_encoder_stays(runs):
    folder, run, result = runs
    encoder, first = run.model.encoders["video"], tower(folder / "videoprism")
    for name, tensor in first.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor), name
    lora = {name: p for name, p in result.model.named_parameters() if ".lora_B" in name}
    assert lora
    assert all(p.abs().sum() > 0 for p in lora.values())  # zeros in a new one; one step moves few so far
    batch = QuestionCollator(Clips(), collator(run.model))([0])
    assert batch.slots["video"].sum() == 2 * 16  # a clip and the same backwards, 16 places each


def test_scores_stand_beside_frames_in_random_order(runs):
    scores = json.loads((runs[0] / "watcher" / "metrics.json").read_text())
    for name in ("direction.accuracy", "in_random_order.direction.accuracy"):
        assert scores[name]["n"] == 4
        assert None not in (
            scores[name]["blind_withheld"],
            scores[name]["blind_shuffled"],
            scores[name]["majority"],
        )
    assert scores["written_caption.direction.accuracy"]["n"] == 4


def test_a_file_is_asked_about_and_its_frames_are_what_was_written(runs, capsys):
    folder = runs[0]
    examples = folder / "watcher" / "examples"
    clip = Clips("unseen_artist").both_ways(4)[0]
    assert (examples / "clip-0.txt").read_text().strip() == clip.caption
    frames = decode(examples / "clip-0.mp4").frames
    assert np.abs(frames.astype(int) - clip.video.frames).mean() < 6
    main(["ask", str(folder / "watcher"), "Which way does it move?", "--video", str(examples / "clip-0.mp4"),
          "--max-tokens", "4"])  # fmt: skip
    said = capsys.readouterr().out.strip()
    assistant = sensorium.load(folder / "watcher")
    assert said
    assert assistant.ask("Which way does it move?", video=examples / "clip-0.mp4", max_tokens=4) == said
    messages = [
        {
            "role": "user",
            "content": [{"type": "video", "video": str(examples / "clip-0.mp4")}, "Which way does it move?"],
        }
    ]
    assert assistant.chat(messages, max_tokens=4) == said


def test_a_run_of_something_else_is_refused(runs):
    with pytest.raises(
        ValueError, match="got a smol_watcher; expected a run of `sensorium train videoprism`"
    ):
        tower(runs[0] / "watcher")


def test_the_files_are_indexed_and_searched_by_words_and_by_a_clip(runs, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = runs[0]
    examples = folder / "watcher" / "examples"
    main(["index", "clips", str(examples), "--model", str(folder / "videoprism")])
    assert "4 added" in capsys.readouterr().out  # two clips, there and back, each with its sentence
    main(["search", "clips", "--video", str(examples / "clip-1.mp4"), "--top", "1"])
    assert "clip-1.mp4" in "".join(capsys.readouterr().out.split())  # the table breaks long names
    main(["search", "clips", "--text", "it moves left", "--top", "4"])
    assert "".join(capsys.readouterr().out.split()).count("video") == 4
