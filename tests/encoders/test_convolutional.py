"""VGG and ResNet: the published sizes, parity with transformers' ResNet, pictures independent of their batch."""

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from sensorium.encoders.convolutional import ResNetEncoder, VggEncoder

# Weights of the published convolutions: VGG-11, -16 and -19 (138,357,544 and so on, less the fully connected layers).
PUBLISHED = {11: 9_220_480, 16: 14_714_688, 19: 20_024_384}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("depth", [11, 16, 19])
def test_vgg_has_the_published_convolutions(depth):
    with torch.device("meta"):
        assert count(VggEncoder(224, depth, factor=1, norm="none")) == PUBLISHED[depth]


def test_vgg_is_its_layers_one_after_another():
    encoder = VggEncoder(64, 6, factor=1 / 8, norm="none").eval()
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    x = pixels.float() / 127.5 - 1
    convolutions = [module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [8, 16, 32, 64, 64]
    with torch.no_grad():
        for conv in convolutions:
            x = torch.nn.functional.max_pool2d(conv(x).relu(), 2)
        got = encoder({"pixels": pixels})
    torch.testing.assert_close(got.tokens, x.flatten(2).transpose(1, 2))
    torch.testing.assert_close(got.pooled, x.mean((2, 3)))


def test_resnet_18_equals_that_of_transformers():
    config = ResNetConfig(
        embedding_size=16,
        hidden_sizes=[16, 32, 64, 128],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        downsample_in_first_stage=False,
    )
    reference = ResNetModel(config).train()
    with torch.no_grad():
        for _ in range(3):
            reference(torch.randn(4, 3, 64, 64))  # statistics that are not 0 and 1
    ours = ResNetEncoder(96, 18, factor=1 / 4, stem="published")
    # Both list their tensors in the order of the layers, but for the short cut, which ours has behind.
    names = [name for name in reference.state_dict() if "shortcut" not in name]
    own = [name for name in ours.state_dict() if "short_cut" not in name]
    state = {mine: reference.state_dict()[theirs] for mine, theirs in zip(own, names, strict=True)}
    cuts = [name for name in reference.state_dict() if "shortcut" in name]
    own_cuts = [name for name in ours.state_dict() if "short_cut" in name]
    state |= {mine: reference.state_dict()[theirs] for mine, theirs in zip(own_cuts, cuts, strict=True)}
    ours.load_state_dict(state)
    pixels = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        want = reference.eval()(pixels.float() / 127.5 - 1)
        got = ours.eval()({"pixels": pixels})
    torch.testing.assert_close(
        got.tokens, want.last_hidden_state.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(got.pooled, want.pooler_output.flatten(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [VggEncoder, ResNetEncoder])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_pictures_do_not_depend_on_their_batch(make, norm, pictures):
    encoder = make(64, factor=1 / 8, norm=norm)
    encoder(encoder.prepare(pictures))  # in training mode: statistics of their own
    encoder.eval()
    together = encoder.encode(pictures, dtype=torch.float32)
    for row, picture in enumerate(pictures):
        alone = encoder.encode([picture], dtype=torch.float32)
        torch.testing.assert_close(together.tokens[row], alone.tokens[0], atol=1e-5, rtol=1e-4)
    with torch.no_grad():  # the folded copy that `encode` computes with, against the layers as they are
        torch.testing.assert_close(
            together.pooled, encoder(encoder.prepare(pictures)).pooled, atol=1e-5, rtol=1e-4
        )


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match="depth: got 12; expected one of 6, 11, 13, 16, 19"):
        VggEncoder(depth=12)
    with pytest.raises(ValueError, match="norm: got 'layer'; expected one of batch, group, none"):
        ResNetEncoder(norm="layer")
    with pytest.raises(ValueError, match="at least 32 pixels, got 16"):
        ResNetEncoder(16)
    assert ResNetEncoder(64).preparation != ResNetEncoder(96).preparation
