import itertools

import numpy as np
import pytest

from sensorium.evaluation import retrieval
from sensorium.evaluation.retrieval import (
    Embedded,
    Ranks,
    Right,
    between,
    ranks,
    ranks_of_scores,
    retrieval_scores,
)


def right(*items: list[int]) -> Right:
    return Right(np.array([i for row in items for i in row], np.int64), np.array([len(row) for row in items]))


def test_ranks_on_a_hand_made_matrix() -> None:
    scores = np.array([[0.9, 0.1, 0.5, 0.2], [0.9, 0.1, 0.5, 0.2], [0.9, 0.1, 0.5, 0.2]])
    found = ranks_of_scores(scores, right([0], [1], [1, 2]))
    assert found.rank().tolist() == [1, 4, 2]
    assert found.hit(1).tolist() == [1, 0, 0]
    assert found.hit(2).tolist() == [1, 0, 1]
    assert found.reciprocal().tolist() == [1, 0.25, 0.5]


def test_any_of_several_right_answers_counts_once() -> None:
    found = ranks_of_scores(np.array([[0.8, 0.9, 0.7, 0.1]]), right([0, 2, 3]))
    assert (found.above.item(), found.tied_wrong.item(), found.rank().item()) == (1, 0, 2)
    assert [found.hit(k).item() for k in (1, 2, 4)] == [0, 1, 1]


@pytest.mark.parametrize(("wrong_above", "wrong", "good"), [(0, 3, 1), (2, 2, 2), (1, 0, 2), (0, 4, 2)])
def test_ties_give_the_mean_over_all_orders_of_the_tied(wrong_above: int, wrong: int, good: int) -> None:
    scores = np.array([[0.9] * wrong_above + [0.5] * (wrong + good) + [0.1]])
    answers = list(range(wrong_above + wrong, wrong_above + wrong + good))
    found = ranks_of_scores(scores, right(answers))
    orders = itertools.permutations(range(wrong + good))
    firsts = np.array([wrong_above + 1 + min(o.index(wrong + g) for g in range(good)) for o in orders])
    assert found.rank().item() == pytest.approx(firsts.mean())
    assert found.reciprocal().item() == pytest.approx((1 / firsts).mean())
    for k in (1, 2, 3, 5):
        assert found.hit(k).item() == pytest.approx((firsts <= k).mean())


def test_copies_in_the_gallery_tie_in_spite_of_rounding() -> None:
    rng = np.random.default_rng(0)
    picture = rng.normal(size=(1, 300)).astype(np.float32)
    gallery = np.concatenate([picture, rng.normal(size=(96, 300)), picture * 3, picture / 7]).astype(
        np.float32
    )
    found = ranks(picture + 0.1, gallery, [right([98])])[0]
    assert found.hit(1).item() == pytest.approx(1 / 3)


def test_a_collapsed_model_gets_chance() -> None:
    meanings = np.arange(40)
    same = np.ones((40, 8))
    scores = retrieval_scores(Embedded(same, meanings), Embedded(same, meanings))
    for name in ("R@1", "R@5", "R@10", "MRR"):
        assert scores[name].value == pytest.approx(scores[name].chance)
    assert scores["R@5"].chance == pytest.approx(5 / 40)
    assert scores["MRR"].chance == pytest.approx((1 / np.arange(1, 41)).mean())
    assert scores["median_rank"].value == 20.5


def test_perfect_vectors_are_perfect_both_ways_and_the_blind_baseline_is_at_chance() -> None:
    vectors = np.random.default_rng(1).normal(size=(200, 16))
    keys = [(f"thing:{n}",) for n in range(200)]
    columns = {"text": Embedded(vectors, keys), "image": Embedded(5 * vectors, keys)}
    scores = between(columns)
    assert set(scores) == {
        f"{way}.{metric}"
        for way in ("text_to_image", "image_to_text")
        for metric in ("R@1", "R@5", "R@10", "MRR", "median_rank")
    }
    for way in ("text_to_image", "image_to_text"):
        one, ten = scores[f"{way}.R@1"], scores[f"{way}.R@10"]
        assert (one.value, one.high, one.n) == (1.0, 1.0, 200)
        assert one.low == pytest.approx(0.025 ** (1 / 200))
        assert ten.chance == pytest.approx(10 / 200)
        assert ten.blind == pytest.approx(10 / 200, abs=0.03)
        assert scores[f"{way}.median_rank"].value == 1
        assert scores[f"{way}.median_rank"].chance == 100
        assert scores[f"{way}.median_rank"].blind == pytest.approx(100, abs=20)


