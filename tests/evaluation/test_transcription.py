import jiwer
import numpy as np
import pytest

from sensorium.evaluation.generated import score_of
from sensorium.evaluation.transcription import ErrorRates, normalised


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("L’éléphant, s'il vous plaît !", "l'éléphant s'il vous plaît"),
        ("¿Qué  es «esto»?", "qué es esto"),
        ("un arc-en-ciel…", "un arc en ciel"),
        ("'quoted' words", "quoted words"),
        ("e\u0301te\u0301", "été"),
        ("NIÑO", "niño"),
    ],
)
def test_normal_form_keeps_accents_and_inner_apostrophes(text: str, form: str) -> None:
    assert normalised(text) == form


def test_rates_of_hand_counted_errors() -> None:
    found = ErrorRates(["le chat noir dort", "niño"])(["Le chat, dort !", "nino"])
    assert found["WER"].value == pytest.approx(2 / 5)  # "noir" is missing, "nino" is another word
    assert found["CER"].value == pytest.approx(6 / 21)  # "noir " and ñ
    assert found["WER"].values == pytest.approx([1 / 4, 1.0])


def test_rates_of_a_set_equal_jiwer_s_own_and_pass_one() -> None:
    references = ["un dos tres", "la casa", "el perro come", "azul"]
    written = ["un dos", "la la la casa azul", "el gato come mucho", "rojo y verde y negro"]
    found = ErrorRates(references)(written)
    assert found["WER"].value == pytest.approx(jiwer.wer(references, written))
    assert found["CER"].value == pytest.approx(jiwer.cer(references, written))
    assert found["WER"].value > 1


def test_interval_is_over_utterances_and_a_long_one_weighs_more() -> None:
    references = ["a b c d e f g h", "x"] * 30
    measured = ErrorRates(references)(["a b c d e f g h", "y"] * 30)["WER"]
    assert measured.value == pytest.approx(1 / 9)  # not the mean of the utterances' rates, 1/2
    score = score_of(measured)
    assert score.low < 1 / 9 < score.high
    assert score.unit == "error"
    assert "accents kept" in score.note


def test_silence_counts_only_what_is_written_into_it() -> None:
    found = ErrorRates(["...", "a b"])(["oh", "a b"])
    assert found["WER"].value == pytest.approx(1 / 2)
    assert np.isfinite(found["WER"].values).all()
    with pytest.raises(ValueError, match="none of the 2 holds a word"):
        ErrorRates(["", "!"])
    with pytest.raises(ValueError, match="transcriptions: got 1; expected 2"):
        ErrorRates(["a", "b"])(["a"])
