"""From samples to a batch: decoding once, cached Features, media that cannot be decoded."""

import json
import pickle

import chat
import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.conversation import ConversationError, Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.features import Features
from sensorium.media import MediaError, Source
from sensorium.objectives.next_token import NextToken

LENGTHS = {"image": 4, "object": 4, "state": len}


def sample(id, messages, **fields):
    return Sample(id, {"messages": messages}, {"messages": "conversation"}, fields=fields)


@pytest.fixture(scope="module")
def model():
    return chat.model("llama", chat.byte_level())


@pytest.fixture
def render():
    return Renderer(chat.byte_level(), LENGTHS)


@pytest.fixture
def files(tmp_path):
    """Two pictures, and one that is none."""
    for seed in (0, 1):
        Image.fromarray(chat.picture(seed)).save(tmp_path / f"{seed}.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return [Source("image", tmp_path / name) for name in ("0.png", "1.png", "bad.png")]


def loss(model, batch):
    with torch.no_grad():
        return NextToken()(model, batch)["next_token"].item()


def test_files_and_decoded_media_give_one_loss(model, render, files):
    collate = ConversationCollator(render, model.encoders)
    states = {"type": "state", "state": [0.5, 2.0]}
    from_files = [
        sample("a", chat.said([chat.image(files[0]), "what is it?"], "tea")),
        sample("b", chat.said([chat.image(str(files[1].path)), states, "what is it?"], "the sea")),
    ]
    decoded = [
        chat.said([chat.image(chat.picture(0)), "what is it?"], "tea"),
        chat.said([chat.image(chat.picture(1)), states, "what is it?"], "the sea"),
    ]
    batch = collate(from_files)
    assert batch.names == ("a", "b")
    assert {name: slots.sum().item() for name, slots in batch.slots.items()} == {"image": 8, "state": 2}
    assert loss(model, batch) == pytest.approx(loss(model, collate(decoded)), abs=1e-6)


def test_a_picture_of_several_conversations_is_decoded_and_stored_once(model, render, files, monkeypatch):
    opened = []
    decode = Source.decode
    monkeypatch.setattr(
        Source, "decode", lambda self, **how: (opened.append(self.name), decode(self, **how))[1]
    )
    again = Source("image", files[0].path)
    batch = ConversationCollator(render, model.encoders)(
        [
            chat.said([chat.image(media), f"is it {n}?"], "he")
            for n, media in enumerate((files[0], again, files[1]))
        ]
    )
    assert opened == [files[0].name, files[1].name]
    assert batch.media["image"]["pixels"].shape[0] == 2


def test_the_field_of_a_group_keeps_scenes_apart(model, render):
    picture = chat.picture(0)
    rows = [sample(str(n), chat.said([chat.image(picture), "is it?"], "he"), scene=n % 2) for n in range(4)]
    batch = ConversationCollator(render, model.encoders, group="scene")(rows)
    assert batch.media["image"]["pixels"].shape[0] == 2


def test_cached_features_give_the_loss_of_prepared_media(model, render, files, tmp_path, monkeypatch):
    monkeypatch.setenv("SENSORIUM_FAST", "0")  # the cache then computes in float32, as the model does here
    model.encoders.requires_grad_(False)
    states = {"type": "state", "state": [0.5, 2.0, 1.0]}
    rows = [
        sample("a", chat.said([chat.image(files[0]), "what is it?"], "tea")),
        sample("b", chat.said([chat.image(files[1]), states, "or", chat.image(files[0])], "the sea")),
        sample("c", chat.said([chat.image(files[0]), "what is this?"], "he")),
        sample("d", chat.said("what is the time?", "ten")),
    ]
    # The length of a state is that of its Features here: a token a number.
    of_features = Renderer(chat.byte_level(), LENGTHS | {"state": lambda features: int(features.mask.sum())})
    cached = ConversationCollator.with_cache(
        rows, of_features, model.encoders, FeatureCache(tmp_path / "cache"), progress=False
    )
    assert set(cached.cached) == {"image", "state"}
    assert len(cached.cached["image"].features) == 2
    batch = cached(range(4))
    assert isinstance(batch.media["image"], Features)
    assert len(batch.media["image"]) == 3  # a and c share theirs, b has two
    prepared = ConversationCollator(render, model.encoders)(rows)
    assert loss(model, batch) == pytest.approx(loss(model, prepared), abs=1e-6)


def test_an_encoder_that_learns_or_is_augmented_is_not_cached(model, render, tmp_path):
    rows = [sample("a", chat.said([chat.image(chat.picture(0)), "what?"], "tea"))]
    model.encoders.requires_grad_(False)
    augmented = ConversationCollator.with_cache(
        rows,
        render,
        model.encoders,
        FeatureCache(tmp_path),
        augment={"image": lambda one: 255 - one},
        progress=False,
    )
    assert not augmented.cached
    given = augmented(rows).media["image"]["pixels"]
    assert torch.equal(given, model.encoders["image"].prepare([255 - chat.picture(0)])["pixels"])
    model.encoders.requires_grad_(True)
    assert not ConversationCollator.with_cache(
        rows, render, model.encoders, FeatureCache(tmp_path), progress=False
    ).cached


@pytest.mark.parametrize("cache", [False, True])
def test_a_conversation_with_a_bad_picture_is_left_out_and_listed(model, render, files, tmp_path, cache):
    quarantine = Quarantine(tmp_path / "bad.jsonl", limit_share=0.5)
    rows = [
        sample("good", chat.said([chat.image(files[0]), "what is it?"], "tea")),
        sample("bad", chat.said([chat.image(files[1]), chat.image(files[2]), "what is it?"], "tea")),
    ]
    model.encoders.requires_grad_(False)
    if cache:
        collate = ConversationCollator.with_cache(
            rows,
            render,
            model.encoders,
            FeatureCache(tmp_path / "cache"),
            quarantine=quarantine,
            progress=False,
        )
    else:
        collate = ConversationCollator(render, model.encoders, samples=rows, quarantine=quarantine)
    batch = collate([0, 1])
    assert (batch.names, batch.left_out) == (("good",), 1)
    assert batch.slots["image"].sum() == 4
    [entry] = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert (entry["id"], entry["column"]) == ("bad", "image")
    with pytest.raises(ConversationError, match="all 1 conversations of this batch"):
        collate([1])


def test_without_a_quarantine_a_bad_picture_stops_the_batch(model, render, files):
    collate = ConversationCollator(render, model.encoders)
    with pytest.raises(MediaError, match=r"bad\.png"):
        collate([chat.said([chat.image(files[2]), "what?"], "tea")])
    with pytest.raises(MediaError, match="No such file"):
        collate([chat.said([chat.image("nowhere.png"), "what?"], "tea")])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "audio", "audio": "a.wav"}, "7: a part of 'audio', but this model has no encoder for it"),
        (
            {"type": "image", "image": "a.png", "as": "thing"},
            "a part of 'thing'.*it takes text, image, object",
        ),
        ({"type": "image", "image": "a.png", "as": "state"}, "type 'image' for the encoder 'state'"),
    ],
)
def test_parts_that_no_encoder_takes_are_named(model, render, part, message):
    with pytest.raises(ConversationError, match=message):
        ConversationCollator(render, model.encoders)([sample("7", chat.said([part], "he"))])


def test_what_is_missing_is_named(model, render):
    with pytest.raises(ConversationError, match="7: it has no column 'messages'"):
        ConversationCollator(render, model.encoders)([Sample("7", {}, {"messages": "conversation"})])
    with pytest.raises(ValueError, match=r"lengths for \['object', 'state'\]; expected an encoder for each"):
        ConversationCollator(render, {"image": model.encoders["image"]})


def test_it_pickles_and_pairs_for_an_encoder_decoder(render):
    tokenizer = chat.byte_level(None, False)
    model = chat.model("t5", tokenizer)
    collate = ConversationCollator(Renderer(tokenizer, LENGTHS), model.encoders, start=0)
    rows = [chat.said([chat.image(chat.picture(n)), "what?"], "tea") for n in range(3)]
    first, second = collate(rows), pickle.loads(pickle.dumps(collate))(rows)
    assert first.decoder_ids.shape == (3, len("tea") + 1)
    assert np.array_equal(first.ids, second.ids)
    assert loss(model, first) == loss(model, second)
