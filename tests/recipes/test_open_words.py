"""Words for pictures that no training picture has: their captions, what the classifier means."""

import pytest
import torch

from sensorium.recipes import open_words
from sensorium.recipes.open_words import SENSE, Words, class_names, nouns, word_samples


class Tokenizer:
    def get_vocab(self):
        return {"frog": 0, "ox": 1, "horse": 2, "##og": 3}


def test_the_names_of_classes_and_the_nouns_that_are_one_token(tmp_path, monkeypatch):
    (tmp_path / "imagenet_synsets.txt").write_text("n2\nn1\n")
    (tmp_path / "imagenet_synset_to_lemma.txt").write_text(
        "n1\tfrog, toad, Rana\nn2\tox\nn3\thorse, Equus\nn4\tfrog\n"
    )
    monkeypatch.setattr(open_words.weights, "resolve", lambda source, sha256=None: tmp_path)
    assert class_names() == [["ox"], ["frog", "toad", "Rana"]]
    assert nouns(Tokenizer()) == ["frog", "horse"]  # two letters are more often an abbreviation than an ox


def test_words_are_captions_once():
    samples, classes = word_samples([["ox"], ["tree frog", "frog"], ["Ox", "steer"]], ["frog", "horse"])
    assert [s.columns["text"] for s in samples] == [
        "An ox.",
        "A tree frog.",
        "A frog.",
        "A steer.",
        "A horse.",
    ]
    assert classes.tolist() == [0, 1, 0]
    assert len({sample.id for sample in samples}) == 5


def test_a_text_means_what_the_picture_is_classified_as():
    senses = torch.zeros(4, SENSE)
    senses[[0, 1, 2, 3], [0, 1, 2, 3]] = 1.0  # four words at equal angles: the mean word is none of them
    captions = ["A frog.", "An ox.", "A cup.", "A hat."]
    # The first two are classes: of a picture whose last two features are (1, 0) and (0, 1).
    of = Words(captions, senses, torch.tensor([0, 1]), 100 * torch.eye(2), torch.zeros(2))
    image = torch.tensor([[7.0, 1.0, 0.0], [7.0, 0.0, 1.0], [7.0, 1.0, 1.0]])
    meant = of.meant(image, 3 * senses)  # a text's length does not matter
    # Less their mean, four unit vectors are the corners of a tetrahedron, cosine −1/3.
    assert meant[0].tolist() == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3], abs=1e-5)
    assert meant[1].tolist() == pytest.approx([-1 / 3, 1.0, -1 / 3, -1 / 3], abs=1e-5)
    assert meant[2].tolist() == pytest.approx([1 / 3, 1 / 3, -1 / 3, -1 / 3], abs=1e-5)
