import builtins
import io
import json
import multiprocessing
import os
import pickle
import signal
import time

import numpy as np
import pytest
import torch

from sensorium.data import feature_filling, feature_shards
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.quarantine import Quarantine, QuarantineError
from sensorium.data.sample import Sample
from sensorium.media import MediaError, Source


@pytest.fixture
def pictures(tmp_path, picture):
    return [Source("image", picture(tmp_path / f"{n}.png", (n, 2 * n, 3 * n))) for n in range(20)]


def means(numbers):
    return torch.tensor([[n, 2.0 * n, 3.0 * n] for n in numbers], dtype=torch.float32)


def test_only_what_is_missing_is_encoded(tmp_path, pictures, mean_colour):
    encoder, cache = mean_colour(), FeatureCache(tmp_path / "cache")
    assert torch.equal(cache.features(encoder, pictures[:12], progress=False)[:].pooled, means(range(12)))
    assert encoder.calls == [12]
    again = cache.features(encoder, pictures[11::-1], progress=False)
    assert torch.equal(again[:].pooled, means(range(11, -1, -1)))
    assert encoder.calls == [12]
    more = FeatureCache(tmp_path / "cache").features(encoder, pictures, progress=False)  # as another process
    assert encoder.calls == [12, 8]
    assert torch.equal(more[[19, 0, 5]].pooled, means([19, 0, 5]))
    assert torch.equal(more[3].tokens, means([3])[:, None])
    assert more.modality == "image"
    assert more.width == 3
    assert len(more) == 20


def test_equal_content_is_one_item(tmp_path, picture, mean_colour):
    encoder = mean_colour()
    files = [picture(tmp_path / name) for name in ("a.png", "b.png")]
    items = [
        Source("image", files[0]),
        Source("image", files[1]),
        Source("image", data=files[0].read_bytes()),
    ]
    assert len(FeatureCache(tmp_path / "c").features(encoder, items, progress=False)[:]) == 3
    assert encoder.calls == [1]


def test_what_changes_the_numbers_changes_the_key(tmp_path, pictures, mean_colour, monkeypatch):
    cache, encoder = FeatureCache(tmp_path / "cache"), mean_colour()

    def first():
        return cache.features(encoder, pictures[:1], progress=False, **options)[0].pooled[0, 0].item()

    options = {}
    item = pictures[0] = Source("image", data=pictures[5].read())
    assert first() == 5
    assert len(encoder.calls) == 1
    with torch.no_grad():
        encoder.factor.fill_(2.0)  # fine-tuned
    assert first() == 10
    assert len(encoder.calls) == 2
    monkeypatch.setattr(encoder, "preparation", "the mean, differently")
    monkeypatch.setattr(
        encoder, "prepare", lambda media: {"means": torch.full((len(media), 3), 7.0)}, raising=False
    )
    assert first() == 14
    assert len(encoder.calls) == 3
    options = {"dtype": "float16"}
    assert first() == 14
    assert len(encoder.calls) == 4
    options = {"decoding": {"ground": (0, 0, 0)}}
    assert first() == 14
    assert len(encoder.calls) == 5
    options = {}
    assert first() == 14
    assert len(encoder.calls) == 5
    monkeypatch.setenv("SENSORIUM_FAST", "0")
    assert first() == 14
    assert len(encoder.calls) == 6
    pictures[0] = Source("image", data=pictures[6].read())  # other content at the same place
    assert item.key() != pictures[0].key()
    assert first() == 14
    assert len(encoder.calls) == 7


def test_tokens_are_ragged_on_disk_and_padded_when_read(tmp_path, letters):
    cache, encoder, texts = FeatureCache(tmp_path / "cache"), letters(), ["ab", "cdefg", "h"]
    cached = cache.features(encoder, texts, "tokens", progress=False)
    direct = encoder.encode(texts)
    for rows in ([0, 1, 2], [2, 0], [1]):
        features = cached[rows]
        longest = max(len(texts[row]) for row in rows)
        assert torch.equal(features.tokens, direct.tokens[rows, :longest])
        assert torch.equal(features.mask, direct.mask[rows, :longest])
        assert torch.equal(features.pooled, direct.pooled[rows])
    [tokens] = (tmp_path / "cache").rglob("tokens")
    assert tokens.stat().st_size == (2 + 5 + 1) * 2 * 4


