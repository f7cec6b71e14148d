from collections import Counter, defaultdict

import pytest

from sensorium.data.puzzles import PUZZLES, SPLITS, puzzle, scene_answers, with_missing
from sensorium.data.puzzles.definition import balanced
from sensorium.media import Audio, Source, Video, content_key

ROWS = {"train": 48, "validation": 24, "test": 48}
BLOCK = {"scene_answers": len(scene_answers.CELLS)}  # rows in which every combination occurs as often


@pytest.fixture(scope="module", params=list(PUZZLES))
def drawn(request):
    chosen = puzzle(request.param)
    return chosen, {split: chosen.samples(split, ROWS[split]) for split in SPLITS}


def test_rows_are_those_of_their_number_whatever_is_drawn_before_or_after(drawn):
    chosen, samples = drawn
    for split in SPLITS:
        again = chosen.samples(split, 5)
        for one, other in zip(samples[split], again):
            assert one.fields == other.fields
            assert {c: content_key(m) for c, m in one.columns.items()} == {
                c: content_key(m) for c, m in other.columns.items()
            }
        ids = [sample.id for sample in samples[split]]
        assert len(set(ids)) == len(ids)


def test_seeds_draw_other_rows(drawn):
    chosen, samples = drawn
    other = chosen.samples("train", 8, seed=1)
    assert {sample.id for sample in other}.isdisjoint(sample.id for sample in samples["train"])
    assert [s.fields for s in other] != [s.fields for s in samples["train"][:8]]


def test_every_row_has_every_column_and_an_answer_to_every_task(drawn):
    chosen, samples = drawn
    for split in SPLITS:
        for sample in samples[split]:
            assert set(sample.columns) == set(sample.modality) == set(chosen.modality) == set(chosen.alone)
            assert set(sample.fields["hidden"]) == set(chosen.modality)
        for task in chosen.tasks:
            targets, known = task.targets([sample.fields[task.field] for sample in samples[split]])
            assert known.all()
            assert len(targets) == len(samples[split])


def test_media_are_of_their_modality(drawn):
    chosen, samples = drawn
    for column, modality in chosen.modality.items():
        media = samples["test"][0].columns[column]
        decoded = media.decode() if isinstance(media, Source) else media
        if modality == "image":
            assert decoded.dtype == "uint8"
            assert decoded.shape[-1] == 3
            assert max(decoded.shape) <= 256
        else:
            assert isinstance(decoded, {"text": str, "audio": Audio, "video": Video}[modality])


def test_no_picture_sound_or_video_tested_occurs_in_training(drawn):
    chosen, samples = drawn
    for column, modality in chosen.modality.items():
        if modality == "text":
            continue
        keys = {split: {content_key(s.columns[column]) for s in samples[split]} for split in SPLITS}
        assert not keys["train"] & keys["test"]
        assert not keys["train"] & keys["validation"]


@pytest.mark.parametrize("split", SPLITS)
def test_kinds_are_drawn_equally_often(split):
    draws = [balanced("abc", split, i) for i in range(60)]
    assert Counter(draws) == {"a": 20, "b": 20, "c": 20}
    assert draws != sorted(draws)
    assert len({tuple(draws[i : i + 3]) for i in range(0, 60, 3)}) > 2
    assert draws == [balanced("abc", split, i) for i in range(60)]


def test_missing_columns_are_as_many_as_asked_and_never_all():
    samples = puzzle("sentiment").samples("test", 240)
    for share in (0.0, 0.3, 1.0):
        left = with_missing(samples, share, seed=3)
        counts = Counter(len(sample.columns) for sample in left)
        assert counts[0] == 0
        # Of three columns each is lost by `share`, but for one of them where all three would be.
        expected = 3 * share - share**3
        assert sum((3 - many) * rows for many, rows in counts.items()) / 240 == pytest.approx(
            expected, abs=0.2
        )
        assert all(one.fields is other.fields for one, other in zip(left, samples))
    kept = Counter(name for sample in with_missing(samples, 1.0) for name in sample.columns)
    assert min(kept.values()) > 50


def test_what_a_sample_loses_depends_on_itself_alone():
    samples = puzzle("sentiment").samples("test", 40)
    lost = {sample.id: set(sample.columns) for sample in with_missing(samples, 0.5)}
    backwards = {sample.id: set(sample.columns) for sample in with_missing(samples[::-1], 0.5)}
    assert lost == backwards
    assert lost != {sample.id: set(sample.columns) for sample in with_missing(samples, 0.5, seed=1)}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_beyond_one_is_refused(share):
    with pytest.raises(ValueError, match=r"share of missing columns: got .*; expected 0 to 1"):
        with_missing([], share)


def test_what_is_unknown_is_one_line_that_lists_the_known():
    with pytest.raises(ValueError, match=r"puzzle: got 'vqa'; expected one of sentiment"):
        puzzle("vqa")
    with pytest.raises(
        ValueError, match="split of sentiment: got 'dev'; expected one of train, validation, test"
    ):
        puzzle("sentiment").samples("dev")
    with pytest.raises(ValueError, match="rows of sentiment: got n=0; expected 1 or more"):
        puzzle("sentiment").samples("train", 0)


def oracle(samples, column, label):
    """Share right of one who knows what the column tells, and gives the most frequent label for it."""
    by_hidden = defaultdict(Counter)
    for sample in samples:
        by_hidden[sample.fields["hidden"][column]][sample.fields[label]] += 1
    return sum(max(labels.values()) for labels in by_hidden.values()) / len(samples)


@pytest.mark.parametrize("name", [name for name, one in PUZZLES.items() if one.metric == "accuracy"])
def test_one_who_knows_all_that_a_column_tells_scores_what_is_stated(name):
    chosen = puzzle(name)
    samples = chosen.samples("train", BLOCK.get(name, 96))
    for column, stated in chosen.alone.items():
        assert oracle(samples, column, chosen.tasks[0].field) == pytest.approx(stated)
