"""`load()` opens what every recipe writes: what the loaded model says is what the one in memory does."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sensorium.cli import main
from sensorium.data.trained_tokenizer import as_json, byte_pairs, word_pieces
from sensorium.encoders.encoder import masked_mean
from sensorium.facade import Captioner, Matcher, load, load_assistant, load_space
from sensorium.media import Video
from sensorium.recipes.blip_tests import captions_of, matched
from sensorium.retrieval.index import Index
from sensorium.systems import system_builder
from sensorium.tasks import OneOf
from sensorium.training.checkpoint import entries, frozen_parts, save

TEXTS = ["a red cat", "the blue dog runs", "a ship", "the loud bell rings"]


@pytest.fixture(autouse=True)
def plain_float32(monkeypatch):
    """Encoders compute as the modules themselves do."""
    monkeypatch.setenv("SENSORIUM_FAST", "0")


@pytest.fixture
def written(tmp_path):
    """A system's name and arguments -> the model with random weights, and the checkpoint of it."""

    def write(system, **args):
        torch.manual_seed(0)
        model = system_builder(system)(**args).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        state = {name: tensor.contiguous() for name, tensor in entries(model).saved.items()}
        about = {"system": system, "args": args, "frozen": frozen_parts(model), "card": ""}
        folder = save(tmp_path / system, 1, weights=state, state_json={}, state_tensors={}, keep=1, **about)
        return model, folder

    return write


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 60), (64, 64), (97, 33))]


@pytest.fixture
def words(tmp_path):
    """The folder of a tokenizer."""
    word_pieces(TEXTS, 80).save_pretrained(tmp_path / "words")
    return str(tmp_path / "words")


def unit(vectors):
    return F.normalize(vectors.float(), dim=-1).numpy()


