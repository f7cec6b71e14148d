"""VideoPrism's two stages at a debug size: clips, trained, scored, indexed, saved and opened again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

import sensorium
from sensorium.data.sample import Sample
from sensorium.facade import SharedSpace
from sensorium.recipes.videoprism import masked_videoprism, videoprism
from sensorium.recipes.videoprism_clips import Clips, backwards
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
        sample, scene = clips(i), clips.scene(i)
        moving = [placed for placed in scene.things if placed.velocity != (0.0, 0.0)]
        assert len(moving) == 1
        x, y = moving[0].velocity
        way = ("right" if x > 0 else "left") if x else ("down" if y > 0 else "up")
        assert sample.columns["text"] == f"the {moving[0].thing.en} moves {way} on a {scene.ground} ground"
        turned = backwards(sample)
        assert np.array_equal(turned.columns["video"].frames[::-1], sample.columns["video"].frames)
        ways = {sample.fields["direction"], turned.fields["direction"]}
        assert ways in ({"left", "right"}, {"up", "down"})
        assert backwards(turned).columns["text"] == sample.columns["text"]


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
