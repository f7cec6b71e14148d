import numpy as np
import pytest

from sensorium.evaluation.zero_shot import class_vectors, zero_shot_scores


def test_class_vector_is_the_mean_direction_of_its_normalised_prompts() -> None:
    prompts = np.array([[[1.0, 0.0], [0.0, 100.0]], [[0.0, 2.0], [0.0, 5.0]]])
    assert class_vectors(prompts) == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


def test_accuracies_on_hand_made_vectors() -> None:
    classes = np.eye(4)
    media = np.array([[3, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0], [0, 1, 2, 3], [0, 3, 1, 0]])
    scores = zero_shot_scores(media, classes, [0, 0, 1, 3, 0], ks=(1, 2, 9))
    assert set(scores) == {"top-1", "top-2", "per_class"}
    assert scores["top-1"].value == pytest.approx(3 / 5)
    assert scores["top-2"].value == pytest.approx(4 / 5)
    assert scores["per_class"].value == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert (scores["top-1"].chance, scores["top-2"].chance, scores["per_class"].chance) == (0.25, 0.5, 0.25)


def test_a_perfect_classifier_with_shuffled_pictures_is_at_chance() -> None:
    labels = np.repeat(np.arange(10), 60)
    scores = zero_shot_scores(np.eye(10)[labels], np.eye(10), labels, shuffles=20)
    assert scores["top-1"].value == scores["per_class"].value == 1.0
    assert scores["top-1"].blind == pytest.approx(0.1, abs=0.02)
    assert scores["per_class"].blind == pytest.approx(0.1, abs=0.02)
    assert scores["top-1"].low == pytest.approx(0.025 ** (1 / 600))


def test_a_majority_guesser_is_seen_through_by_the_per_class_mean() -> None:
    labels = np.repeat([0, 1, 2], [80, 10, 10])
    media = np.tile([1.0, 0.5, 0.0], (100, 1))
    scores = zero_shot_scores(media, np.eye(3), labels, ks=(1,))
    assert scores["top-1"].value == scores["top-1"].blind == pytest.approx(0.8)
    assert scores["per_class"].value == pytest.approx(1 / 3)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got 0 … 3 with 3 classes; expected 0 … 2"):
        zero_shot_scores(np.eye(3)[:2], np.eye(3), [0, 3])
    with pytest.raises(ValueError, match="got 1 for 2 media"):
        zero_shot_scores(np.eye(3)[:2], np.eye(3), [0])