@pytest.mark.parametrize("system", ["mae", "simclr"])
def test_a_pretrained_encoder_embeds_as_it_does_in_memory_and_finds_like_by_like(
    system, written, pictures, tmp_path, capsys
):
    from PIL import Image

    model, folder = written(system, size="tiny")
    space = load(folder)
    got = space.embed("image", pictures)
    np.testing.assert_allclose(got, unit(model.encoder.encode(pictures).pooled), atol=1e-6)
    assert space.modalities == ("image", "video")
    assert got.std(0).max() > 1e-3  # pictures differ
    files = [tmp_path / "media" / f"{n}.png" for n in range(len(pictures))]
    files[0].parent.mkdir()
    for file, picture in zip(files, pictures):
        Image.fromarray(picture).save(file)
    files[0].with_suffix(".txt").write_text("a caption")  # which it cannot embed
    index = str(tmp_path / "index")
    main(["index", index, str(files[0].parent), "--model", str(folder)])
    hits = Index.open(index, space).search(image=files[1])
    assert hits[0].path == str(files[1])
    assert len(hits) == len(files)
    assert hits[0].score == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(sorted(hit.score for hit in hits), sorted(got @ got[1]), atol=1e-5)
    capsys.readouterr()
    for wrong, why in (
        (["search", index, "--text", "a cat"], "embeds image, video"),
        (["ask", str(folder), "what?"], "holds an encoder of image, which searches. To search with it: sen"),
        (["evaluate", str(folder), "emoji"], "embeds image alone"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        said = capsys.readouterr().err
        assert why in said
        assert said.count("\n") == 1


def test_a_trained_bert_embeds_words_by_the_mean_of_their_states(written):
    model, folder = written("bert", size="tiny", tokenizer=as_json(word_pieces(TEXTS, 80)))
    space = load(folder)
    features = model.encoder.encode(TEXTS)
    want = unit(masked_mean(features.tokens, features.mask))
    np.testing.assert_allclose(space.embed("text", TEXTS), want, atol=1e-6)
    assert space.modalities == ("text",)


def test_the_student_of_masked_video_is_what_is_kept(written, words):
    model, folder = written("masked_videoprism", size="tiny", tokenizer=words)
    random = np.random.default_rng(0)
    clips = [Video(random.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8), np.arange(5.0)) for _ in range(2)]
    want = unit(model.student.encode(clips).pooled)
    np.testing.assert_allclose(load(folder).embed("video", clips), want, atol=1e-6)


def test_a_vit_answers_its_labels_and_embeds_by_its_encoder(written, pictures):
    task = OneOf("group", ["animal", "food", "face"])
    model, folder = written("vit", size="tiny", tasks=[task.as_json()])
    predictor = load(folder)
    encoder = model.by_column["image"]
    pooled = encoder.encode(pictures).pooled
    with torch.no_grad():
        want = model.heads["group"]["fused"](pooled).softmax(-1)
    said = predictor.predict([{"image": picture} for picture in pictures])
    for one, row in zip(said, want):
        assert list(one.probabilities["group"].values()) == pytest.approx(row.tolist(), abs=1e-5)
    np.testing.assert_allclose(load_space(folder).embed("image", pictures), unit(pooled), atol=1e-6)


def test_gpt_writes_on_and_says_that_it_does_not_answer(written, capsys):
    tokenizer = byte_pairs(TEXTS, 300)
    model, folder = written("gpt", size="tiny", tokenizer=as_json(tokenizer))
    assistant = load_assistant(folder)
    text = "the red cat:"
    ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]])
    made = model.backbone.lm.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False
    )
    want = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
    assert want
    assert assistant.complete(text, max_tokens=6) == want
    assert "".join(assistant.complete(text, max_tokens=6, stream=True)).strip() == want
    with pytest.raises(ValueError, match="expected 1 to 255"):
        assistant.complete("cat " * 300)
    capsys.readouterr()
    main(["ask", str(folder), text, "--complete", "--max-tokens", "6"])
    assert capsys.readouterr().out.strip() == want
    for wrong in (["ask", str(folder), text], ["chat", str(folder)]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        said = capsys.readouterr().err
        assert "--complete" in said
        assert said.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        main(["index", "an-index", "media", "--model", str(folder)])
    assert "Expected an encoder or a joint embedding" in capsys.readouterr().err


def test_blip_searches_matches_and_captions(written, words, pictures, tmp_path):
    model, folder = written("blip", size="tiny", tokenizer=words)
    captioner, texts = load(folder), TEXTS[: len(pictures)]
    assert isinstance(captioner, Captioner)
    with torch.no_grad():
        tokens, pooled = model.see(model.vision.prepare(pictures))
        read = model.words(texts)
        image, text = model.embed_image(pooled).numpy(), model.embed_text(read).numpy()
        yes = matched(model, read, tokens).numpy()
        captions = captions_of(model, tokens)
    np.testing.assert_allclose(captioner.embed("image", pictures), image, atol=1e-5)
    np.testing.assert_allclose(captioner.embed("text", texts), text, atol=1e-5)
    np.testing.assert_allclose(
        captioner.similarity(("image", pictures), ("text", texts)), image @ text.T, atol=1e-5
    )
    np.testing.assert_allclose(captioner.matches(pictures, texts), yes, atol=1e-5)
    assert captioner.match(pictures[1], texts[1]) == pytest.approx(yes[1], abs=1e-5)
    assert np.ptp(yes) > 1e-3
    assert captioner.captions(pictures) == captions
    assert captioner.caption(pictures[0]) == captions[0]
    assert captioner.model.scale().item() == pytest.approx(model.log_scale.exp().item())
    written_down = tmp_path / "said.txt"
    written_down.write_text(texts[0])
    index = Index.create(tmp_path / "index", load_space(folder))
    index.add(written_down)
    [hit] = index.search(image=pictures[0])
    assert hit.score == pytest.approx(float(image[0] @ text[0]), abs=1e-5)
    with pytest.raises(ValueError, match="2 pictures and 1 texts"):
        captioner.matches(pictures[:2], texts[:1])


def test_the_first_stage_of_blip2_compares_matches_and_captions_but_fits_no_index(
    written, words, pictures, capsys
):
    model, folder = written("blip2_stage1", size="tiny", tokenizer=words)
    matcher, texts = load(folder), TEXTS[: len(pictures)]
    assert isinstance(matcher, Matcher)
    with torch.no_grad():
        media = model.media(model.by_column["image"].prepare(pictures))
        read = model.read(texts)
        similarity = model.similarity(model.embed_image(media), model.embed_text(*read)).numpy()
        yes = model.match(media, *read).softmax(1)[:, 1].numpy()
        captions = [text.strip() for text in model.write(media, 5)]
    np.testing.assert_allclose(matcher.similarity(pictures, texts), similarity, atol=1e-5)
    np.testing.assert_allclose(matcher.matches(pictures, texts), yes, atol=1e-5)
    assert matcher.captions(pictures, max_tokens=5) == captions
    for wrong in (["index", "an-index", "media", "--model", str(folder)], ["evaluate", str(folder), "emoji"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        said = capsys.readouterr().err
        assert "several vectors" in said
        assert said.count("\n") == 1
