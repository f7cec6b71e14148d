"""A language model with LoRA over packed conversations: resumed exactly, adapters saved, the rest referred to."""

import chat
import pytest
import torch
from safetensors.torch import load_file

from sensorium.data.conversation import Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.sample import Sample
from sensorium.objectives.next_token import NextToken
from sensorium.training import checkpoint
from sensorium.training.loop import fit
from sensorium.training.run import Run

WORDS = ("a fish", "two red fish", "nothing", "it is a boat")


def samples() -> list[Sample]:
    return [
        Sample(
            f"s{number}",
            {
                "messages": chat.said(
                    [chat.image(chat.picture(number % 3)), f"what is {number}?"], WORDS[number % 4]
                )
            },
            {"messages": "conversation"},
        )
        for number in range(12)
    ]


def run(folder, steps: int = 6, **options) -> Run:
    tokenizer = chat.byte_level()
    model = chat.model("llama", tokenizer)
    model.backbone.source = "somewhere"  # frozen weights that have a source are referred to
    torch.manual_seed(1)
    model.backbone.add_lora(rank=2, dropout=0.3)
    lengths = {"image": 4, "object": 4, "state": len}
    return Run(
        "talk", folder, "toy", model, range(12),
        ConversationCollator(Renderer(tokenizer, lengths), model.encoders, samples=samples()), [NextToken()], 4,
        steps=steps, lr=1e-2, part_lr={"projectors.*": 1e-3}, precision="fp32", progress=False,
        freeze=["encoders.*", "projectors.object", "projectors.state"], save_every=1, keep=9, **options,
    )  # fmt: skip


class StopsAt:
    """Collates until the n-th call; the first few are the preflight's."""

    def __init__(self, n, collate):
        self.left, self.collate, self.conversations = n, collate, collate.conversations

    def __call__(self, items):
        self.left -= 1
        if not self.left:
            raise InterruptedError
        return self.collate(items)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit(run(folder))


def test_stopped_and_resumed_is_bit_equal(whole, tmp_path):
    folder, trained = whole

    interrupted = run(tmp_path)
    interrupted.collate = StopsAt(7, interrupted.collate)
    with pytest.raises(InterruptedError):
        fit(interrupted)
    assert 0 < checkpoint.step_of(checkpoint.find(tmp_path)) < 6
    resumed = fit(run(tmp_path))
    assert [step["loss"] for step in resumed.steps] == [step["loss"] for step in trained.steps]
    got, expected = (load_file(checkpoint.find(place) / "model.safetensors") for place in (tmp_path, folder))
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_it_learns_and_saves_adapters_but_no_backbone(whole):
    folder, trained = whole
    assert trained.steps[-1]["loss"] < trained.steps[0]["loss"]
    saved = load_file(checkpoint.find(folder) / "model.safetensors")
    assert any(".lora_A." in name for name in saved)
    assert not any(name.startswith("backbone") and ".lora_" not in name for name in saved)
    assert set(checkpoint.read(folder).frozen) == {"backbone"}
