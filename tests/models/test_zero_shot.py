"""Classes named by their words alone."""

import numpy as np
import pytest

from sensorium.models.zero_shot import ZeroShotClassifier

VECTORS = {
    "cat": [2.0, 0.0],
    "a photo of cat.": [0.0, 3.0],
    "dog": [-1.0, 0.0],
    "a photo of dog.": [0.0, -1.0],
}


def embed(texts: list[str]) -> np.ndarray:
    return np.array([VECTORS[text] for text in texts])


TEMPLATES = ("{}", "a photo of {}.")


def test_a_label_is_the_unit_mean_of_its_prompts_unit_vectors():
    classifier = ZeroShotClassifier(embed, ["cat", "dog"], TEMPLATES)
    half = 2**-0.5  # "cat": the mean of (1, 0) and (0, 1), not of (2, 0) and (0, 3)
    np.testing.assert_allclose(classifier.vectors, [[half, half], [-half, -half]], atol=1e-6)


def test_similarities_and_probabilities_by_hand():
    classifier = ZeroShotClassifier(embed, ["cat", "dog"])
    media = np.array([[3.0, 4.0], [-5.0, 0.0]])
    np.testing.assert_allclose(classifier.similarities(media), [[0.6, -0.6], [-1.0, 1.0]], atol=1e-6)
    expected = 1 / (1 + np.exp(-2 * 1.2))  # softmax of ±0.6 · 2
    np.testing.assert_allclose(classifier.probabilities(media, scale=2.0)[0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(classifier.probabilities(media, scale=1e4).sum(1), 1.0)
    assert classifier(media) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("labels", "templates", "message"),
    [
        ([], TEMPLATES, "got 0"),
        (["cat", "cat"], TEMPLATES, r"repeated \['cat'\]"),
        (["cat"], ["a photo"], r"got \['a photo'\]; each needs one {}"),
        (["cat"], [], "got none"),
        ("cat", TEMPLATES, "give \\['…'\\]"),
        (["cat"], "{}", "give \\['…'\\]"),
    ],
)
def test_bad_labels_and_templates(labels, templates, message):
    with pytest.raises(ValueError, match=message):
        ZeroShotClassifier(embed, labels, templates)
