import numpy as np
import pytest

from sensorium.evaluation.answers import ExactMatch
from sensorium.evaluation.drop_one import drop_one, drop_one_answers, mean_of_units, variants
from sensorium.evaluation.retrieval import Embedded

N = 24
GALLERY = Embedded(np.concatenate([np.repeat(np.eye(6), 4, 0), np.tile(np.eye(4), (6, 1))], 1), np.arange(N))


def half(which: int) -> np.ndarray:
    """A column that knows one half of what tells the 24 gallery items apart."""
    mask = np.repeat([1.0, 0.0] if which == 0 else [0.0, 1.0], [6, 4])
    return GALLERY.vectors * mask


def test_two_columns_that_know_half_each_are_right_together_and_a_quarter_or_a_sixth_alone() -> None:
    present = {"text": np.ones(N, bool), "audio": np.ones(N, bool)}
    scores = drop_one({"text": half(0), "audio": half(1)}, present, np.arange(N), GALLERY)
    assert set(scores) == {"all.R@1", "without_text.R@1", "without_audio.R@1"}
    assert scores["all.R@1"].value == 1.0
    assert scores["without_audio.R@1"].value == pytest.approx(1 / 4)  # one of four that share the first half
    assert scores["without_text.R@1"].value == pytest.approx(1 / 6)


def test_a_useless_third_column_changes_nothing_and_every_number_is_over_the_same_rows() -> None:
    present = {name: np.ones(N, bool) for name in ("text", "audio", "state")}
    present["state"][5:] = False
    columns = {"text": half(0), "audio": half(1), "state": np.zeros((N, 10))}
    columns["state"][5:] = np.nan  # absent rows are never read
    scores = drop_one(columns, present, np.arange(N), GALLERY)
    assert {score.n for score in scores.values()} == {5}
    assert scores["without_state.R@1"].value == scores["all.R@1"].value == 1.0
    assert scores["only_state.R@1"].value == pytest.approx(scores["only_state.R@1"].chance)
    assert scores["only_text.R@1"].value == pytest.approx(1 / 4)


def test_fusion_does_not_depend_on_the_lengths_of_the_vectors() -> None:
    fused = mean_of_units({"a": np.array([[9.0, 0.0]]), "b": np.array([[0.0, 0.1]])})
    assert fused == pytest.approx(np.array([[0.5**0.5, 0.5**0.5]]))


def test_what_cannot_be_dropped_is_said() -> None:
    with pytest.raises(ValueError, match="at least two"):
        drop_one({"text": half(0)}, {"text": np.ones(N, bool)}, np.arange(N), GALLERY)
    never = {"text": np.zeros(N, bool), "audio": np.ones(N, bool)}
    with pytest.raises(ValueError, match="no row has all of the columns text, audio"):
        drop_one({"text": half(0), "audio": half(1)}, never, np.arange(N), GALLERY)
    with pytest.raises(ValueError, match="one mask for each"):
        drop_one({"text": half(0), "audio": half(1)}, {"text": np.ones(N, bool)}, np.arange(N), GALLERY)


def told(image: str, state: str) -> list[dict]:
    parts = [
        {"type": "image", "image": image},
        {"type": "state", "state": state},
        {"type": "text", "text": "?"},
    ]
    return [{"role": "user", "content": parts}]


def test_a_conversation_model_that_needs_both_of_two_modalities_drops_to_what_each_alone_tells() -> None:
    conversations = [told(f"i{n % 4}", f"s{n % 3}") for n in range(24)]

    def model(given: list) -> list[str]:
        parts = [{p["type"]: p.get(p["type"]) for p in c[0]["content"]} for c in given]
        return [f"{p.get('image', 'i0')} {p.get('state', 's0')}" for p in parts]

    right = [f"i{n % 4} s{n % 3}" for n in range(24)]
    scores = drop_one_answers(model, conversations, ["image", "state"], ExactMatch(right))
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {"all.accuracy": 1.0, "without_image.accuracy": 1 / 4, "without_state.accuracy": 1 / 3}
    )
    assert [score.blind_withheld for score in scores.values()] == pytest.approx([1 / 12] * 3)
    assert scores["without_state.accuracy"].margin == pytest.approx(1 / 3 - 1 / 12)


def test_dropping_asks_for_conversations_with_every_modality() -> None:
    one = [{"role": "user", "content": [{"type": "image", "image": "i"}, {"type": "text", "text": "?"}]}]
    with pytest.raises(ValueError, match="conversation 1 has no state"):
        drop_one_answers(list, [told("i", "s"), one], ["image", "state"], ExactMatch(["a", "b"]))
    with pytest.raises(ValueError, match="at least two"):
        drop_one_answers(list, [one], ["image"], ExactMatch(["a"]))


def test_three_columns_are_dropped_and_shown_alone_two_are_only_dropped() -> None:
    assert variants(["a", "b"]) == {"all": ["a", "b"], "without_a": ["b"], "without_b": ["a"]}
    assert variants(["a", "b", "c"])["only_b"] == ["b"]