def test_blind_baseline_converges_on_the_chance_level_with_uneven_numbers_of_right_answers() -> None:
    rng = np.random.default_rng(2)
    meanings = np.sort(rng.integers(0, 30, 300))
    queries = Embedded(rng.normal(size=(30, 12)), np.arange(30))
    gallery = Embedded(rng.normal(size=(300, 12)), meanings)
    scores = retrieval_scores(queries, gallery, shuffles=60)
    for name in ("R@1", "R@5", "R@10", "MRR"):
        assert scores[name].blind == pytest.approx(scores[name].chance, rel=0.2)
    right_ones = np.bincount(meanings, minlength=30)
    assert scores["R@1"].chance == pytest.approx((right_ones[right_ones > 0] / 300).mean())


def test_chance_median_is_the_median_of_simulated_random_orders() -> None:
    counts = np.array([1, 1, 3, 8])
    chance = Ranks(np.zeros(4, int), 60 - counts, counts)
    rng = np.random.default_rng(0)
    simulated = [rng.permutation(60)[: counts[rng.integers(4)]].min() + 1 for _ in range(20000)]
    assert retrieval._chance_median(chance) == pytest.approx(np.median(simulated), abs=1)


def test_queries_without_a_right_answer_are_left_out_and_counted_out() -> None:
    vectors = np.eye(4)
    queries = Embedded(vectors, [("a",), ("b",), (), ("nowhere",)])
    gallery = Embedded(vectors[:3], [("a",), ("x", "b"), ("c",)])
    scores = retrieval_scores(queries, gallery, ks=(1,))
    assert (scores["R@1"].n, scores["R@1"].value) == (2, 1.0)
    with pytest.raises(ValueError, match="shares a meaning"):
        retrieval_scores(queries.take(np.array([2, 3])), gallery)
    assert between({"text": queries.take(np.array([3])), "image": gallery}) == {}
    with pytest.raises(ValueError, match="query 1 has no right item"):
        ranks_of_scores(np.eye(2), right([0], []))


def test_meanings_are_taken_as_keys_or_as_padded_numbers() -> None:
    from_keys = Right.between([("a", "b"), ("c",)], [("b",), ("c", "a"), ("d",)])
    from_ids = Right.between(np.array([[0, 1], [2, -1]]), np.array([[1, -1], [2, 0], [3, -1]]))
    assert from_keys.columns.tolist() == from_ids.columns.tolist() == [0, 1, 1]
    assert from_keys.counts.tolist() == from_ids.counts.tolist() == [2, 1]
    with pytest.raises(ValueError, match="tuple of keys"):
        Right.between(["thing"], [("thing",)])


def test_slices_of_queries_give_the_same_as_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    queries, gallery = rng.normal(size=(37, 6)), rng.normal(size=(23, 6))
    answers = Right.between(rng.integers(0, 23, 37), np.arange(23))
    whole = ranks(queries, gallery, [answers])[0]
    monkeypatch.setattr(retrieval, "CHUNK_NUMBERS", 23 * 4)
    sliced = ranks(queries, gallery, [answers])[0]
    assert whole.rank().tolist() == sliced.rank().tolist()
    by_sorting = np.argsort(-retrieval.unit(queries) @ retrieval.unit(gallery).T, axis=1)
    assert whole.rank().tolist() == [row.tolist().index(c) + 1 for row, c in zip(by_sorting, answers.columns)]


def test_wrong_widths_and_diverged_vectors_are_named() -> None:
    with pytest.raises(ValueError, match="3 wide, the gallery 4"):
        ranks(np.ones((1, 3)), np.ones((1, 4)), [right([0])])
    with pytest.raises(ValueError, match="vector 1 holds NaN"):
        retrieval.unit(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="expected float"):
        Embedded(np.ones((3, 2)), [("a",)])
