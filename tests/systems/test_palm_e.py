"""PaLM-E has no published reference: what is injected equals what is put together by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from talking import randomise

from sensorium.data.conversation import Renderer
from sensorium.data.scenes import STATE
from sensorium.data.tokens import TokenBatch
from sensorium.systems import palm_e, system_builder
from sensorium.training import checkpoint

SCHEMA = ("a.x", "a.y", "b.x", "b.y")
TINY = {"size": "tiny", "schema": SCHEMA, "pixels": 96, "side": 2, "hidden": 48}


@pytest.fixture
def model(tokenizer):
    return randomise(system_builder("palm_e")(tokenizer=tokenizer, **TINY))


def media(model, **given):
    return {name: model.encoders[name].prepare(items) for name, items in given.items()}


def test_media_among_the_words_are_their_tokens_put_in_by_hand(model, pictures, tokenizer):
    """One row: words, a state, words, a picture, a thing, words, a second state."""
    state = [np.array([0.1, 0.9, 0.4, 0.2], np.float32), np.array([0.7, 0.3, 0.0, 0.5], np.float32)]
    content = [
        {"type": "text", "text": "the"},
        {"type": "state", "state": state[0]},
        {"type": "text", "text": "red cat"},
        {"type": "image", "image": pictures[0]},
        {"type": "image", "image": pictures[1], "as": "object"},
        {"type": "text", "text": "runs"},
        {"type": "state", "state": state[1]},
    ]
    lengths = {name: projector.length for name, projector in model.projectors.items()}
    assert lengths == {"image": 4, "object": 1, "state": 2}
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    rendered = Renderer(tokenizer, lengths, template)([{"role": "user", "content": content}])
    slots = {name: torch.zeros(1, len(rendered), dtype=torch.bool) for name in lengths}
    for slot in rendered.slots:
        slots[slot.name][0, slot.start : slot.start + slot.length] = True
    inputs = media(model, state=state, image=pictures[:1], object=pictures[1:2])
    ids = torch.from_numpy(rendered.ids)[None]
    batch = TokenBatch(ids, ids, None, None, slots, inputs)
    encoder, backbone = model.encoders["image"], model.backbone
    with torch.no_grad():
        ours = model.logits(model(batch).hidden)
        words = {
            word: backbone.embed(torch.tensor([[tokenizer.get_vocab()[word]]]))
            for word in ("the", "red", "cat", "runs")
        }
        picture, thing = (encoder(encoder.prepare([p])) for p in pictures[:2])
        states = [
            model.projectors["state"](model.encoders["state"]({"state": torch.tensor(s)[None]}))
            for s in state
        ]
        grid = picture.tokens.view(1, 3, 3, -1)
        pooled = torch.stack(  # 3 × 3 to 2 × 2: windows of rows 0-1 and 1-2
            [grid[:, i : i + 2, j : j + 2].mean((1, 2)) for i in (0, 1) for j in (0, 1)], 1
        )
        mlp = {name: model.projectors[name].parts[1] for name in ("image", "object")}
        row = [
            words["the"],
            states[0].tokens,
            words["red"],
            words["cat"],
            mlp["image"].lower(mlp["image"].activation(mlp["image"].lift(pooled))),
            mlp["object"].lower(mlp["object"].activation(mlp["object"].lift(thing.pooled[:, None]))),
            words["runs"],
            states[1].tokens,
        ]
        by_hand = backbone.logits(backbone(torch.cat(row, 1)))
    torch.testing.assert_close(ours, by_hand, atol=1e-4, rtol=1e-4)
    for name, other in (("state", [state[0] * 0] * 2), ("image", pictures[2:]), ("object", pictures[2:])):
        withheld = {**inputs, **media(model, **{name: other})}
        with torch.no_grad():
            changed = model.logits(model(TokenBatch(ids, ids, None, None, slots, withheld)).hidden)
        assert (changed - ours).abs().max() > 0.01, name  # each of them counts


def test_pictures_and_things_share_one_encoder(model):
    assert model.encoders["image"] is model.encoders["object"]
    assert model.projectors["image"].parts[1] is not model.projectors["object"].parts[1]
    names = [name for name, _ in model.named_parameters() if name.startswith("encoders.")]
    assert not any(name.startswith("encoders.object.") for name in names)  # trained once


def test_the_language_model_is_frozen_or_adapted(tokenizer):
    for lora, expected in ((0, set()), (2, {"lora_A", "lora_B"})):
        model = palm_e.palm_e("tiny", tokenizer, **{k: v for k, v in TINY.items() if k != "size"}, lora=lora)
        learning = {n.split(".")[-3] for n, p in model.backbone.named_parameters() if p.requires_grad}
        assert learning == expected
        state = media(model, state=[np.ones(4, np.float32)])
        slots = torch.tensor([[False, True, True, False]])
        ids = torch.tensor([[1, 0, 0, 2]])
        loss = model(TokenBatch(ids, ids, None, None, {"state": slots}, state)).hidden.square().sum()
        loss.backward()
        reached = {
            n.split(".")[1] for n, p in model.named_parameters() if p.grad is not None and n[0] in "ep"
        }
        assert reached == {"state"}  # the state's encoder and connector learn through the language model


def test_the_state_of_composed_scenes_has_a_token_for_each_object(tokenizer):
    model = palm_e.palm_e("tiny", tokenizer, pixels=64, side=2)
    assert model.encoders["state"].schema == STATE
    assert model.encoders["state"].objects == (
        "thing0",
        "thing1",
        "thing2",
        "thing3",
        "path",
        "robot",
        "goal",
    )
    assert model.projectors["state"].length == 7
    one = palm_e.palm_e("tiny", tokenizer, pixels=64, side=2, by_object=False)
    assert one.projectors["state"].length == 1
    features = one.features("state", one.encoders["state"].prepare([np.zeros(len(STATE))]))
    assert features.tokens.shape == (1, 1, 128)


def test_a_checkpoint_opens_as_the_same_model(tokenizer, pictures, tmp_path):
    tokenizer.save_pretrained(tmp_path / "words")
    args = {**TINY, "schema": list(SCHEMA), "tokenizer": str(tmp_path / "words"), "lora": 2}
    model = randomise(system_builder("palm_e")(**args))
    folder = checkpoint.save(
        tmp_path / "checkpoints",
        1,
        system="palm_e",
        args=args,
        frozen=checkpoint.frozen_parts(model),
        weights=checkpoint.entries(model).saved,
        card="",
        state_json={},
        state_tensors={},
        keep=1,
    )
    opened = checkpoint.load_model(folder, system_builder)
    inputs = media(model, image=pictures, object=pictures[:1], state=[np.arange(4.0)])
    ids = torch.zeros(1, 20, dtype=torch.long)
    slots = {name: torch.zeros(1, 20, dtype=torch.bool) for name in inputs}
    slots["image"][0, :12], slots["object"][0, 13], slots["state"][0, 15:17] = True, True, True
    batch = SimpleNamespace(ids=ids, attend=None, positions=None, slots=slots, media=inputs)
    with torch.no_grad():
        torch.testing.assert_close(opened(batch).hidden, model(batch).hidden)


def test_what_cannot_be_built_is_said(tokenizer):
    with pytest.raises(ValueError, match=r"got pixels=100, side=4; expected a multiple of 32"):
        palm_e.palm_e("tiny", tokenizer, pixels=100)
    with pytest.raises(ValueError, match=r"got pixels=96, side=4; .* a side from 1 to pixels / 32"):
        palm_e.palm_e("tiny", tokenizer, pixels=96)
    with pytest.raises(ValueError, match="no size '12B'; there are: tiny, 135M"):
        palm_e.palm_e("12B")
    with pytest.raises(ValueError, match="needs a tokenizer"):
        palm_e.palm_e("tiny")


def test_a_whole_map_is_read_as_smol_llava_reads_it(tokenizer, pictures):
    """Not pooled: equal parameter names, and a vector for row and column behind the same MLP."""
    model = randomise(palm_e.palm_e("tiny", tokenizer, pixels=64, side=2, state_width=24, mixing=1))
    names = {name for name, _ in model.projectors["image"].named_parameters()}
    mlp = ("lift", "lower")
    assert names == {f"parts.0.{layer}.{part}" for layer in mlp for part in ("weight", "bias")} | {
        "parts.1.rows",
        "parts.1.columns",
    }
    inputs = model.encoders["image"].prepare(pictures)
    lift, positions = model.projectors["image"].parts
    with torch.no_grad():
        found = model.features("image", inputs).tokens
        by_hand = lift(model.encoders["image"](inputs)).tokens + positions.table()
    torch.testing.assert_close(found, by_hand)


def test_mixed_state_tokens_know_of_each_other(tokenizer):
    for mixing, others in ((0, 0), (2, 6)):
        model = randomise(palm_e.palm_e("tiny", tokenizer, pixels=64, side=2, state_width=24, mixing=mixing))
        numbers = np.zeros((2, len(STATE)), np.float32)
        numbers[1, STATE.index("thing2.x")] = 0.5
        with torch.no_grad():
            tokens = model.features("state", model.encoders["state"].prepare(list(numbers))).tokens
        changed = ((tokens[0] - tokens[1]).abs().amax(-1) > 1e-4).nonzero().flatten().tolist()
        assert len(changed) == 1 + others
        assert model.projectors["state"].length == 7