class _Opens:
    """Counts files opened for reading, however they are."""

    def __init__(self, monkeypatch):
        self.count = 0
        for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
            monkeypatch.setattr(module, name, self._counting(getattr(module, name)))

    def _counting(self, function):
        def counted(*arguments, **options):
            self.count += 1
            return function(*arguments, **options)

        return counted


def test_ten_thousand_vectors_are_one_gather_from_one_map(tmp_path, letters, monkeypatch):
    cache, encoder = FeatureCache(tmp_path / "cache"), letters()
    texts = [f"text {n}" for n in range(10_000)]
    filled = cache.features(encoder, texts, progress=False)
    assert sum(encoder.calls) == 10_000
    assert max(encoder.calls) <= feature_filling.MOST_ITEMS
    hashed = []
    monkeypatch.setattr(
        feature_filling, "content_key", lambda m, key=feature_filling.content_key: hashed.append(m) or key(m)
    )
    opens = _Opens(monkeypatch)
    cached = FeatureCache(tmp_path / "cache").features(encoder, texts, progress=False)
    assert opens.count <= 6  # space.json; shard.json, keys, pooled
    assert len(hashed) == 10_000
    opens.count = 0
    gathers = []
    monkeypatch.setattr(
        np.memmap,
        "__getitem__",
        lambda self, index: gathers.append(index) or np.ndarray.__getitem__(self, index),
    )
    order = np.random.default_rng(0).permutation(10_000)
    read = cached.pooled(order)
    assert len(gathers) == 1
    assert opens.count == 0
    monkeypatch.undo()
    assert np.array_equal(read, filled[:].pooled.numpy()[order])


def test_bad_media_goes_to_quarantine(tmp_path, pictures, mean_colour):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "copy.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    bad = [Source("image", tmp_path / name) for name in ("broken.png", "copy.png", "nowhere.png")]
    items = [pictures[0], bad[0], pictures[1], bad[1], bad[2], pictures[2]]
    encoder, cache = mean_colour(), FeatureCache(tmp_path / "cache")
    with pytest.raises(MediaError, match=r"nowhere\.png"):
        cache.features(encoder, items, progress=False)
    quarantine = Quarantine(tmp_path / "q.jsonl", limit_share=0.5)
    cached = cache.features(
        encoder, items, quarantine=quarantine, ids=list("abcdef"), column="photo", progress=False
    )
    assert cached.present.tolist() == [True, False, True, False, False, True]
    assert sorted(entry.id for entry in quarantine.entries()) == ["b", "d", "e"]
    assert {entry.column for entry in quarantine.entries()} == {"photo"}
    assert {entry.id: entry.file for entry in quarantine.entries()}["d"] == str(tmp_path / "copy.png")
    assert (quarantine.good, quarantine.bad) == (3, 3)
    assert torch.equal(cached[[0, 2, 5]].pooled, means(range(3)))
    assert np.array_equal(cached.pooled(), means(range(3)).numpy())
    assert [cached.row(id) for id in "abf"] == [0, None, 5]
    with pytest.raises(IndexError, match=r"1 of 2 items have no features \(\['b'\]\)"):
        cached[[0, 1]]
    strict = Quarantine(tmp_path / "strict.jsonl", limit_share=0.4)
    with pytest.raises(QuarantineError, match="3 of 6"):  # cached ones count as seen and good
        cache.features(encoder, items, quarantine=strict, progress=False)


def test_what_was_good_survives_the_stop(tmp_path, picture, mean_colour, monkeypatch):
    monkeypatch.setattr(feature_filling, "FIRST_ITEMS", 4)
    monkeypatch.setattr(feature_filling, "MOST_ITEMS", 4)
    good = [Source("image", picture(tmp_path / f"{n}.png", (n, n, n))) for n in range(8)]
    bad = [Source("image", data=bytes([1, n])) for n in range(4)]
    encoder, cache = mean_colour(), FeatureCache(tmp_path / "cache")
    with pytest.raises(QuarantineError):
        cache.features(encoder, good + bad, quarantine=Quarantine(tmp_path / "q.jsonl", 0), progress=False)
    encoder.calls.clear()
    cache.features(encoder, good, progress=False)
    assert encoder.calls == []


def test_a_file_that_changes_meanwhile_is_not_kept_under_the_old_key(tmp_path, picture, mean_colour):
    path = picture(tmp_path / "a.png", (1, 1, 1))

    class Racing(Source):
        def decode(self, **options):
            picture(path, (9, 9, 9))
            return super().decode(**options)

    with pytest.raises(MediaError, match="changed while it was read"):
        FeatureCache(tmp_path / "c").features(mean_colour(), [Racing("image", path)], progress=False)


