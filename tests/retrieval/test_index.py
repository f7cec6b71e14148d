import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import lancedb
import numpy as np
import pytest
from PIL import Image

from sensorium.data.sample import Sample
from sensorium.media import Source
from sensorium.retrieval.index import Added, Index

# ---- create, open --------------------------------------------------------------------------------------


def test_create_refuses_what_stands_there_and_opens_it_when_told_to(tmp_path, model) -> None:
    Index.create(tmp_path / "index", model)
    with pytest.raises(ValueError, match=r"stands here already.*Index\.open"):
        Index.create(tmp_path / "index", model)
    assert len(Index.create(tmp_path / "index", model, exist_ok=True)) == 0
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").touch()
    with pytest.raises(ValueError, match="other things in it"):
        Index.create(tmp_path / "photos", model)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["cat.png"]


def test_open_refuses_a_folder_without_index_and_a_model_that_did_not_make_it(tmp_path, made, model) -> None:
    with pytest.raises(ValueError, match=r"no index here.*Index\.create"):
        Index.open(tmp_path / "index", model)
    Index.create(tmp_path / "index", model)
    with pytest.raises(
        ValueError, match=r"(?s)made by:  colours v1 \(width 16\).*got:      colours v2 \(width 16\)"
    ):
        Index.open(tmp_path / "index", made.ColourModel("colours v2"))


# ---- add -----------------------------------------------------------------------------------------------


def test_a_folder_is_walked_and_found_again_by_words_picture_sound_and_vector(
    tmp_path, gallery, model
) -> None:
    index = Index.create(tmp_path / "index", model)
    assert index.add(gallery) == Added(added=9, known=0, bad=0)
    assert len(index) == 9
    assert index.stats()["modalities"] == {"audio": 2, "image": 6, "text": 1}

    best = index.search(text="something blue", top_k=1, modality="image")[0]
    assert (best.id, best.path) == (str(gallery / "warm" / "blue.png"),) * 2
    # All of its pixels but the speck are blue.
    assert best.score == pytest.approx(575 / np.hypot(575, 1), abs=1e-3)
    by_picture = index.search(image=gallery / "cold" / "white.png", top_k=2, modality="image")
    assert (Path(by_picture[0].path).name, by_picture[0].score) == ("white.png", pytest.approx(1, abs=1e-5))
    assert by_picture[1].score < 0.1
    by_sound = index.search(audio=(gallery / "high.wav").read_bytes(), top_k=2)
    assert Path(by_sound[0].path).name == "high.wav"
    green = index.search(vector=7 * np.eye(16)[1], top_k=2)
    assert {Path(hit.path).name for hit in green} == {"green.png", "poem.txt"}


