"""Speech to words at a debug size: both stages trained, scored beside copying, opened again and asked."""

import pytest
import torch

import sensorium
from sensorium.data import bundled
from sensorium.data.feature_cache import FeatureCache
from sensorium.evaluation.transcription import normalised
from sensorium.facade.transcribing import transcriptions
from sensorium.recipes import recipe_function
from sensorium.recipes.speech import LetterCollator, SpeechTest, clips
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
    scores = result.scores
    assert scores["speech.fr.letters.CER"]["copy"] == scores["speech.fr.CER"]["copy"]
    for name in ("letters", "counts"):
        fewer = scores[f"speech.fr.{name}.CER"]["value"] - scores["speech.fr.CER"]["value"]
        assert scores[f"speech.fr.over_{name}.CER"]["value"] == pytest.approx(fewer)


def test_the_checkpoint_transcribes_as_it_was_scored(trained):
    folder, _ = trained
    assistant = sensorium.load(folder)
    test = SpeechTest.of("fr", 2, assistant.model, FeatureCache(folder / "features"), progress=False)
    audio = [sample.columns["audio"] for sample in test.samples]
    assert [assistant.transcribe(one) for one in audio] == transcriptions(
        assistant.model, test.features[[0, 1]]
    )


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