def test_undefined_features_are_refused(tmp_path, pictures, mean_colour):
    with pytest.raises(ValueError, match=r"MeanColour made infinite or undefined features of '.*3\.png'"):
        FeatureCache(tmp_path / "c").features(mean_colour(float("nan")), pictures[3:4], progress=False)
    assert FeatureCache(tmp_path / "c").sizes() == []


def _fill(folder, numbers, encoder, barrier):
    barrier.wait()
    for start in range(0, len(numbers), 10):
        texts = [f"text {n}" for n in numbers[start : start + 10]]
        cached = FeatureCache(folder).features(encoder, texts, "tokens", progress=False)
        assert torch.equal(cached[:].tokens, encoder.encode(texts).tokens)


def test_two_processes_write_and_merge_at_once(tmp_path, letters):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    numbers = [list(range(200)), list(range(399, 99, -1))]  # overlapping, from both ends
    workers = [
        context.Process(target=_fill, args=(tmp_path / "cache", mine, letters(), barrier)) for mine in numbers
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    encoder, texts = letters(), [f"text {n}" for n in range(400)]
    cached = FeatureCache(tmp_path / "cache").features(encoder, texts, "tokens", progress=False)
    assert encoder.calls == []  # nothing is lost
    assert torch.equal(cached[:].tokens, letters().encode(texts).tokens)
    assert not list((tmp_path / "cache").rglob("writing-*"))
    shards = list((tmp_path / "cache").rglob("shard.json"))
    assert len(shards) <= 2 * feature_shards.FEW + 2


def _write_and_hang(folder, encoder, ready):
    feature_filling.SHARD_SECONDS = 1e9
    whole = encoder.encode

    def encode(media, **options):
        if encoder.calls:  # the first group is in the files, but not published
            ready.set()
            time.sleep(60)
        return whole(media, **options)

    encoder.encode = encode
    FeatureCache(folder).features(encoder, [f"text {n}" for n in range(400)], progress=False)


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path, letters):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=_write_and_hang, args=(tmp_path / "cache", letters(), ready))
    worker.start()
    assert ready.wait(30)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    [left] = (tmp_path / "cache").rglob("writing-*")
    encoder, texts = letters(), [f"text {n}" for n in range(400)]
    cached = FeatureCache(tmp_path / "cache").features(encoder, texts, progress=False)
    assert sum(encoder.calls) == 400
    assert torch.equal(cached[:].pooled, letters().encode(texts).pooled)
    assert left.exists()  # it might still be written
    for file in [left, *left.iterdir()]:
        os.utime(file, (0, 0))
    FeatureCache(tmp_path / "cache").features(encoder, texts, progress=False)
    assert not left.exists()


