import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sensorium.data.batch import Collator, collate, meaning_id, meaning_ids
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Sample
from sensorium.features import Features
from sensorium.media import MediaError, Source

MODALITY = {"photo": "image", "caption": "text"}


@pytest.fixture
def samples(tmp_path, picture):
    photos = [Source("image", picture(tmp_path / f"{n}.png", (n, n, n))) for n in range(4)]
    return [
        Sample(
            "a",
            {"photo": photos[0], "caption": "cat"},
            MODALITY,
            ("caption:cat", "thing:1"),
            {"split": "train"},
        ),
        Sample("b", {"caption": "dogs"}, MODALITY, ("caption:dogs",), {"label": 3}),
        Sample("c", {"photo": np.full((2, 2, 3), 9, np.uint8)}, MODALITY),
        Sample("d", {"photo": photos[3], "caption": "cat"}, MODALITY, ("caption:cat",)),
    ]


@pytest.fixture
def encoders(mean_colour, letters):
    return {"photo": mean_colour(), "caption": letters()}


def test_only_present_rows_are_prepared_in_batch_order(samples, encoders):
    batch = collate(samples, encoders)
    assert batch.ids == ("a", "b", "c", "d")
    assert len(batch) == 4
    photo, caption = batch.columns["photo"], batch.columns["caption"]
    assert photo.present.tolist() == [True, False, True, True]
    assert torch.equal(photo.inputs["means"], torch.tensor([0.0, 9, 3])[:, None].expand(3, 3))
    assert caption.present.tolist() == [True, True, False, True]
    assert caption.inputs["lengths"].tolist() == [3, 4, 3]
    assert (photo.modality, caption.modality) == ("image", "text")
    assert batch.fields == {"split": ["train", None, None, None], "label": [None, 3, None, None]}


def test_a_column_that_all_rows_lack_stays_with_nothing_in_it(samples, encoders):
    batch = collate(samples[1:2], encoders)
    assert batch.columns["photo"].inputs == {}
    assert batch.columns["photo"].present.tolist() == [False]
    assert collate(samples, {"caption": encoders["caption"]}).columns.keys() == {"caption"}


def test_meanings(samples, encoders):
    meanings = collate(samples, encoders).meanings
    cat, thing, dogs = (meaning_id(key) for key in ("caption:cat", "thing:1", "caption:dogs"))
    assert meanings.tolist() == [[cat, thing], [dogs, -1], [-1, -1], [cat, -1]]
    assert meanings.dtype == torch.int64
    # what `b2sum -l 64` says of it, read as little-endian without the highest bit
    assert meaning_id("caption:cat") == 6107232320835235297
    assert min(meaning_id(str(n)) for n in range(1000)) >= 0
    assert meaning_ids([(), ()]).tolist() == [[-1], [-1]]
    other = "from sensorium.data.batch import meaning_id; print(meaning_id('caption:cat'))"
    assert int(subprocess.check_output([sys.executable, "-c", other])) == cat


def test_bad_media_costs_the_row_its_column(tmp_path, samples, encoders):
    samples[0] = Sample("a", {"photo": Source("image", data=b"no picture")}, MODALITY)
    with pytest.raises(MediaError):
        collate(samples, encoders)
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=0.5)
    batch = collate(samples, encoders, quarantine=quarantine)
    assert batch.ids == ("a", "b", "c", "d")
    assert batch.columns["photo"].present.tolist() == [False, False, True, True]
    assert batch.columns["photo"].inputs["means"][:, 0].tolist() == [9, 3]
    assert batch.columns["caption"].present.tolist() == [False, True, False, True]
    assert [(entry.id, entry.column) for entry in quarantine.entries()] == [("a", "photo")]
    assert (quarantine.good, quarantine.bad) == (1, 1)


def test_loader_workers_give_the_same_batches(tmp_path, samples, encoders):
    samples = [*samples, Sample("e", {"photo": Source("image", data=b"no picture")}, MODALITY)]
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=1)
    collator = pickle.loads(pickle.dumps(Collator(encoders, quarantine=quarantine)))
    loader = DataLoader(samples, batch_size=2, collate_fn=collator, num_workers=2)
    found = list(loader)
    assert [batch.ids for batch in found] == [("a", "b"), ("c", "d"), ("e",)]
    assert found[1].columns["photo"].inputs["means"][:, 0].tolist() == [9, 3]
    assert [entry.id for entry in quarantine.entries()] == ["e"]


