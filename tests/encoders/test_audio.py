import struct

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.models.whisper.modeling_whisper import WhisperEncoder as ReferenceWhisper

from sensorium.encoders.audio import TransformersAudioEncoder, WhisperEncoder, WhisperStatistics, at_rate
from sensorium.encoders.whisper_files import convert_ctranslate2, read_ctranslate2
from sensorium.media import Audio

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
WAVES = {
    "conv_dim": (16, 16), "conv_kernel": (10, 4), "conv_stride": (20, 8), "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
CLAP = {
    "hidden_size": 64, "patch_embeds_hidden_size": 16, "depths": [1, 1, 1], "num_attention_heads": [2, 2, 2],
    "num_hidden_layers": 3, "num_mel_bins": 64, "spec_size": 256, "patch_size": 8, "patch_stride": [8, 8],
}  # fmt: skip


def _reference(encoder: WhisperEncoder) -> ReferenceWhisper:
    config = hf.WhisperConfig(
        d_model=encoder.width, encoder_layers=len(encoder.layers),
        encoder_attention_heads=encoder.config["heads"], encoder_ffn_dim=encoder.layers[0].fc1.out_features,
        num_mel_bins=encoder.mels, max_source_positions=encoder.positions,
    )  # fmt: skip
    model = ReferenceWhisper(config).eval()
    model.load_state_dict(encoder.state_dict())
    return model


def test_padded_whisper_equals_transformers(sounds):
    encoder = WhisperEncoder.pretrained(padded=True)
    longer_than_the_window = Audio(np.tile(sounds[0].samples, 60)[: 31 * 16_000], 16_000)
    sounds = [sounds[2], longer_than_the_window]
    extractor = hf.WhisperFeatureExtractor()
    waves = [at_rate(sound, 16_000) for sound in sounds]
    mel = extractor(waves, sampling_rate=16_000, return_tensors="pt").input_features
    inputs = encoder.prepare(sounds)
    torch.testing.assert_close(inputs["mel"], mel, atol=1e-5, rtol=0)
    with torch.no_grad():
        want = _reference(encoder)(mel).last_hidden_state
        got = encoder(inputs)
    torch.testing.assert_close(got.tokens, want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.pooled, want.mean(1), atol=1e-4, rtol=1e-4)


def test_trimmed_whisper_sees_the_first_columns_of_the_padded_spectrogram(sounds):
    trimmed, padded = WhisperEncoder(layers=1), WhisperEncoder(layers=1, padded=True)
    for sound in sounds:
        mel = trimmed.prepare([sound])["mel"]
        seconds = mel.shape[-1] * 160 / 16_000
        assert sound.seconds <= seconds < sound.seconds + 0.02
        whole = padded.prepare([sound])["mel"]
        torch.testing.assert_close(mel, whole[..., : mel.shape[-1]], atol=1e-5, rtol=0)


def test_a_clip_does_not_depend_on_its_batch(whisper, sounds):
    together = whisper.encode(sounds, dtype=torch.float32)
    largest = together.tokens.abs().max()
    for row, sound in enumerate(sounds):
        alone = whisper.encode([sound], dtype=torch.float32)
        n = alone.tokens.shape[1]
        assert together.mask[row].sum() == n
        assert (together.tokens[row, n:] == 0).all()
        assert (together.tokens[row, :n] - alone.tokens[0]).abs().max() < 1e-4 * largest
        assert (together.pooled[row] - alone.pooled[0]).abs().max() < 1e-4 * largest


def test_bfloat16_stays_within_the_stated_tolerance(whisper, sounds):
    exact, quick = (whisper.encode(sounds, dtype=dtype).pooled for dtype in (torch.float32, torch.bfloat16))
    assert torch.cosine_similarity(exact, quick).min() > 0.998


def test_statistics_are_of_every_state_and_of_real_tokens_only(sounds):
    torch.manual_seed(0)
    encoder = WhisperStatistics(width=32, layers=2, heads=2, inner=32).eval()
    states = encoder.states(encoder.prepare(sounds[:1]))
    assert len(states) == 3
    found = encoder.encode(sounds, dtype=torch.float32).pooled
    assert found.shape == (len(sounds), encoder.width) == (len(sounds), 2 * 3 * 32)
    centred = [state[0] - state[0].mean(-1, keepdim=True) for state in states]
    tokens = torch.cat([x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() for x in centred], -1)
    expected = torch.cat([tokens.mean(0), tokens.std(0, correction=0)])
    torch.testing.assert_close(found[0], expected, atol=2e-3, rtol=0)


def test_a_long_sound_is_cut_and_reported(caplog):
    encoder = WhisperEncoder(width=32, layers=1, heads=2, inner=32, positions=50)  # one second
    inputs = encoder.prepare([Audio(np.ones(n, np.float32), 16_000) for n in (16_001, 9)])
    assert inputs["truncated"].tolist() == [True, False]
    assert inputs["mask"].sum(1).tolist() == [50, 1]
    assert "1 of 2 sounds are longer than 1 s" in caplog.text


def test_tokens_are_counted_as_they_are_encoded(sounds):
    """What a conversation lays out for a sound must be what it becomes."""
    whisper = {
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_attention_heads": 2,
    }
    small = {"width": 32, "layers": 1, "heads": 2, "inner": 32, "positions": 40}
    expected = {
        "trimmed": (WhisperEncoder(**small), [28, 40, 16, 2]),  # 20 ms a token, at most 40
        "padded": (WhisperEncoder(**small, padded=True), [40] * 4),
        "whisper": (
            TransformersAudioEncoder.from_config(hf.WhisperConfig(**whisper, max_source_positions=50)),
            [28, 45, 16, 2],
        ),
        "waves": (TransformersAudioEncoder.from_config(hf.Wav2Vec2Config(**TINY, **WAVES)), [55, 90, 31, 3]),
        "clap": (TransformersAudioEncoder.from_config(hf.ClapAudioConfig(**CLAP)), [64] * 4),
    }
    for kind, (encoder, counts) in expected.items():
        assert encoder.encode(sounds).mask.sum(1).tolist() == counts, kind
        assert [encoder.token_count(sound) for sound in sounds] == counts, kind


def _write_ctranslate2(file, arrays: dict[str, np.ndarray], version: int = 6) -> None:
    def text(s: str) -> bytes:
        return struct.pack("<H", len(s) + 1) + s.encode() + b"\0"

    data = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        kind = {"float16": 4, "float32": 0, "int8": 1, "int16": 2}[array.dtype.name]
        data += text(name) + struct.pack("<B", array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
        data += struct.pack("<BI", kind, array.nbytes) + array.tobytes()
    file.write_bytes(data + struct.pack("<I", 0))


def test_ctranslate2_weights_arrive_where_they_belong(tmp_path, sounds):
    """A random encoder, written in CTranslate2's layout by hand and converted, computes the same."""
    encoder = WhisperEncoder(width=32, layers=2, heads=2, inner=48, positions=60).eval()
    state = {name: tensor.half().float().numpy() for name, tensor in encoder.state_dict().items()}
    arrays = {"encoder/num_heads": np.array(2, np.int16)}
    arrays["encoder/position_encodings/encodings"] = state["embed_positions.weight"]
    for part in ("conv1", "conv2"):
        arrays |= {f"encoder/{part}/{kind}": state[f"{part}.{kind}"] for kind in ("weight", "bias")}
    norms = {"layer_norm": "layer_norm"}
    for n in range(2):
        ours, theirs = f"layers.{n}", f"encoder/layer_{n}"
        fused = [state[f"{ours}.self_attn.{p}_proj.weight"] for p in "qkv"]
        arrays[f"{theirs}/self_attention/linear_0/weight"] = np.concatenate(fused)
        q, v = (state[f"{ours}.self_attn.{p}_proj.bias"] for p in "qv")
        arrays[f"{theirs}/self_attention/linear_0/bias"] = np.concatenate([q, np.zeros_like(q), v])
        linear = {
            "self_attention/linear_1": "self_attn.out_proj",
            "ffn/linear_0": "fc1",
            "ffn/linear_1": "fc2",
        }
        for a, b in linear.items():
            arrays |= {f"{theirs}/{a}/{kind}": state[f"{ours}.{b}.{kind}"] for kind in ("weight", "bias")}
        norms |= {f"layer_{n}/self_attention/layer_norm": f"{ours}.self_attn_layer_norm"}
        norms |= {f"layer_{n}/ffn/layer_norm": f"{ours}.final_layer_norm"}
    for theirs, name in norms.items():
        arrays[f"encoder/{theirs}/gamma"] = state[f"{name}.weight"]
        arrays[f"encoder/{theirs}/beta"] = state[f"{name}.bias"]
    arrays = {n: a.astype(np.float16) if a.dtype == np.float32 else a for n, a in arrays.items()}
    (tmp_path / "made").mkdir()
    _write_ctranslate2(tmp_path / "model.bin", arrays)
    convert_ctranslate2(tmp_path, tmp_path / "made")
    got = WhisperEncoder.pretrained(tmp_path / "made")
    encoder.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    want = encoder.encode(sounds, dtype=torch.float32).tokens
    torch.testing.assert_close(got.encode(sounds, dtype=torch.float32).tokens, want, atol=0, rtol=0)


def test_a_ctranslate2_file_we_cannot_read_is_refused(tmp_path):
    file = tmp_path / "model.bin"
    good = {"encoder/conv1/weight": np.zeros((4, 3), np.float16)}
    _write_ctranslate2(file, good, version=5)
    with pytest.raises(ValueError, match="got version 5 of 'WhisperSpec'; expected version 6"):
        read_ctranslate2(file)
    _write_ctranslate2(file, good)
    assert list(read_ctranslate2(file)) == ["encoder/conv1/weight"]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match="ends early"):
        read_ctranslate2(file)
    _write_ctranslate2(file, {"encoder/conv1/weight_scale": np.zeros(4, np.float32)})
    with pytest.raises(ValueError, match="quantised weights"):
        convert_ctranslate2(file, tmp_path)


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("kind", [hf.Wav2Vec2Config, hf.HubertConfig, hf.WavLMConfig])
def test_waveform_models_equal_transformers_one_by_one(kind, norm, sounds):
    stable = norm == "layer"
    config = kind(**TINY, **WAVES, feat_extract_norm=norm, do_stable_layer_norm=stable)
    encoder = TransformersAudioEncoder.from_config(config).eval()
    got = encoder.encode(sounds, dtype=torch.float32)
    extractor = hf.Wav2Vec2FeatureExtractor(do_normalize=True)
    for row, sound in enumerate(sounds):
        wave = extractor(at_rate(sound, 16_000), sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            want = encoder.model(wave).last_hidden_state[0]
        n = int(got.mask[row].sum())
        assert n == len(want)
        torch.testing.assert_close(got.tokens[row, :n], want, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(got.pooled[row], want.mean(0), atol=1e-4, rtol=1e-4)


def test_ast_equals_transformers(sounds, caplog):
    config = hf.ASTConfig(**TINY, max_length=64, num_mel_bins=32)
    encoder = TransformersAudioEncoder.from_config(config).eval()
    got = encoder.encode(sounds, dtype=torch.float32)
    extractor = hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    waves = [at_rate(sound, 16_000) for sound in sounds]
    with torch.no_grad():
        want = encoder.model(extractor(waves, sampling_rate=16_000, return_tensors="pt").input_values)
    torch.testing.assert_close(got.tokens, want.last_hidden_state, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.pooled, want.pooler_output, atol=1e-4, rtol=1e-4)
    assert "1 of 4 sounds are longer than 0.655 s" in caplog.text


@pytest.mark.parametrize("fusion", [False, True])
def test_clap_equals_transformers(fusion, sounds):
    encoder = TransformersAudioEncoder.from_config(hf.ClapAudioConfig(**CLAP, enable_fusion=fusion)).eval()
    assert encoder.rate == 48_000
    got = encoder.encode(sounds, dtype=torch.float32)
    extractor = hf.ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc")
    waves = [at_rate(sound, 48_000) for sound in sounds]
    inputs = extractor(waves, sampling_rate=48_000, return_tensors="pt")
    inputs["is_longer"] = torch.zeros(4, 1, dtype=torch.bool)  # else it calls a random one long
    with torch.no_grad():
        want = encoder.model(**inputs.to(torch.float32))
    torch.testing.assert_close(got.pooled, want.pooler_output, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(got.tokens.mean(1), want.last_hidden_state.mean((2, 3)), atol=1e-4, rtol=1e-4)


def test_a_long_sound_for_clap_is_cut_the_same_every_time():
    encoder = TransformersAudioEncoder.from_config(hf.ClapAudioConfig(**CLAP, enable_fusion=True)).eval()
    long = Audio(np.random.default_rng(0).normal(0, 0.1, 48_000 * 11).astype(np.float32), 48_000)
    inputs = encoder.prepare([long])
    assert inputs["truncated"].tolist() == [True]
    torch.testing.assert_close(inputs["sound"], encoder.prepare([long])["sound"], atol=0, rtol=0)


def test_transformers_whisper_and_ours_agree(tmp_path, sounds):
    """The same folder through both classes, padded."""
    config = hf.WhisperConfig(
        d_model=32, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=48, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, num_mel_bins=20, max_source_positions=100,
        vocab_size=12, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    hf.WhisperModel(config).save_pretrained(tmp_path)
    hf.WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(tmp_path)
    theirs = TransformersAudioEncoder.pretrained(tmp_path)
    ours = WhisperEncoder.pretrained(tmp_path, padded=True)
    a, b = (encoder.encode(sounds, dtype=torch.float32) for encoder in (theirs, ours))
    assert a.mask.sum(1).tolist() == [28, 45, 16, 2]  # 20 ms each; ours calls the silence behind them real
    assert b.mask.all()
    torch.testing.assert_close(a.tokens[a.mask], b.tokens[a.mask], atol=1e-4, rtol=1e-4)


def test_models_we_do_not_know_are_refused():
    with pytest.raises(ValueError, match="got a 'bert' model; expected one of wav2vec2"):
        TransformersAudioEncoder(hf.BertModel(hf.BertConfig(**TINY)), hf.Wav2Vec2FeatureExtractor())
