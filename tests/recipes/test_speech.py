"""Speech to words at a debug size: both stages trained, scored beside copying, opened again and asked."""

import pytest
import torch

import sensorium
from sensorium.data import bundled
from sensorium.evaluation.transcription import normalised
from sensorium.recipes import recipe_function
from sensorium.recipes.speech import LetterCollator, clips
from sensorium.training.loop import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    options = {"limit": 4, "beside": (), "steps": 1, "letter_steps": 2, "batch_size": 2, "progress": False}
    return folder, fit(recipe_function("speech")(folder, cache=folder / "features", **options))


def test_both_stages_train_and_score_beside_copying(trained):
    folder, result = trained
    assert (folder / "letters" / "checkpoints" / "step-00000002").is_dir()
    errors = result.scores["speech.fr.WER"]
    for baseline in ("blind_withheld", "blind_shuffled", "majority", "copy"):
        assert errors[baseline] > 0
    assert errors["unit"] == "error"
    assert result.scores["speech.fr.letters.CER"]["copy"] == result.scores["speech.fr.CER"]["copy"]


def test_the_checkpoint_transcribes_a_clip(trained):
    clip = clips("test", "fr", 1)[0]
    said = sensorium.load(trained[0]).transcribe(clip.columns["audio"], max_tokens=3)
    assert isinstance(said, str)


def test_clips_are_the_published_descriptions_and_tests_are_unseen():
    train, test = clips("train", "fr"), clips("test", "fr")
    assert (len(train), len(test)) == (735, 190)
    known = {sample.id: sample.fields["captions"]["fr"] for sample in bundled.stamps("test", "fr")}
    for clip in test[:20]:
        assert clip.columns["messages"][-1]["content"] == known[clip.id.removesuffix("/fr")]
    assert not {clip.id for clip in train} & {clip.id for clip in test}


def test_letters_follow_each_other_over_the_batch():
    class Frames:
        def __getitem__(self, rows):
            return sensorium.features.Features(
                torch.ones(len(rows), 40, 3),
                torch.ones(len(rows), 40, dtype=torch.bool),
                torch.ones(len(rows), 3),
            )

    samples = clips("train", "fr", 3)
    letters = sorted({letter for clip in samples for letter in normalised(clip.fields["text"])})
    batch = LetterCollator(samples, Frames(), letters)([2, 0])
    texts = [normalised(samples[number].fields["text"]) for number in (2, 0)]
    assert batch.counts.tolist() == [len(text) for text in texts]
    assert "".join(letters[number - 1] for number in batch.letters.tolist()) == "".join(texts)
    left_out = (batch.inputs.tokens == 0).all(-1).sum(1)
    assert (left_out <= 16).all()