def test_augmentation_and_decoding_options(samples, encoders):
    batch = Collator(encoders, augment={"photo": lambda picture: picture + 1})(samples)
    assert batch.columns["photo"].inputs["means"][:, 0].tolist() == [1, 10, 4]
    with pytest.raises(ValueError, match=r"augment for \['foto'\].*\['caption', 'photo'\]"):
        Collator(encoders, augment={"foto": lambda picture: picture})


def test_decoding_options_reach_the_decoder(tmp_path, encoders):
    from PIL import Image

    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    sample = Sample("a", {"photo": Source("image", tmp_path / "clear.png")}, MODALITY)
    batch = collate([sample], {"photo": encoders["photo"]}, decoding={"photo": {"ground": (1, 2, 3)}})
    assert batch.columns["photo"].inputs["means"].tolist() == [[1, 2, 3]]


def test_a_column_of_another_modality_is_refused(samples, letters):
    with pytest.raises(ValueError, match="'photo' of record 'a' holds image, but its encoder takes text"):
        collate(samples, {"photo": letters()})
    with pytest.raises(ValueError, match="pass Collator"):
        Collator({})([0])


def test_columns_from_the_cache_need_no_media(tmp_path, samples, encoders, monkeypatch):
    samples[3] = Sample("d", {"photo": Source("image", data=b"no picture"), "caption": "cat"}, MODALITY)
    cache = FeatureCache(tmp_path / "cache")
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=0.5)
    cached = cache.of_samples(encoders["photo"], samples, "photo", quarantine=quarantine, progress=False)
    monkeypatch.setattr(Source, "open", None)  # whoever reads a file now fails
    batch = Collator(encoders, cached={"photo": cached}, samples=samples)([2, 1, 0, 3])
    photo = batch.columns["photo"]
    assert isinstance(photo.inputs, Features)
    assert photo.inputs.pooled[:, 0].tolist() == [9, 0]
    assert photo.present.tolist() == [True, False, True, False]
    assert batch.columns["caption"].inputs["lengths"].tolist() == [4, 3, 3]
    none = Collator(encoders, cached={"photo": cached})(samples[1:2]).columns["photo"]
    assert none.inputs == {}
    assert none.present.tolist() == [False]


def test_a_column_that_a_record_lacks_is_not_read_from_the_cache(tmp_path, samples, encoders):
    cache = FeatureCache(tmp_path / "cache")
    cached = cache.of_samples(encoders["photo"], samples[:1], "photo", progress=False)
    words = Sample(samples[0].id, {"caption": "its words alone"}, MODALITY)
    batch = Collator(encoders, cached={"photo": cached})([words, samples[0]])
    assert batch.columns["photo"].present.tolist() == [False, True]
    assert batch.columns["caption"].present.tolist() == [True, True]


def test_frozen_encoders_are_read_from_the_cache_unless_augmented(tmp_path, samples, encoders):
    cache = FeatureCache(tmp_path / "cache")
    collator = Collator.with_cache(samples, encoders, cache, progress=False)
    assert set(collator.cached) == {"caption"}  # it has no parameters; the other one's are trained
    assert encoders["photo"].calls == []
    encoders["photo"].requires_grad_(False)
    collator = Collator.with_cache(samples, encoders, cache, progress=False)
    assert set(collator.cached) == {"photo", "caption"}
    assert encoders["photo"].calls == [3]
    assert encoders["caption"].calls == [2]
    batch = collator(range(4))
    assert batch.columns["photo"].inputs.pooled[:, 0].tolist() == [0, 9, 3]
    live = collate(samples, encoders)
    assert torch.equal(batch.columns["caption"].present, live.columns["caption"].present)
    assert torch.equal(batch.meanings, live.meanings)
    augmented = Collator.with_cache(samples, encoders, cache, augment={"photo": np.flip}, progress=False)
    assert set(augmented.cached) == {"caption"}
    assert set(augmented.encoders) == {"photo"}
    assert encoders["photo"].calls == [3]


def test_a_batch_moves_as_a_whole(tmp_path, samples, encoders):
    cache = FeatureCache(tmp_path / "cache")
    cached = cache.of_samples(encoders["photo"], samples, "photo", progress=False)
    there = Collator(encoders, cached={"photo": cached})(samples).to("meta")
    assert there.columns["photo"].inputs.tokens.device.type == "meta"
    assert there.columns["caption"].inputs["codes"].device.type == "meta"
    assert there.columns["caption"].present.device.type == there.meanings.device.type == "meta"
    assert there.ids == ("a", "b", "c", "d")
