"""MAE against `ViTMAEForPreTraining` on the same weights, pictures and masks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from sensorium.models.masked_autoencoder import MaskedAutoencoder, patches_of, pixels_of, taken
from sensorium.objectives.masked_patches import MaskedPatches
from sensorium.systems import mae as system
from sensorium.systems.mae import from_transformers, mae, sine_positions, to_transformers

TINY = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 40,
}


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.rand(3, 16)


def reference(normed: bool = True) -> ViTMAEForPreTraining:
    model = ViTMAEForPreTraining(ViTMAEConfig(**TINY, norm_pix_loss=normed)).eval()
    for parameter in model.parameters():  # positions too: transformers 5 leaves those of a new model at zero
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch_of(model: MaskedAutoencoder, pictures: list[np.ndarray]):
    column = SimpleNamespace(inputs=model.encoder.prepare(pictures))
    return SimpleNamespace(columns={"image": column})


@pytest.mark.parametrize("normed", [True, False])
def test_outputs_and_loss_are_those_of_transformers(normed, pictures, noise):
    theirs = reference(normed)
    ours = from_transformers(theirs)
    batch = batch_of(ours, pictures)
    pixels = ours.pixels(batch.columns["image"].inputs)
    with torch.no_grad():
        made, expected = ours(batch, noise), theirs(pixels, noise=noise)
        latent = theirs.vit(pixels, noise=noise).last_hidden_state
        seen = ours.encode_visible(taken(made.patches, made.visible), made.visible)
    assert made.hidden.shape == (3, 12)
    assert torch.equal(torch.zeros(3, 16).scatter(1, made.hidden, 1.0), expected.mask)
    assert (seen - latent).abs().max() < 1e-4
    assert (made.predicted - taken(expected.logits, made.hidden)).abs().max() < 1e-4
    assert MaskedPatches(normed).loss(made).item() == pytest.approx(expected.loss.item(), abs=1e-4)
    assert expected.loss > 0.1


def test_gradients_are_those_of_transformers(pictures, noise):
    theirs = reference()
    ours = from_transformers(theirs).train()
    theirs.train()
    batch = batch_of(ours, pictures)
    MaskedPatches().loss(ours(batch, noise)).backward()
    theirs(ours.pixels(batch.columns["image"].inputs), noise=noise).loss.backward()
    found = {name: p.grad for name, p in ours.named_parameters() if p.requires_grad}
    names = system.two_towers.rename(
        {n: p for n, p in theirs.named_parameters() if p.requires_grad}, system.keys()
    )
    assert found.keys() == names.keys()
    for name, parameter in names.items():
        assert (found[name] - parameter.grad.reshape(found[name].shape)).abs().max() < 1e-4, name


def test_whole_pictures_go_through_the_encoder_as_through_theirs_with_nothing_masked(pictures):
    theirs = reference()
    ours = from_transformers(theirs, pooling="first")
    pixels = ours.pixels(ours.encoder.prepare(pictures))
    theirs.vit.config.mask_ratio = 0.0
    with torch.no_grad():
        expected = theirs.vit(pixels, noise=torch.arange(16.0).expand(3, 16)).last_hidden_state
        found = ours.encoder(ours.encoder.prepare(pictures))
    assert (found.tokens - expected).abs().max() < 1e-4
    assert torch.equal(found.pooled, found.tokens[:, 0])


def test_there_and_back_are_the_same_weights(pictures, noise):
    theirs = reference()
    back = to_transformers(from_transformers(theirs))
    assert back.config.norm_pix_loss
    assert back.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_positions_are_those_of_the_authors():
    theirs = ViTMAEForPreTraining(ViTMAEConfig(**TINY)).vit.embeddings
    theirs.patch_embeddings.projection._is_hf_initialized = False  # with it, the method below does nothing
    theirs.initialize_weights()
    assert (theirs.position_embeddings[0] - sine_positions(4, 24)).abs().max() < 1e-6
    model = mae("tiny")
    assert torch.equal(model.encoder.model.embeddings.position_embeddings[0], sine_positions(8, 192))
    assert torch.equal(model.decoder.positions, sine_positions(8, 96))
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_positions(4, 30)


def test_hidden_patches_are_never_computed(pictures):
    """What the ViT multiplies has 1 + K rows a picture, its patch projection K; hidden pixels change nothing."""
    model = mae("tiny")
    rows: list[int] = []
    for layer in model.encoder.model.layers:
        layer.register_forward_pre_hook(lambda _, given: rows.append(given[0].shape[1]))
    project = model.encoder.model.embeddings.patch_embeddings.projection
    project.register_forward_pre_hook(lambda *_: pytest.fail("the projection of all patches ran"))
    batch = batch_of(model, pictures)
    noise = torch.rand(3, 64)
    with torch.no_grad():
        made = model(batch, noise)
        assert rows == [1 + 16] * 4
        patches = made.patches.clone()
        patches.scatter_(1, made.hidden[..., None].expand(-1, -1, 192), 9.0)
        seen = model.encode_visible(taken(patches, made.visible), made.visible)
        assert torch.equal(model.decoder(seen, made.visible, made.hidden), made.predicted)


def test_patches_are_cut_row_by_row_and_put_back():
    pixels = torch.arange(2 * 3 * 4 * 4.0).view(2, 3, 4, 4)
    patches = patches_of(pixels, 2)
    assert patches.shape == (2, 4, 12)
    assert patches[0, 1, :6].tolist() == [2, 18, 34, 3, 19, 35]  # the upper right patch: its first two pixels
    assert torch.equal(pixels_of(patches, 2), pixels)
    with pytest.raises(ValueError, match="multiples of the patch's 3"):
        patches_of(pixels, 3)


def test_what_cannot_be_is_said(pictures):
    with pytest.raises(ValueError, match="hides 64 of 64 patches"):
        mae("tiny", share=0.99)
    model = mae("tiny")
    with pytest.raises(ValueError, match="pictures of 16 patches"):
        model.split(torch.zeros(1, 16, 192))
    with pytest.raises(ValueError, match="no size 'huge'"):
        mae("huge")
