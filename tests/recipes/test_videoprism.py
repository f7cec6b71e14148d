"""VideoPrism's two stages at a debug size: clips, trained, scored, indexed, saved and opened again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

import sensorium
from sensorium.data.sample import Sample
from sensorium.facade import SharedSpace
from sensorium.recipes.clip_captions import CaptionSlots, every_sentence
from sensorium.recipes.videoprism import masked_videoprism, videoprism
from sensorium.recipes.videoprism_clips import ClipCollator, Clips, Lessons, in_turn
from sensorium.recipes.videoprism_tests import VideoTests
from sensorium.retrieval.index import Index
from sensorium.systems import system_builder
from sensorium.systems.videoprism import frame_clip
from sensorium.training.checkpoint import load_model
from sensorium.training.loop import fit

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A tokenizer of letters in BERT's layout."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    BertTokenizer(vocab={token: row for row, token in enumerate(tokens)}).save_pretrained(folder)
    return folder


def test_a_clip_shows_what_its_sentence_says():
    clips = Clips()
    for i in range(6):
        clip = clips.clip(i)
        sample, moving = clip.sample(), [one for one in clip.scene.things if one.velocity != (0.0, 0.0)]
        assert len(moving) == 1
        x, y = moving[0].velocity
        way = ("right" if x > 0 else "left") if x else ("down" if y > 0 else "up")
        assert (
            sample.columns["text"] == f"the {moving[0].thing.en} moves {way} on a {clip.scene.ground} ground"
        )
        assert clip.sample(briefly=True).columns["text"] == f"it moves {way}"
        turned = clip.backwards()
        assert np.array_equal(turned.video.frames[::-1], clip.video.frames)
        assert {clip.direction, turned.direction} in ({"left", "right"}, {"up", "down"})
        assert turned.backwards().caption == clip.caption
        # The scene that is told of the clip backwards is the one that its frames show, within a rounded pixel.
        last = turned.scene.things[clip.scene.things.index(moving[0])].box
        assert np.abs(np.subtract(last, moving[0].at(2.0))).max() <= 1


def test_lessons_come_one_after_another(tokenizer):
    torch.manual_seed(0)
    encoders = {"video": frame_clip("tiny", str(tokenizer)).encoders["video"]}
    lessons = Lessons(stills=4, crossing=8, brief=12)
    collate = ClipCollator(encoders, Clips(), lessons)
    assert [lessons.still(place) for place in (0, 3, 6, 20)] == [True, True, False, False]
    assert [lessons.crosses(place) for place in (0, 4, 8, 12, 40)] == [True, True, True, False, False]
    assert not any(Lessons().crosses(place) or Lessons().still(place) for place in range(4))
    clip = replace(Clips(), crossing=True).clip(1)
    still = clip.still()
    assert still.columns["text"] == f"it is {clip.direction}"
    assert (still.columns["video"].frames == clip.video.frames[-1]).all()
    alone = replace(Clips(), crossing=True).clip(3)
    assert len(alone.scene.things) == 1
    x0, y0, x1, y1 = alone.scene.things[0].box
    assert 0 in (x0, y0) or 64 in (x1, y1)  # it begins at an edge, and ends at the other
    ends = alone.scene.things[0].at(2.0)
    assert (min(x0, ends[0]), max(x1, ends[2])) == (0, 64) or (min(y0, ends[1]), max(y1, ends[3])) == (0, 64)
    brief, whole = collate([7, 8]), collate([12, 13])
    assert len(brief.meanings.unique()) <= 4 == len(whole.meanings.unique()) == len(whole.meanings)
    assert in_turn(3, 0, 4).tolist() == [0, 1, 2, 3]


def test_captions_are_scored_slot_by_slot():
    right = ["the owl moves left on a green ground", "the alarm clock moves up on a red ground"]
    said = ["The owl moves right on a green ground.", "an alarm clock"]
    found = {name: measured.value for name, measured in CaptionSlots(right)(said).items()}
    assert found == {
        "caption.accuracy": 0.0,
        "caption.thing.accuracy": 0.5,
        "caption.direction.accuracy": 0.0,
        "caption.ground.accuracy": 0.5,
    }
    assert [one.value for one in CaptionSlots(right)(right).values()] == [1.0] * 4
    assert len(set(every_sentence())) == 150 * 4 * 6


def test_what_does_not_see_order_is_right_about_half_the_clips_at_most(tokenizer):
    """The peer: pictures averaged over frames make one vector of a clip and of the same clip backwards."""
    torch.manual_seed(0)
    peer = frame_clip("tiny", str(tokenizer)).encoders["video"]
    tests = VideoTests(probed=24, tested=12)
    vectors = peer.encode([sample.columns["video"] for sample in tests.test], what="pooled").pooled
    assert (vectors[:6] - vectors[6:]).abs().max() < 1e-5 < 1e-3 < vectors.std(0).max()
    scores = tests.motion(peer)
    assert scores["direction.accuracy"].value <= 0.5
    assert scores["direction.accuracy"].n == 12


def test_both_stages_train_score_index_and_open_again(tokenizer, tmp_path):
    few = {"steps": 2, "batch_size": 2, "probed": 16, "tested": 8, "progress": False}
    first = fit(videoprism(folder=tmp_path / "one", tokenizer=str(tokenizer), **few))
    assert all(step["loss/info_nce/video-text"] == step["loss"] > 0 for step in first.steps)
    written = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert written["direction.accuracy"]["n"] == written["text_to_video.R@1"]["n"] == 8
    assert written["caption.direction.accuracy"]["n"] == written["shuffled.caption.accuracy"]["n"] == 8

    # A video column is searched like any other.
    samples = [Clips("new_scenes")(i) for i in range(3)]
    opened = sensorium.load(first.checkpoint)
    index = Index.create(tmp_path / "index", opened)
    media = [Sample(s.id, {"video": s.columns["video"]}, {"video": "video"}) for s in samples]
    assert index.add(media, progress=False).added == 3
    hit = index.search(video=samples[1].columns["video"])[0]
    assert (hit.id, hit.modality, hit.score) == (samples[1].id, "video", pytest.approx(1, abs=1e-3))
    assert index.search(text="the owl moves left")[0].score > -1

    second = fit(masked_videoprism(folder=tmp_path / "two", start=tmp_path / "one", **few))
    assert all(
        step["loss/distillation/local"] > 0 < step["loss/distillation/global"] for step in second.steps
    )
    assert "direction.stage_one" in json.loads((tmp_path / "two" / "metrics.json").read_text())
    again = load_model(tmp_path / "two", system_builder)
    for name, tensor in second.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    teacher, before = (
        again.teacher.state_dict(),
        SharedSpace(first.model).model.encoders["video"].state_dict(),
    )
    assert all(torch.equal(teacher[name], tensor) for name, tensor in before.items())
    assert any(not torch.equal(again.student.state_dict()[name], tensor) for name, tensor in before.items())


def test_stage_two_needs_a_stage_one(tmp_path):
    with pytest.raises(ValueError, match=r"(?i)no .*checkpoint|not"):
        masked_videoprism(folder=tmp_path / "two", start=tmp_path / "nothing")