def test_captions_thumbnails_and_sub_folders_are_kept(tmp_path, gallery, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(gallery)
    red = index.search(text="red", modality="image", top_k=1)[0]
    assert red.caption == "a very red square"
    assert red.fields == {"column": "", "folder": "warm"}
    with Image.open(io.BytesIO(red.thumbnail)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (24, 24))
    poem = index.search(text="green", modality="text")[0]
    assert (poem.caption, poem.thumbnail) == ("Green, how I want you green", None)


def test_adding_again_embeds_and_adds_nothing(tmp_path, gallery, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(gallery)
    model.calls.clear()
    assert index.add(gallery) == Added(added=0, known=9, bad=0)
    assert Index.open(tmp_path / "index", model).add(gallery) == Added(added=0, known=9, bad=0)
    assert model.calls == []
    assert len(index) == 9


def test_a_copy_is_one_row_and_a_file_that_moved_or_changed_replaces_its_old_row(
    tmp_path, made, model
) -> None:
    media = tmp_path / "media"
    made.picture(media / "a.png", "red")
    made.picture(media / "copy.png", "red")
    index = Index.create(tmp_path / "index", model)
    assert index.add(media) == Added(added=1, known=1, bad=0)

    kept = Path(index.search(text="red")[0].path)
    (media / "copy.png" if kept.name == "a.png" else media / "a.png").unlink()
    kept.rename(media / "moved.png")
    assert index.add(media) == Added(added=1, known=0, bad=0)
    assert [Path(hit.path).name for hit in index.search(text="red")] == ["moved.png"]

    made.picture(media / "moved.png", "green")
    assert index.add(media) == Added(added=1, known=0, bad=0)
    assert [hit.score for hit in index.search(text="green")] == [pytest.approx(1, abs=1e-3)]
    made.picture(media / "moved.png", "red")  # and back again
    assert index.add(media) == Added(added=1, known=0, bad=0)
    assert len(index) == 1


def samples() -> list[Sample]:
    kinds = {"picture": "image", "caption": "text", "reading": "state"}
    many = []
    for n, colour in enumerate(["red", "green", "blue"]):
        pixels = np.full(
            (300, 200, 3), (230, 30, 30) if n == 0 else (30, 180, 60) if n == 1 else (30, 60, 220), np.uint8
        )
        columns = {"picture": pixels, "caption": f"all {colour}", "reading": np.ones(3, np.float32)}
        fields = {"split": "test" if n else "train", "year": 2000 + n, "tags": [colour, "flat"]}
        many.append(Sample(f"s{n}", columns, kinds, fields=fields))
    return many


def test_samples_become_a_row_for_each_column_that_the_model_embeds(tmp_path, model) -> None:
    index = Index.create(tmp_path / "index", model)
    assert index.add(samples()) == Added(added=6, known=0, bad=0)
    hit = index.search(text="green", modality="image", top_k=1)[0]
    assert (hit.id, hit.path, hit.caption) == ("s1", "", "all green")
    assert hit.fields == {"column": "picture", "split": "test", "year": 2001, "tags": ["green", "flat"]}
    with Image.open(io.BytesIO(hit.thumbnail)) as thumbnail:
        assert thumbnail.size == (107, 160)
    only = Index.create(tmp_path / "pictures", model)
    assert only.add(iter(samples()), columns=["picture"], fields=["split"]) == Added(added=3, known=0, bad=0)
    assert only.stats()["columns"] == ["id", "modality", "column", "path", "caption", "split"]
    with pytest.raises(ValueError, match="got photo; sample s0 has picture, caption, reading"):
        only.add(samples(), columns=["photo"])


def test_fields_that_cannot_be_columns_are_refused_by_name(tmp_path, model) -> None:
    index = Index.create(tmp_path / "index", model)
    one = samples()[0]

    def having(**fields) -> list[Sample]:
        return [Sample("x", {"caption": str(fields)}, one.modality, fields=fields)]

    with pytest.raises(ValueError, match="field 'path' of sample x"):
        index.add(having(path="a"))
    with pytest.raises(ValueError, match="field 'box': got dict"):
        index.add(having(box={"left": 1}))
    index.add(having(year=1999))
    with pytest.raises(ValueError, match="field 'year': got a value that does not fit its column of int64"):
        index.add(having(year="late"))
    assert index.add(having(year=None)).added == 1
    assert len(index) == 2


def test_batches_are_of_one_modality_sorted_by_length_and_bounded(tmp_path, made, monkeypatch) -> None:
    lengths: list[int] = []

    class Watched(made.ColourModel):
        def embed(self, modality, media, progress=False):
            lengths.extend(len(m) for m in media)
            return super().embed(modality, media)

    monkeypatch.setattr("sensorium.retrieval.loading.CHUNK_ITEMS", 16)
    words = [" ".join(["word"] * (1 + 37 * n % 50)) + f" {n}" for n in range(50)]
    model = Watched()
    index = Index.create(tmp_path / "index", model)
    index.add([Sample(str(n), {"t": w}, {"t": "text"}) for n, w in enumerate(words)])
    assert lengths == sorted(len(w) for w in words)
    assert [number for _, number in model.calls] == [16, 16, 16, 2]


def test_a_clip_is_indexed_shown_by_its_middle_frame_and_found_by_a_picture(tmp_path, made, model) -> None:
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 64
        for n in range(16):
            pixels = np.full((64, 64, 3), made.COLOURS["blue" if n < 12 else "yellow"], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    index = Index.create(tmp_path / "index", model)
    index.add(tmp_path / "clip.mp4")
    hit = index.search(image=np.full((8, 8, 3), made.COLOURS["blue"], np.uint8))[0]
    assert (hit.modality, hit.score) == ("video", pytest.approx(6 / np.hypot(6, 2), abs=0.02))  # of 8 frames
    with Image.open(io.BytesIO(hit.thumbnail)) as thumbnail:
        assert np.abs(np.asarray(thumbnail).mean((0, 1)) - made.COLOURS["blue"]).max() < 20
    assert index.search(video=tmp_path / "clip.mp4")[0].score == pytest.approx(1)


# ---- what goes wrong -----------------------------------------------------------------------------------


def test_bad_files_are_set_aside_with_their_reasons_and_forgotten_when_repaired(
    tmp_path, gallery, made, model
) -> None:
    (gallery / "torn.png").write_bytes((gallery / "cold" / "white.png").read_bytes()[:60])
    (gallery / "empty.wav").touch()
    index = Index.create(tmp_path / "index", model)
    assert index.add(gallery, limit_share=0.2) == Added(added=9, known=0, bad=2)
    listed = [json.loads(line) for line in (tmp_path / "index" / "quarantine.jsonl").read_text().splitlines()]
    assert sorted(Path(entry["file"]).name for entry in listed) == ["empty.wav", "torn.png"]
    assert all(entry["reason"].startswith("got ") for entry in listed)
    made.picture(gallery / "torn.png", "white", speck=3)
    (gallery / "empty.wav").unlink()
    assert index.add(gallery) == Added(added=1, known=9, bad=0)
    assert not (tmp_path / "index" / "quarantine.jsonl").exists()


def test_too_many_bad_files_stop_the_add_with_the_first_of_them(tmp_path, gallery, model) -> None:
    for n in range(4):
        (gallery / f"bad{n}.png").write_bytes(b"GIF89a nonsense" + bytes([n]))
    index = Index.create(tmp_path / "index", model)
    with pytest.raises(
        ValueError,
        match=r"(?s)4 of 13 items cannot be decoded \(30\.8%, limit 5\.0%\).*bad0\.png.*limit_share=",
    ):
        index.add(gallery)
    assert len(index) == 9  # what was good had been committed
    assert len((tmp_path / "index" / "quarantine.jsonl").read_text().splitlines()) == 4


def test_places_without_media_are_named(tmp_path, gallery, model) -> None:
    index = Index.create(tmp_path / "index", model)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="folder without media"):
        index.add(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no such file or folder"):
        index.add(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="file of unknown kind"):
        index.add(gallery / "notes.docx")
    assert index.add([gallery / "low.wav", str(gallery / "cold")]) == Added(added=4, known=0, bad=0)


def test_a_model_that_breaks_its_promise_is_named(tmp_path, gallery, made) -> None:
    class Diverged(made.ColourModel):
        def embed(self, modality, media, progress=False):
            return np.full((len(media), 16), np.nan)

    with pytest.raises(ValueError, match="with NaN or infinity"):
        Index.create(tmp_path / "index", Diverged()).add(gallery)


def test_an_add_that_fails_in_the_middle_keeps_its_commits_and_goes_on_where_it_was(
    tmp_path, made, monkeypatch
) -> None:
    class Tired(made.ColourModel):
        def embed(self, modality, media, progress=False):
            if len(self.calls) == 3:
                raise RuntimeError("out of breath")
            return super().embed(modality, media)

    monkeypatch.setattr("sensorium.retrieval.loading.CHUNK_ITEMS", 8)
    for n in range(40):
        made.picture(tmp_path / "media" / f"{n}.png", "blue", speck=n)
    index = Index.create(tmp_path / "index", Tired())
    with pytest.raises(RuntimeError, match="out of breath"):
        index.add(tmp_path / "media")
    assert len(index) == 24
    rested = made.ColourModel()
    again = Index.open(tmp_path / "index", rested)
    assert again.add(tmp_path / "media") == Added(added=16, known=24, bad=0)
    assert sum(number for _, number in rested.calls) == 16


def test_an_add_that_is_killed_leaves_an_index_that_the_next_add_completes(tmp_path, made, model) -> None:
    for n in range(600):
        made.picture(tmp_path / "media" / f"{n}.png", "green", speck=n)
    command = [sys.executable, str(made.script), str(tmp_path / "index"), str(tmp_path / "media"), "0.5"]
    adding = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    settings, deadline = tmp_path / "index" / "index.json", time.monotonic() + 60
    while time.monotonic() < deadline and not (
        settings.exists() and len(Index.open(tmp_path / "index", model))
    ):
        time.sleep(0.05)
    adding.send_signal(signal.SIGKILL)
    adding.wait()
    index = Index.open(tmp_path / "index", model)
    committed = len(index)
    assert committed in (256, 512)
    assert index.add(tmp_path / "media") == Added(added=600 - committed, known=committed, bad=0)
    assert len({hit.id for hit in index.search(text="green", top_k=1000)}) == 600


def test_two_processes_adding_at_once_leave_every_item_once(tmp_path, made, model) -> None:
    for n in range(400):
        made.picture(tmp_path / "media" / ("a" if n < 300 else "b") / f"{n}.png", "red", speck=n)
    command = [sys.executable, str(made.script), str(tmp_path / "index")]
    parts = [tmp_path / "media", tmp_path / "media" / "a"]  # 300 of the 400 are given to both
    adding = [subprocess.Popen([*command, str(part)], stdout=subprocess.PIPE, text=True) for part in parts]
    said = [process.communicate()[0] for process in adding]
    assert [process.returncode for process in adding] == [0, 0]
    assert sum(int(line.split(" added")[0]) for line in said) == 400
    index = Index.open(tmp_path / "index", model)
    found = index.search(text="red", top_k=1000)
    assert len(found) == len({hit.path for hit in found}) == len(index) == 400


# ---- delete --------------------------------------------------------------------------------------------


def test_rows_are_deleted_by_id_and_by_filter_and_can_come_back(tmp_path, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(samples())
    assert index.delete("s0") == 2
    assert index.delete(["s0", "it's not there"]) == 0
    assert index.delete(where="modality = 'text'") == 2
    assert {hit.id for hit in index.search(text="red")} == {"s1", "s2"}
    assert index.add(samples()) == Added(added=4, known=2, bad=0)
    with pytest.raises(ValueError, match="either ids"):
        index.delete()
    with pytest.raises(ValueError, match="No field named splitt"):
        index.delete(where="splitt = 'test'")
    assert len(index) == 6


# ---- search --------------------------------------------------------------------------------------------


def test_filters_are_applied_before_the_search_and_wrong_columns_list_the_right_ones(tmp_path, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(samples())

    def ids(where: str, **options) -> list[str]:
        return [hit.id for hit in index.search(text="red", where=where, modality="image", **options)]

    assert ids("split = 'test'", top_k=1)[0] in ("s1", "s2")
    assert sorted(ids("split = 'test'")) == ["s1", "s2"]
    assert ids("year = 2001 OR year = 1") == ["s1"]  # the OR does not let other modalities in
    assert ids("array_has(tags, 'blue') AND year > 2000") == ["s2"]
    assert ids("split = 'nowhere'") == []
    with pytest.raises(
        ValueError, match=r"No field named spilt.\nColumns: id \(string\), .*split \(string\), year"
    ):
        ids("spilt = 'test'")
    for wrong in ("split = ", "(SELECT 1) = 1", "year = 2001; DROP TABLE rows"):
        with pytest.raises(ValueError, match="where="):
            ids(wrong)
    assert len(index) == 6


def test_fields_that_come_later_are_empty_in_older_rows(tmp_path, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(samples())
    late = Sample("late", {"caption": "red again"}, samples()[0].modality, fields={"mood": "cheerful"})
    assert index.add([late]).added == 1
    assert [hit.id for hit in index.search(text="red", where="mood = 'cheerful'")] == ["late"]
    assert len(index.search(text="red", where="mood IS NULL")) == 6


def test_several_queries_at_once_are_averaged_as_directions(tmp_path, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(samples(), columns=["picture"])
    red, green = 100 * np.eye(16)[0], np.eye(16)[1]
    scores = {hit.id: hit.score for hit in index.search(vector=red, image=samples()[1].columns["picture"])}
    assert scores == pytest.approx({"s0": 0.5**0.5, "s1": 0.5**0.5, "s2": 0.0}, abs=1e-5)
    assert index.search(vector=green, top_k=1)[0].id == "s1"


def test_queries_that_make_no_sense_say_what_does(tmp_path, gallery, made, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(gallery)
    with pytest.raises(ValueError, match="expected one of text="):
        index.search()
    with pytest.raises(ValueError, match=r"shape \(3,\); expected finite float\[16\]"):
        index.search(vector=np.ones(3))
    with pytest.raises(ValueError, match="modality: got smell; this index holds text, image, audio, video"):
        index.search(text="red", modality="smell")
    with pytest.raises(ValueError, match="top_k: got 0"):
        index.search(text="red", top_k=0)
    with pytest.raises(ValueError, match="got int for image="):
        index.search(image=7)
    with pytest.raises(ValueError, match=r"notes\.docx"):
        index.search(image=gallery / "notes.docx")
    blind = made.ColourModel()
    blind.modalities = ("text",)
    with pytest.raises(ValueError, match="got image=; colours embeds text"):
        Index.open(tmp_path / "index", blind).search(image=gallery / "cold" / "white.png")


def test_exact_search_agrees_with_numpy(tmp_path, made) -> None:
    rng = np.random.default_rng(0)
    texts = [str(n) for n in range(500)]
    space = dict(zip(texts, rng.normal(size=(500, 16))))

    class Random(made.ColourModel):
        def _text(self, words):
            return space[words]

    index = Index.create(tmp_path / "index", Random())
    index.add([Sample(t, {"t": t}, {"t": "text"}) for t in texts])
    query = rng.normal(size=16)
    cosines = {t: v @ query / np.linalg.norm(v) / np.linalg.norm(query) for t, v in space.items()}
    best = sorted(cosines, key=cosines.get, reverse=True)[:20]
    hits = index.search(vector=query, top_k=20)
    assert [hit.id for hit in hits] == best
    assert [hit.score for hit in hits] == pytest.approx([cosines[t] for t in best], abs=1e-5)


def test_beyond_a_size_an_approximation_is_built_measured_printed_and_used(tmp_path, made, capfd) -> None:
    rng = np.random.default_rng(0)
    texts = [str(n) for n in range(2400)]
    centres = rng.normal(size=(30, 16))
    space = dict(zip(texts, centres[rng.integers(0, 30, 2400)] + 0.4 * rng.normal(size=(2400, 16))))

    class Random(made.ColourModel):
        def _text(self, words):
            return space[words]

    index = Index.create(tmp_path / "index", Random())
    records = [Sample(t, {"t": t}, {"t": "text"}) for t in texts]
    index.add(records[:1000], approximate_beyond=2000)
    assert index.stats()["approximate"] is None
    with pytest.raises(ValueError, match="nothing approximate was built"):
        index.search(text="3", exact=False)
    index.add(records, approximate_beyond=2000)
    built = index.stats()["approximate"]
    assert (built["rows"], built["partitions"]) == (2400, 49)
    said = " ".join(capfd.readouterr().err.split())
    assert f"recall@10 {built['recall']:.3f} against exact" in said
    assert "Deprecat" not in said

    def neighbours(exact) -> list[set[str]]:
        return [{h.id for h in index.search(text=t, exact=exact)} for t in texts[::80]]

    found, true = neighbours(None), neighbours(True)
    recall = np.mean([len(f & t) / len(t) for f, t in zip(found, true)])
    assert 0.9 <= recall <= 1
    assert built["recall"] == pytest.approx(recall, abs=0.1)
    assert found == neighbours(False)
    together = index.search_many(index.model.embed("text", texts[::80]))
    assert [{hit.id for hit in hits} for hits in together] == found


def test_many_vectors_are_searched_for_in_one_pass(tmp_path, gallery, model) -> None:
    index = Index.create(tmp_path / "index", model)
    index.add(gallery)
    vectors = model.embed("text", ["red", "blue and white", "green"])
    for asked in ({"top_k": 3}, {"top_k": 2, "where": "folder = 'cold'"}, {"top_k": 1, "modality": "image"}):
        together = index.search_many(vectors, **asked)
        assert [[(hit.id, hit.score, hit.thumbnail) for hit in hits] for hits in together] == [
            [(hit.id, pytest.approx(hit.score), hit.thumbnail) for hit in index.search(vector=one, **asked)]
            for one in vectors
        ]


def test_small_commits_are_merged(tmp_path, made, model, monkeypatch) -> None:
    monkeypatch.setattr("sensorium.retrieval.loading.CHUNK_ITEMS", 2)
    index = Index.create(tmp_path / "index", model)
    index.add([Sample(str(n), {"t": f"words {n}"}, {"t": "text"}) for n in range(80)])
    stored = lancedb.connect(tmp_path / "index").open_table("rows").stats()
    assert (stored["num_rows"], stored["fragment_stats"]["num_fragments"]) == (80, 1)


def test_a_source_of_bytes_is_indexed_without_a_path(tmp_path, gallery, model) -> None:
    index = Index.create(tmp_path / "index", model)
    data = (gallery / "warm" / "green.png").read_bytes()
    record = Sample("g", {"picture": Source("image", data=data)}, {"picture": "image"})
    assert index.add([record]) == Added(added=1, known=0, bad=0)
    assert [(hit.id, hit.path) for hit in index.search(text="green")] == [("g", "")]
    assert index.add(gallery / "warm" / "green.png") == Added(added=0, known=1, bad=0)
    assert os.path.getsize(tmp_path / "index" / "index.json") > 0
