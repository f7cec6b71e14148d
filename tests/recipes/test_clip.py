"""Both towers from random weights, at a debug size: trained, scored, saved and opened again."""

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import BertTokenizer

import sensorium
from sensorium.facade import SharedSpace
from sensorium.recipes import recipe_function
from sensorium.recipes.clip import SHIFT, ZOOM, seen_anew
from sensorium.training.loop import fit

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A tokenizer of letters in BERT's layout, whose texts end with [SEP] and which names no end token."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    BertTokenizer(vocab={token: row for row, token in enumerate(tokens)}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("name", "loss"), [("clip", "info_nce/image-text"), ("siglip", "siglip/image-text")])
def test_a_recipe_trains_scores_and_opens_again(name, loss, tokenizer, tmp_path):
    options = {"tokenizer": str(tokenizer), "limit": 32, "batch_size": 16, "epochs": 1, "progress": False}
    trained = fit(recipe_function(name)(folder=tmp_path, **options))
    assert len(trained.steps) == 2
    assert all(step[f"loss/{loss}"] == step["loss"] > 0 for step in trained.steps)

    written = json.loads((tmp_path / "metrics.json").read_text())
    text_to_image = written["emoji.unseen_artist.text_to_image.R@1"]
    assert text_to_image["n"] == 32

    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 80, 50, 3), dtype=np.uint8))
    texts = ["grinning face", "red apple", "octopus"]
    opened, before = sensorium.load(trained.checkpoint), SharedSpace(trained.model)
    for modality, media in (("image", pictures), ("text", texts)):
        vectors = opened.embed(modality, media)
        assert np.array_equal(vectors, before.embed(modality, media))
        assert np.linalg.matrix_rank(vectors, tol=1e-3) == 3  # three things, three places
    assert opened.model.encoders["text"].model.config.eos_token_id == 3  # [SEP]


def test_a_window_shows_the_picture_moved_and_zoomed_on_white():
    np.random.seed(0)
    picture = np.zeros((100, 60, 3), np.uint8)
    shapes = []
    for _ in range(200):
        window = seen_anew(picture)
        height, width = window.shape[:2]
        shapes.append(height)
        assert abs(width - 0.6 * height) <= 1
        black = (window == 0).all(-1)
        rows, columns = black.any(1), black.any(0)
        assert black.sum() == rows.sum() * columns.sum()  # one rectangle, the rest white
        assert ((window == 0) | (window == 255)).all()
        assert rows.sum() >= min(height, 100) - np.ceil(100 * SHIFT) - 1
    assert min(shapes) >= 100 * ZOOM[0]
    assert max(shapes) <= 100 * ZOOM[1]
    assert max(shapes) - min(shapes) > 30
