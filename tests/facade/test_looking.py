"""Where an answer looked: by hand on small models, and beside boxes that are known on the shipped one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data.scenes import Scenes
from sensorium.facade import load
from sensorium.facade.looking import CannotLook, Look, _spots, look
from sensorium.models.reading import context_of

ROOT = Path(__file__).resolve().parents[2]


def asked(*pictures):
    parts = [{"type": "image", "image": str(one)} for one in pictures]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "who"}]}]


@torch.no_grad()
def log_probability(assistant, embeddings, keep, answer: str, after: int = 0) -> float:
    """Of an answer, token by token, when what stands from `after` on sees those positions of a prompt in `keep`."""
    backbone = assistant.model.backbone
    ids = torch.tensor(backbone.tokenizer(answer, add_special_tokens=False)["input_ids"])
    attend = torch.tensor([n in keep for n in range(embeddings.shape[1])])
    if backbone.kind == "encoder_decoder":
        before = torch.cat([torch.tensor([backbone.start_id]), ids[:-1]])[None]
        hidden = backbone(embeddings, attend[None], before)
    else:
        whole = torch.cat([embeddings, backbone.embed(ids[:-1])[None]], 1)
        L, P = whole.shape[1], embeddings.shape[1]
        seen = torch.ones(L, L, dtype=torch.bool).tril()
        seen[after:, :P] &= attend
        hidden = backbone(whole, seen[None])[:, P - 1 :]
    spread = backbone.logits(hidden.contiguous()).float().log_softmax(-1)[0]
    return float(spread[torch.arange(len(ids)), ids].sum())


def test_losses_are_those_of_hiding_by_hand(any_assistant, pictures):
    """Two routes: the cache and its masks at once, and one plain reading a spot."""
    prompt = any_assistant.prompt(asked(*pictures))
    first, second = look(any_assistant, asked(*pictures), "a cat")
    positions = [n for n, key in enumerate(prompt.keys) if isinstance(key, tuple)]
    assert (first.number, second.number, first.modality, first.words) == (0, 1, "image", ("a", "cat"))
    everything = set(range(len(prompt)))
    whole = log_probability(any_assistant, prompt.embeddings, everything, "a cat")
    assert first.seen.sum() == pytest.approx(whole, abs=2e-3)
    for one, own in ((first, positions[:6]), (second, positions[6:])):
        assert one.lost.shape == (2, 6)  # six rows of a picture are no square: read as a line
        hidden = log_probability(
            any_assistant, prompt.embeddings, everything - set(own), "a cat", own[-1] + 1
        )
        assert one.blind.sum() == pytest.approx(hidden, abs=2e-3)
        for spot in (0, 3, 5):
            around = set(own[max(0, spot - 1) : spot + 2])
            hidden = log_probability(
                any_assistant, prompt.embeddings, everything - around, "a cat", own[-1] + 1
            )
            assert one.lost[:, spot].sum() == pytest.approx(whole - hidden, abs=2e-3)


def test_a_sound_is_looked_at_along_its_time(assistant, tmp_path):
    from sensorium.media import Audio

    sound = Audio(np.linspace(-1, 1, 64, dtype=np.float32), 16_000)
    messages = [
        {"role": "user", "content": [{"type": "audio", "audio": sound}, {"type": "text", "text": "what"}]}
    ]
    [one] = look(assistant, messages, "no")
    assert (one.modality, one.lost.shape) == ("audio", (1, 4))
    assert one.heat().sum() == pytest.approx(1) or (one.lost <= 0).all()


@pytest.mark.parametrize("method", ["gradient", "attention"])
def test_other_methods_give_a_share_to_each_place(assistant, pictures, method):
    [one] = look(assistant, asked(pictures[0]), "yes", method=method)
    assert one.lost.shape == (1, 6)
    assert (one.lost >= 0).all()
    assert one.heat().sum() == pytest.approx(1, abs=1e-6)
    again = look(assistant, asked(pictures[0]), "yes")[0]
    np.testing.assert_allclose(
        one.blind, again.blind, atol=1e-4
    )  # all looks tell of the whole picture hidden


def test_the_heat_is_what_was_lost_and_nothing_that_was_gained():
    one = Look(
        "image", "image", 0, ("a", "b"), np.array([[[3.0, -9.0]], [[1.0, 1.0]]]), np.zeros(2), np.zeros(2)
    )
    np.testing.assert_allclose(one.heat(), [[1, 0]])
    np.testing.assert_allclose(one.heat(1), [[0.5, 0.5]])
    none = Look("image", "image", 0, ("a",), np.array([[[-1.0, 0.0]]]), np.zeros(1), np.zeros(1))
    np.testing.assert_allclose(none.heat(), [[0, 0]])


def test_spots_of_a_picture_are_squares_and_those_of_a_sound_stretches():
    shape, spots = _spots("image", list(range(100, 109)))
    assert shape == (3, 3)
    assert spots[0] == [100, 101, 103, 104]
    assert spots[4] == list(range(100, 109))
    shape, spots = _spots("audio", list(range(240)))
    assert shape == (24,)
    assert spots[0] == list(range(20))
    assert spots[5] == list(range(40, 70))


def test_heat_lies_on_the_thing_that_the_answer_is_about():
    """The shipped model, six questions whose answer is one thing with a known box; benchmarks/looking.py has more."""
    assistant = load(ROOT / "weights" / "smol_llava")
    scenes = Scenes("new_scenes")
    shares, areas, blind = [], [], []
    for number in range(40):
        scene = scenes.scene(number)
        for question in scenes.questions(scene):
            boxes = [placed.box for placed in scene.things if placed.thing.en == question.answer]
            if question.kind != "left_of" or len(boxes) != 1 or len(shares) == 6:
                continue
            parts = [
                {"type": "image", "image": scenes.picture(scene)},
                {"type": "text", "text": question.text},
            ]
            [one] = look(assistant, [{"role": "user", "content": parts}], question.answer)
            x0, y0, x1, y1 = boxes[0]
            inside = np.zeros((scene.size, scene.size))
            inside[y0:y1, x0:x1] = 1
            covered = inside.reshape(7, scene.size // 7, 7, scene.size // 7).mean((1, 3))
            shares.append((one.heat() * covered).sum())
            areas.append(covered.mean())
            blind.append(one.seen.sum() - one.blind.sum())
    assert len(shares) == 6
    assert np.mean(areas) < 0.2
    assert np.mean(shares) > 3 * np.mean(areas)
    assert np.mean(blind) > 2  # nats: hidden, the picture leaves a guess


def test_what_cannot_be_looked_at_is_said(assistant, any_assistant, pictures):
    with pytest.raises(CannotLook, match="no picture and no sound"):
        look(assistant, [{"role": "user", "content": "who"}], "me")
    with pytest.raises(CannotLook, match="empty"):
        look(assistant, asked(pictures[0]), "  ")
    with pytest.raises(CannotLook, match="hide, gradient, attention"):
        look(assistant, asked(pictures[0]), "me", method="saliency")
    if any_assistant.engine.kind == "encoder_decoder":
        with pytest.raises(CannotLook, match="decoder-only"):
            look(any_assistant, asked(pictures[0]), "me", method="attention")


def test_long_answers_are_looked_at_as_far_as_words_go(assistant, pictures):
    [one] = look(assistant, asked(pictures[0]), " ".join("ab" for _ in range(90)))
    assert len(one.words) == len(one.seen) == 64
    assert context_of(assistant.model.backbone) == 400