def test_a_damaged_shard_is_named(tmp_path, letters):
    FeatureCache(tmp_path / "cache").features(letters(), ["a", "b"], progress=False)
    [pooled] = (tmp_path / "cache").rglob("pooled")
    pooled.write_bytes(pooled.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{pooled.parent} is damaged .*delete it"):
        FeatureCache(tmp_path / "cache").features(letters(), ["a", "b"], progress=False)


def test_many_small_shards_are_merged_and_open_views_live_on(tmp_path, letters):
    cache, encoder = FeatureCache(tmp_path / "cache"), letters()
    first = cache.features(encoder, ["text 0"], "tokens", progress=False)
    for n in range(1, feature_shards.FEW + 4):
        cache.features(encoder, [f"text {n}"], "tokens", progress=False)
    assert len(list((tmp_path / "cache").rglob("shard.json"))) <= feature_shards.FEW
    assert torch.equal(first[:].tokens, encoder.encode(["text 0"]).tokens)
    texts = [f"text {n}" for n in range(feature_shards.FEW + 4)]
    encoder.calls.clear()
    assert torch.equal(
        cache.features(encoder, texts, "tokens", progress=False)[:].tokens, letters().encode(texts).tokens
    )
    assert encoder.calls == []


def test_what_is_merged_is_removed_only_after_the_whole_is_there(tmp_path, letters, monkeypatch):
    cache, encoder = FeatureCache(tmp_path / "cache"), letters()
    texts = [f"text {n}" for n in range(feature_shards.FEW + 1)]
    removed = []

    def remove(folder, whole=feature_shards.remove):
        space = feature_shards.Space(
            tmp_path / "cache", json.loads((folder.parent / "space.json").read_text())
        )
        space.refresh()
        merged = space.shards.pop(max(space.shards))
        assert set(feature_shards.Shard(folder, 2, space.dtype, False).keys) <= set(merged.keys)
        removed.append(folder)
        whole(folder)

    monkeypatch.setattr(feature_shards, "remove", remove)
    for text in texts:
        cache.features(encoder, [text], progress=False)
    assert len(removed) == feature_shards.FEW + 1


def test_one_call_ends_in_one_shard(tmp_path, letters, monkeypatch):
    monkeypatch.setattr(feature_filling, "SHARD_SECONDS", 0.0)  # every group is published
    encoder = letters()
    texts = [f"text {n}" for n in range(1000)]
    cached = FeatureCache(tmp_path / "cache").features(encoder, texts, progress=False)
    assert len(encoder.calls) > 1
    assert len(list((tmp_path / "cache").rglob("shard.json"))) == 1
    assert torch.equal(cached[:].pooled, letters().encode(texts).pooled)


def test_memory_bounds_what_is_decoded_at_a_time(tmp_path, pictures, mean_colour, monkeypatch):
    monkeypatch.setattr(feature_filling, "MEDIA_BYTES", 3 * (4 * 3 * 3))  # three pictures of 4x3
    encoder = mean_colour()
    cached = FeatureCache(tmp_path / "cache").features(encoder, pictures, progress=False)
    assert encoder.calls == [3] * 6 + [2]
    assert torch.equal(cached[:].pooled, means(range(20)))


def test_ranks_begin_at_different_places(tmp_path, letters, monkeypatch):
    seen = []
    encoder = letters()
    monkeypatch.setattr(
        encoder,
        "encode",
        lambda media, **o: seen.extend(media) or letters.encode(encoder, media, **o),
        raising=False,
    )
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    FeatureCache(tmp_path / "cache").features(encoder, list("abcdef"), progress=False)
    assert "".join(seen) == "defabc"


def test_a_view_pickles_without_its_vectors(tmp_path, letters):
    texts = [f"text {n}" for n in range(5000)]
    cached = FeatureCache(tmp_path / "cache").features(letters(), texts, ids=texts, progress=False)
    sent = pickle.dumps(cached)
    assert len(sent) < 5000 * (32 + 16 + 8)
    there = pickle.loads(sent)
    assert torch.equal(there[[4999, 3]].pooled, cached[[4999, 3]].pooled)
    assert there.row("text 7") == 7


def test_sizes_and_clear(tmp_path, letters, pictures, mean_colour):
    cache = FeatureCache(tmp_path / "cache")
    cache.features(letters(), ["a", "b"], progress=False)
    cache.features(mean_colour(), pictures, progress=False)
    assert [(size.about["modality"], size.items) for size in cache.sizes()] == [("image", 20), ("text", 2)]
    everything = sum(f.stat().st_size for f in (tmp_path / "cache").rglob("*") if f.is_file())
    assert sum(size.bytes for size in cache.sizes()) == everything
    assert cache.clear(letters()) > 2 * (32 + 8)
    assert [size.about["modality"] for size in cache.sizes()] == ["image"]
    encoder = letters()
    cache.features(encoder, ["a"], progress=False)
    assert encoder.calls == [1]
    cache.clear()
    assert cache.sizes() == []


def test_of_samples(tmp_path, pictures, mean_colour, letters):
    modality = {"photo": "image", "text": "text"}
    samples = [Sample("a", {"photo": pictures[4]}, modality), Sample("b", {"text": "x"}, modality)]
    cache = FeatureCache(tmp_path / "cache")
    cached = cache.of_samples(mean_colour(), samples, "photo", progress=False)
    assert (cached.row("a"), cached.row("b")) == (0, None)
    assert torch.equal(cached[0].pooled, means([4]))
    with pytest.raises(
        ValueError, match=r"no record has a column 'picture'; the data set has \['photo', 'text'\]"
    ):
        cache.of_samples(mean_colour(), samples, "picture")
    with pytest.raises(ValueError, match=r"'photo' holds \['image'\], but its encoder takes text"):
        cache.of_samples(letters(), samples, "photo")
    with pytest.raises(ValueError, match="got 'all'; expected 'pooled' or 'tokens'"):
        cache.features(letters(), ["a"], "all")


def test_the_folder_says_what_it_holds(tmp_path, letters):
    FeatureCache(tmp_path / "cache").features(letters(), ["a"], progress=False)
    [about] = (tmp_path / "cache").rglob("space.json")
    assert json.loads(about.read_text())["preparation"] == "code points"
