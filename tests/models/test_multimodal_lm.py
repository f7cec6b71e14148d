"""A picture, a sound, a clip and a state in one conversation: laid out, packed, trained on, answered about."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.data.conversation import ConversationError, Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.sample import Sample
from sensorium.encoders.state import StateEncoder
from sensorium.encoders.video import FrameEncoder
from sensorium.encoders.whisper import WhisperEncoder
from sensorium.facade import Assistant
from sensorium.media import Audio, Video
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.projectors import Chain, FrameStacking, LinearProjector
from sensorium.training.loop import fit
from sensorium.training.run import Run

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

import chat

SCHEMA = ("robot.x", "robot.y", "goal.x", "goal.y")
FRAMES = 4  # of Whisper's, stacked to one token


def sees_hears_and_senses(kind: str) -> MultimodalLM:
    tokenizer = chat.byte_level()
    tokenizer.eos_token = "<|im_end|>"  # ends an answer
    backbone = chat.model(kind, tokenizer).backbone
    torch.manual_seed(2)
    encoders = {
        "image": chat.Rows(),
        "audio": WhisperEncoder(width=16, layers=1, heads=2, inner=16, positions=100),
        "video": FrameEncoder(chat.Rows()),
        "state": StateEncoder(SCHEMA, width=8, by_object=True),
    }

    def lifted(width: int) -> LinearProjector:
        return LinearProjector(torch.nn.Linear(width, chat.WIDTH))

    stacked = Chain(FrameStacking(16, FRAMES), lifted(16 * FRAMES))
    projectors = {"image": lifted(12), "audio": stacked, "video": lifted(12), "state": lifted(8)}
    return MultimodalLM(encoders, projectors, backbone).eval()


def sound(samples: int) -> Audio:
    return Audio(np.sin(np.arange(samples) / 9).astype(np.float32), 16_000)


def clip(frames: int, seed: int = 0) -> Video:
    made = np.random.default_rng(seed).integers(0, 256, (frames, 4, 4, 3), np.uint8)
    return Video(made, np.arange(frames, dtype=np.float64))


def part(modality: str, media) -> dict:
    return {"type": modality, modality: media}


STATE = [0.1, 0.2, 0.3, 0.4]
LONG = [
    {"role": "user", "content": [part("image", chat.picture(0)), "heard", part("audio", sound(5000)), "where?"]},
    {"role": "assistant", "content": "the sea"},
    {"role": "user", "content": ["and", part("video", clip(3)), part("state", STATE), part("image", chat.picture(1))]},
    {"role": "assistant", "content": "a ship"},
]  # fmt: skip
SHORT = [
    {"role": "user", "content": [part("state", STATE), part("video", clip(5, 1)), "?", part("audio", sound(900))]},
    {"role": "assistant", "content": "he is"},
]  # fmt: skip


def collator(model: MultimodalLM, **options) -> ConversationCollator:
    renderer = Renderer(model.backbone.tokenizer, model.lengths(), model.template)
    encoders = dict(model.encoders.items())
    start = 0 if model.backbone.kind == "encoder_decoder" else None
    return ConversationCollator(renderer, encoders, start=start, **options)


def loss_of(model: MultimodalLM, batch) -> tuple[float, int]:
    """The mean over a batch's targets, and how many there are."""
    with torch.no_grad():
        return NextToken()(model, batch)["next_token"].item(), int((batch.targets != -100).sum())


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_packed_loss_is_the_unpacked_one(kind):
    model = sees_hears_and_senses(kind)
    collate = collator(model)
    together = collate([LONG, SHORT])
    # 5,000 samples are 16 of Whisper's tokens of 320, 900 are 3; four are stacked to one.
    assert {name: int(slots.sum()) for name, slots in together.slots.items()} == {
        "image": 8,
        "audio": 4 + 1,
        "video": 3 + 5,
        "state": 2 + 2,
    }
    if kind == "llama":
        assert len(together) == 1  # in one row
    alone = [loss_of(model, collate([one])) for one in (LONG, SHORT)]
    expected = sum(loss * count for loss, count in alone) / sum(count for _, count in alone)
    assert loss_of(model, together)[0] == pytest.approx(expected, abs=1e-5)


def test_every_medium_moves_the_loss():
    model = sees_hears_and_senses("llama")
    collate = collator(model)
    before = loss_of(model, collate([LONG]))[0]
    others = {
        "image": chat.picture(7),
        "audio": sound(5001),
        "video": clip(3, 9),
        "state": [0.9, 0.2, 0.3, 0.4],
    }
    for modality, medium in others.items():
        changed = [
            {**turn, "content": [part(modality, medium) if isinstance(p, dict) and p["type"] == modality else p
                                 for p in turn["content"]]} if turn["role"] == "user" else turn
            for turn in LONG
        ]  # fmt: skip
        assert abs(loss_of(model, collate([changed]))[0] - before) > 1e-6, modality


def test_cached_features_are_laid_out_alike(tmp_path):
    model = sees_hears_and_senses("llama").requires_grad_(False)
    samples = [
        Sample(name, {"messages": messages}, {"messages": "conversation"})
        for name, messages in (("long", LONG), ("short", SHORT))
    ]
    plain = collator(model)
    cached = ConversationCollator.with_cache(
        samples, plain.renderer, dict(model.encoders.items()), FeatureCache(tmp_path), progress=False
    )
    assert set(cached.cached) == {"image", "audio", "video", "state"}
    got, expected = (loss_of(model, collate(samples)) for collate in (cached, plain))
    assert got == pytest.approx(expected, abs=2e-3)  # encoded in bfloat16 where the machine has it


def test_trained_on_two_turns_it_answers_both(tmp_path):
    model = sees_hears_and_senses("llama")
    collate = collator(model, samples=[LONG, SHORT])
    fit(
        Run(
            "four",
            tmp_path,
            "toy",
            model,
            range(2),
            collate,
            [NextToken()],
            2,
            steps=30,
            lr=1e-2,
            precision="fp32",
            progress=False,
        )
    )
    assistant = Assistant(model, precision="fp32")
    assert assistant.modalities == ("text", "image", "audio", "video", "state")
    asked, again = LONG[:1], LONG[:3]
    assert assistant.chat(asked) == "the sea"
    assert assistant.chat(again) == "a ship"
    talk = assistant.chat()
    talk.messages = list(LONG[:2])
    reply = talk.say("?", video=clip(3), state=STATE, image=chat.picture(1), max_tokens=8)
    assert reply == assistant.chat([*LONG[:2], talk.messages[2]], max_tokens=8)


def test_what_lays_out_media_can_be_sent_to_a_worker():
    model = sees_hears_and_senses("llama")
    collate = pickle.loads(pickle.dumps(collator(model)))
    assert collate([LONG]).slots["audio"].sum() == 4


def test_a_state_of_another_schema_is_refused():
    model = sees_hears_and_senses("llama")
    wrong = [{"role": "user", "content": [part("state", [0.1]), "?"]}]
    with pytest.raises(ValueError, match=r"got \[1\] numbers; expected 4: robot.x"):
        Assistant(model, precision="fp32").chat(wrong)
    with pytest.raises(ConversationError, match="expected a list of numbers"):
        Assistant(model, precision="fp32").ask("?", state="0.1")
