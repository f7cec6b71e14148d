"""CLIP, SigLIP and CLAP against `transformers`: same weights, same inputs, same embeddings and logits."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from sensorium.models.joint_embedding import JointEmbedding
from sensorium.objectives import InfoNCE, SigLIP
from sensorium.systems import SYSTEMS, clap, clip, siglip, system_builder

ATOL = 1e-5
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def clip_model(tokenizer: Any, **text: Any) -> Any:
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={
                **TOWER,
                "hidden_size": 40,
                "image_size": 32,
                "patch_size": 16,
                "projection_dim": 24,
            },
            text_config={**TOWER, "vocab_size": len(tokenizer), **ids, "projection_dim": 24} | text,
            projection_dim=24,
        )
    )


def siglip_model(tokenizer: Any) -> Any:
    return transformers.SiglipModel(
        transformers.SiglipConfig(
            vision_config={**TOWER, "image_size": 32, "patch_size": 16},
            text_config={
                **TOWER,
                "vocab_size": len(tokenizer),
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            },
        )
    )


def clap_model(tokenizer: Any) -> Any:
    return transformers.ClapModel(
        transformers.ClapConfig(
            audio_config={
                "spec_size": 64,
                "num_mel_bins": 16,
                "window_size": 4,
                "patch_embeds_hidden_size": 16,
                "hidden_size": 32,
                "depths": [1, 1],
                "num_hidden_layers": 2,
                "num_attention_heads": [2, 2],
                "projection_dim": 24,
            },
            text_config={
                **TOWER,
                "vocab_size": len(tokenizer),
                "max_position_embeddings": 40,
                "pad_token_id": tokenizer.pad_token_id,
                "projection_dim": 24,
            },
            projection_dim=24,
        )
    )


def randomise(model: nn.Module) -> Any:
    """Give every weight a random value, those that start at 0 or 1 too, so that none can hide."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2 and not name.startswith("logit_"):
                parameter.add_(0.1 * torch.randn(parameter.shape))
        for name, scalar in model.named_parameters():
            if name.startswith("logit_"):
                scalar.add_(0.3 * torch.randn(scalar.shape))
    return model.eval()


def present(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.bool)


def embed(system: JointEmbedding, **media: Any) -> Any:
    columns = {
        name: SimpleNamespace(inputs=system.encoders[name].prepare(items), present=present(len(items)))
        for name, items in media.items()
    }
    with torch.no_grad():
        return system(SimpleNamespace(columns=columns))


def assert_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    a, b = ours.state_dict(), theirs.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_clip_is_transformers_clip(tokenizer, pictures, texts):
    theirs = randomise(clip_model(tokenizer))
    ours = clip.from_transformers(theirs, tokenizer)
    embeddings = embed(ours, image=pictures, text=texts)
    pixels = torch.stack(
        [normalised(ours.encoders["image"], picture, clip.MEAN, clip.STD) for picture in pictures]
    )
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = theirs(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=pixels)
    torch.testing.assert_close(embeddings.vectors["image"], out.image_embeds, atol=ATOL, rtol=0)
    torch.testing.assert_close(embeddings.vectors["text"], out.text_embeds, atol=ATOL, rtol=0)
    logits = embeddings.scale * embeddings.vectors["image"] @ embeddings.vectors["text"].T + embeddings.bias
    torch.testing.assert_close(logits, out.logits_per_image, atol=1e-4, rtol=0)
    # The embeddings differ between rows by far more than the tolerance: the comparison can fail.
    assert (out.image_embeds[0] - out.image_embeds[1]).abs().max() > 0.01
    assert (out.text_embeds[0] - out.text_embeds[1]).abs().max() > 0.01
    assert_same_weights(clip.to_transformers(ours), theirs)


def test_siglip_is_transformers_siglip(tokenizer, pictures, texts):
    theirs = randomise(siglip_model(tokenizer))
    ours = siglip.from_transformers(theirs, tokenizer)
    embeddings = embed(ours, image=pictures, text=texts)
    pixels = torch.stack([normalised(ours.encoders["image"], p, (0.5,) * 3, (0.5,) * 3) for p in pictures])
    tokens = tokenizer(texts, padding="max_length", max_length=64, return_tensors="pt")
    with torch.no_grad():
        out = theirs(input_ids=tokens.input_ids, pixel_values=pixels)
    torch.testing.assert_close(embeddings.vectors["image"], out.image_embeds, atol=ATOL, rtol=0)
    torch.testing.assert_close(embeddings.vectors["text"], out.text_embeds, atol=ATOL, rtol=0)
    logits = embeddings.scale * embeddings.vectors["image"] @ embeddings.vectors["text"].T + embeddings.bias
    torch.testing.assert_close(logits, out.logits_per_image, atol=1e-4, rtol=0)
    assert (out.image_embeds[0] - out.image_embeds[1]).abs().max() > 0.01
    assert (out.text_embeds[0] - out.text_embeds[1]).abs().max() > 0.01
    assert_same_weights(siglip.to_transformers(ours), theirs)


def test_clap_is_transformers_clap(tokenizer, sounds, texts):
    theirs = randomise(clap_model(tokenizer))
    extractor = transformers.ClapFeatureExtractor(feature_size=16, max_length_s=2, truncation="rand_trunc")
    ours = clap.from_transformers(theirs, tokenizer, extractor)
    embeddings = embed(ours, audio=sounds, text=texts)
    spectrograms = ours.encoders["audio"].prepare(sounds)["sound"]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = theirs(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            input_features=spectrograms,
            is_longer=torch.zeros(len(sounds), 1, dtype=torch.bool),
        )
    torch.testing.assert_close(embeddings.vectors["audio"], out.audio_embeds, atol=ATOL, rtol=0)
    torch.testing.assert_close(embeddings.vectors["text"], out.text_embeds, atol=ATOL, rtol=0)
    cosines = embeddings.vectors["audio"] @ embeddings.vectors["text"].T
    torch.testing.assert_close(embeddings.scale * cosines, out.logits_per_audio, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.log_scale_text.exp() * cosines.T, out.logits_per_text, atol=1e-4, rtol=0)
    assert (out.text_embeds[0] - out.text_embeds[1]).abs().max() > 0.01
    assert_same_weights(clap.to_transformers(ours), theirs)


