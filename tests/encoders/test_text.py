import numpy as np
import pytest
import torch
import transformers as hf

from sensorium import weights
from sensorium.encoders.text import MINILM, SentenceEncoder, TransformersTextEncoder

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
VOCABULARY = {"vocab_size": 14, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

CONFIGS = {
    "bert": (hf.BertConfig(**TINY, **VOCABULARY), "first"),
    "roberta": (hf.RobertaConfig(**TINY, **VOCABULARY, max_position_embeddings=40), "first"),
    "clip": (hf.CLIPTextConfig(**TINY, **VOCABULARY, max_position_embeddings=16), "model"),
    "siglip": (hf.SiglipTextConfig(**TINY, **VOCABULARY, max_position_embeddings=12), "model"),
    "clap": (hf.ClapTextConfig(**TINY, **VOCABULARY, max_position_embeddings=40), "model"),
    "t5": (hf.T5Config(vocab_size=14, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4), "mean"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_equals_transformers_one_by_one(kind, tokenizer, texts):
    """Batched, sorted, padded and put back = each text alone through the transformers class."""
    config, pooling = CONFIGS[kind]
    encoder = TransformersTextEncoder.from_config(config, tokenizer, limit=12).eval()
    assert encoder.pooling == pooling
    got = encoder.encode(texts, batch_size=2, dtype=torch.float32)
    for row, text in enumerate(texts):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        n = ids.shape[1]
        if kind == "siglip":  # trained on padding as if it were words
            ids = torch.cat([ids, torch.zeros(1, 12 - n, dtype=torch.long)], 1)
        with torch.no_grad():
            want = encoder.model(input_ids=ids)
        state = want.last_hidden_state[0]
        pooled = {"first": state[0], "mean": state.mean(0)}.get(pooling)
        pooled = want.pooler_output[0] if pooled is None else pooled
        assert got.mask[row].sum() == n
        torch.testing.assert_close(got.tokens[row, :n], state[:n], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(got.pooled[row], pooled, atol=1e-5, rtol=1e-5)


def test_a_long_text_is_cut_and_reported(tokenizer, caplog):
    encoder = TransformersTextEncoder.from_config(CONFIGS["clip"][0], tokenizer)
    assert encoder.limit == 16  # the model has no more positions
    inputs = encoder.prepare(["cat", "dog " * 40])
    assert inputs["truncated"].tolist() == [False, True]
    assert inputs["ids"][1].tolist() == [1, *[9] * 14, 2]  # the end token stays
    assert "1 of 2 texts are longer than 16 tokens" in caplog.text


def test_an_empty_text_has_a_vector(tokenizer):
    tokenizer.backend_tokenizer.post_processor = None  # not even special tokens
    encoder = TransformersTextEncoder.from_config(CONFIGS["bert"][0], tokenizer, pooling="mean").eval()
    features = encoder.encode(["", "cat"], dtype=torch.float32)
    assert features.pooled.isfinite().all()
    assert features.mask.tolist() == [[True], [True]]


def test_the_preparation_names_the_tokenizer(tokenizer):
    encoder = TransformersTextEncoder.from_config(CONFIGS["bert"][0], tokenizer, limit=12)
    encoder.prepare(["dog " * 40])  # leaves truncation settings behind in the tokenizer
    same = TransformersTextEncoder.from_config(CONFIGS["bert"][0], tokenizer, limit=12)
    assert same.preparation == encoder.preparation
    tokenizer.add_tokens(["owl"])
    other = TransformersTextEncoder.from_config(CONFIGS["bert"][0], tokenizer, limit=12)
    assert other.preparation != encoder.preparation


def test_a_folder_opens_as_it_was_saved(tmp_path, tokenizer, texts):
    config = hf.CLIPConfig(
        text_config=CONFIGS["clip"][0].to_dict(), vision_config=dict(TINY, image_size=32, patch_size=16)
    )
    whole = hf.CLIPModel(config).eval()
    whole.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = TransformersTextEncoder.pretrained(tmp_path)
    inputs = encoder.prepare(texts)
    with torch.no_grad():
        want = whole.text_model(input_ids=inputs["ids"], attention_mask=inputs["mask"].long()).pooler_output
    torch.testing.assert_close(encoder.encode(texts, dtype=torch.float32).pooled, want, atol=1e-5, rtol=1e-5)
    assert encoder.source == str(tmp_path)


def test_a_file_that_lacks_weights_is_refused(tmp_path, tokenizer):
    hf.BertModel(CONFIGS["bert"][0], add_pooling_layer=False).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert TransformersTextEncoder.pretrained(tmp_path).pooling == "first"  # needs no pooler
    with pytest.raises(ValueError, match=r"lacks 2 weights of BertModel, such as pooler\.dense\.bias"):
        TransformersTextEncoder.pretrained(tmp_path, pooling="model")


def test_minilm_equals_mean_pooling_of_transformers(minilm):
    texts = ["a photo of a cat", "stock markets fell sharply on Monday", "kitten"]
    folder = weights.resolve(MINILM)
    model, tokenize = hf.AutoModel.from_pretrained(folder), hf.AutoTokenizer.from_pretrained(folder)
    inputs = tokenize(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        state = model.eval()(**inputs).last_hidden_state
    real = inputs["attention_mask"][..., None]
    want = torch.nn.functional.normalize((state * real).sum(1) / real.sum(1), dim=-1)
    torch.testing.assert_close(minilm.encode(texts, dtype=torch.float32).pooled, want, atol=1e-5, rtol=0)
    assert minilm.width == 384
    assert minilm.limit == 256


def test_minilm_puts_paraphrases_together(minilm):
    pairs = [
        ("a kitten is sleeping", "a small cat takes a nap"),
        ("the price of oil went up", "crude became more expensive"),
        ("a fire engine", "a red truck of the fire brigade"),
        ("musical note", "a symbol for a tone in sheet music"),
    ]
    left, right = (minilm.encode([pair[side] for pair in pairs]).pooled for side in (0, 1))
    similar = (left @ right.T).numpy()
    assert similar.diagonal().min() > similar[~np.eye(4, dtype=bool)].max() + 0.1


def test_bfloat16_stays_within_the_stated_tolerance(minilm):
    texts = ["smile", "a red fire engine with a ladder", "the sound of rain on a roof at night"]
    exact, quick = (minilm.encode(texts, dtype=dtype).pooled for dtype in (torch.float32, torch.bfloat16))
    assert torch.cosine_similarity(exact, quick).min() > 0.998
    torch.testing.assert_close(quick.norm(dim=-1), torch.ones(3))


def test_a_sentence_folder_with_unknown_pooling_is_refused(tmp_path):
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer"}]')
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(ValueError, match="pooling_mode_max_tokens"):
        SentenceEncoder.pretrained(tmp_path)


def test_tokens_are_counted_as_they_are_read(tokenizer):
    encoder = TransformersTextEncoder.from_config(CONFIGS["bert"][0], tokenizer, limit=6)
    texts = ["red", "", "a red fish in the blue sea again", "a fish"]
    assert encoder.token_counts(texts) == encoder.prepare(texts)["mask"].sum(1).tolist()
    assert [encoder.token_count(text) for text in texts] == encoder.token_counts(texts)
