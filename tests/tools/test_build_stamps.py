import io

import numpy as np
import pytest
import soundfile

import build_stamps as build
import sounds
from build_stamps import base, components, sharing
from sensorium.media import audio


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("plants/flowers/flower1", "plants/flowers/flower10", True),
        ("food/fruit/apple_green", "food/fruit/cartoon/apple", True),
        ("household/padlock_open", "household/padlock_closed", True),
        ("symbols/chess/b_2_queen", "symbols/chess/w_2_queen", True),
        ("symbols/money/us/coins/001penny", "symbols/money/us/coins/010dime", True),
        ("symbols/alphabets/english/uppercase/A_filled", "symbols/alphabets/english/lowercase/a_outline", True),
        ("symbols/math/3", "symbols/math/4", False),
        ("symbols/alphabets/asl/asl_a", "symbols/alphabets/asl/asl_b", False),
        ("symbols/chess/b_2_queen", "symbols/chess/b_1_king", False),
        ("food/fruit/orange", "food/fruit/lemon", False),
        ("food/fruit/apple_core", "food/fruit/apple", False),
    ],
)  # fmt: skip
def test_variants_by_name(one, other, same):
    assert (base(one) == base(other)) is same


@pytest.mark.parametrize(
    ("thing", "family"),
    [
        ("symbols/math/7", "digits"),
        ("symbols/math/operators/op1_plus", "symbols"),
        ("symbols/alphabets/asl/asl_zzz_4", "hand signs"),
        ("symbols/alphabets/german/filled/uppercase/A_with_umlaut_filled", "letters"),
        ("symbols/money/euro/coins/100", "money"),
        ("animals/birds/crow", "other"),
    ],
)
def test_families(thing, family):
    assert build.family(thing) == family


def test_components_join_through_chains_and_are_named_by_the_first():
    assert components(["a", "b", "c", "d"], [("c", "b"), ("a", "c")]) == {
        "a": "a",
        "b": "a",
        "c": "a",
        "d": "d",
    }
    assert components(["x", "y", "z"], sharing(["x", "y", "z"], ["k", "l", "k"])) == {
        "x": "x",
        "y": "y",
        "z": "x",
    }


def test_captions_keep_the_languages_that_say_something(tmp_path):
    lines = ["A crow. ", "fr.utf8=Un corbeau.", "sr@latin.utf8=Vrana = ptica", "de.utf8=", "", ""]
    (tmp_path / "c.txt").write_text("\n".join(lines), encoding="utf-8")
    assert build.captions_of(tmp_path / "c.txt") == {
        "en": "A crow.",
        "fr": "Un corbeau.",
        "sr@latin": "Vrana = ptica",
    }


def test_recordings_are_descriptions_or_the_thing_s_own_sound(tmp_path):
    names = (
        "crow.ogg",
        "crow_desc.ogg",
        "crow_desc_fr.ogg",
        "crow_desc_pt_BR.wav",
        "crow_fr.ogg",
        "owl_desc_fr.ogg",
    )
    for name in names:
        (tmp_path / name).touch()
    spoken, effects = build.recordings_of(tmp_path, {"crow"})
    assert {key: file.name for key, file in spoken.items()} == {
        ("en", "crow"): "crow_desc.ogg",
        ("fr", "crow"): "crow_desc_fr.ogg",
        ("pt_BR", "crow"): "crow_desc_pt_BR.wav",
    }
    assert {key: file.name for key, file in effects.items()} == {"crow": "crow.ogg"}


def test_sounds_come_out_the_same_twice_at_their_length_and_pitch(tmp_path):
    seconds = np.arange(0, 1.3, 1 / 44_100)
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], axis=1), 44_100)
    samples = sounds.read(tmp_path / "tone.wav")
    assert samples.shape == (20_800,)
    data = sounds.opus(samples, bits_a_second=16_000, application="audio")
    assert data == sounds.opus(samples, bits_a_second=16_000, application="audio")
    heard = audio.decode(data)
    assert heard.samples.shape == (20_800,)
    spectrum = np.abs(np.fft.rfft(heard.samples))
    assert spectrum.argmax() / 1.3 == pytest.approx(440, abs=1)
    assert soundfile.info(io.BytesIO(data)).format == "OGG"