def normalised(encoder: Any, picture: Any, mean: tuple, std: tuple) -> Tensor:
    """What an image processor makes of a picture: the encoder's pixels are uint8, this the model sees."""
    pixels = encoder.prepare([picture])["pixels"][0].double() / 255
    return ((pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]).float()


def test_words_beyond_77_tokens_are_cut_and_reported(tokenizer, caplog):
    system = clip.clip("tiny", tokenizer)
    long = "cat " * 100
    with caplog.at_level(logging.WARNING):
        inputs = system.encoders["text"].prepare(["dog", long, "red " * 80])
    assert inputs["ids"].shape == (3, 77)
    assert inputs["truncated"].tolist() == [False, True, True]
    assert inputs["ids"][1, -1] == tokenizer.eos_token_id  # where CLIP pools
    assert "2 of 3 texts are longer than 77 tokens and were cut: 30 tokens lost" in caplog.text
    with torch.no_grad():
        cut, whole = (
            system.embed("text", system.encoders["text"].prepare([text])) for text in (long, "cat " * 75)
        )
    torch.testing.assert_close(cut, whole)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_saved_folder_opens(name, tokenizer, pictures, texts, tmp_path):
    model = randomise({"clip": clip_model, "siglip": siglip_model}[name](tokenizer))
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    processor = {"clip": transformers.CLIPImageProcessor, "siglip": transformers.SiglipImageProcessor}[name]
    size, crop = {"height": 32, "width": 32}, {"height": 32, "width": 32}
    processor(size={"shortest_edge": 32} if name == "clip" else size, crop_size=crop).save_pretrained(
        tmp_path
    )
    opened = system_builder(name)(pretrained=str(tmp_path), image="picture", text="caption")
    module = {"clip": clip, "siglip": siglip}[name]
    given = embed(module.from_transformers(model, tokenizer), image=pictures, text=texts)
    ours = embed(opened, picture=pictures, caption=texts)
    torch.testing.assert_close(ours.vectors["picture"], given.vectors["image"])
    torch.testing.assert_close(ours.vectors["caption"], given.vectors["text"])


def test_a_folder_of_something_else_is_refused(tokenizer, tmp_path):
    siglip_model(tokenizer).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="got a SiglipModel; expected a CLIPModel"):
        clip.clip(pretrained=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "media", "objective"),
    [("clip", "image", InfoNCE()), ("siglip", "image", SigLIP()), ("clap", "audio", InfoNCE())],
)
def test_the_tiny_sizes_learn(name, media, objective, tokenizer, pictures, sounds, texts):
    """A few steps on three pairs, from the table of systems to a falling loss that reaches every part."""
    system = system_builder(name)("tiny", tokenizer)
    items = pictures if media == "image" else sounds
    batch = SimpleNamespace(
        columns={
            column: SimpleNamespace(inputs=system.encoders[column].prepare(given), present=present(3))
            for column, given in ((media, items), ("text", texts))
        },
        meanings=torch.full((3, 1), -1),
    )
    optimizer = torch.optim.AdamW(system.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        loss = sum(objective(system, batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    unused = {name for name, parameter in system.named_parameters() if parameter.grad is None}
    assert unused == set()


class Words(list):
    """What a configuration asks of a tokenizer of so many words."""

    def __init__(self, count: int) -> None:
        super().__init__(range(count))
        self.bos_token_id, self.eos_token_id, self.pad_token_id = count - 2, count - 1, 1


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    # Counts of the released checkpoints (openai/clip-vit-base-patch32, google/siglip-base-patch16-224).
    [("clip", "ViT-B/32", 151_277_313), ("siglip", "ViT-B/16", 203_155_970)],
)
def test_sizes_are_the_published_ones(name, size, parameters):
    module = {"clip": clip, "siglip": siglip}[name]
    words = {"clip": 49408, "siglip": 32000}[name]
    tokenizer = Words(words)
    with torch.device("meta"):
        model = {"clip": transformers.CLIPModel, "siglip": transformers.SiglipModel}[name](
            module._config(module.SIZES[size], tokenizer)
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_unknown_names_list_the_valid_ones(tokenizer):
    with pytest.raises(ValueError, match=r"no system 'clop'; there are: clip, .*Did you mean 'clip'"):
        system_builder("clop")
    with pytest.raises(ValueError, match=r"no size 'huge'; there are: tiny, ViT-B/32"):
        clip.clip("huge", tokenizer)
    with pytest.raises(ValueError, match="needs a tokenizer"):
        clip.clip("tiny")
    with pytest.raises(ValueError, match="no place for the weight 'other'"):
        clip.two_towers.rename({"other": torch.zeros(1)}, clip.keys("image", "text"))


def test_a_tokenizer_that_clip_cannot_pool_by_is_refused(tokenizer):
    tokenizer.eos_token = "red"  # id 2
    with pytest.raises(ValueError, match="end token has id 2"):
        clip.clip("tiny", tokenizer)


def test_every_entry_of_the_table_names_its_function():
    assert {"clip", "siglip", "clap", "image_text_audio"} <= set(SYSTEMS)
    for name in SYSTEMS:
        assert system_builder(name).__name__ == name
