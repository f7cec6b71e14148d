import numpy as np
import pytest
import torch
import transformers as hf
from torch.nn import functional as F

from sensorium import weights
from sensorium.encoders.image import (
    EFFICIENTNET_LITE0,
    EfficientNetLite,
    ImagePreparation,
    TransformersImageEncoder,
    letterbox,
)

TINY = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
PATCHES = {"image_size": 32, "patch_size": 16}
MAPS = {"hidden_sizes": [8, 16], "depths": [1, 2]}

# configuration, tokens of a 32 or 64 pixel picture, how pooled is made
CONFIGS = {
    "vit": (hf.ViTConfig(**TINY, **PATCHES), 5, "first"),
    "clip": (hf.CLIPVisionConfig(**TINY, **PATCHES), 5, "model"),
    "siglip": (hf.SiglipVisionConfig(**TINY, **PATCHES), 4, "model"),
    "dinov2": (hf.Dinov2Config(**TINY, **PATCHES), 5, "model"),
    "resnet": (hf.ResNetConfig(**MAPS, embedding_size=8, layer_type="basic"), 784, "model"),
    "convnext": (hf.ConvNextConfig(**MAPS, num_stages=2, image_size=64), 64, "model"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_equals_transformers(kind, pictures):
    config, tokens, pooling = CONFIGS[kind]
    encoder = TransformersImageEncoder.from_config(config).eval()
    assert encoder.pooling == pooling
    got = encoder.encode(pictures, batch_size=2, dtype=torch.float32)
    assert got.tokens.shape == (3, tokens, encoder.width)
    size = encoder.make.resize[0]
    processor = hf.ViTImageProcessorPil(size={"height": size, "width": size}, resample=3)
    with torch.no_grad():
        want = encoder.model(**processor(pictures, return_tensors="pt"))
    state = want.last_hidden_state
    state = state.flatten(2).transpose(1, 2) if state.dim() == 4 else state
    pooled = state[:, 0] if pooling == "first" else want.pooler_output.flatten(1)
    torch.testing.assert_close(got.tokens, state, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(got.pooled, pooled, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["vit", "clip", "siglip", "dinov2"])
def test_a_chosen_layer_is_the_hidden_state_of_that_number(kind, pictures):
    encoder = TransformersImageEncoder.from_config(CONFIGS[kind][0]).eval()
    plain = encoder.encode(pictures, dtype=torch.float32)
    encoders = {
        n: TransformersImageEncoder(encoder.model, encoder.make, layer=n).eval() for n in (0, 1, 2, -1, -2)
    }
    got = {n: e.encode(pictures, dtype=torch.float32) for n, e in encoders.items()}
    inputs = encoder.prepare(pictures)["pixels"].float() / 127.5 - 1
    with torch.no_grad():
        states = encoder.model(pixel_values=inputs, output_hidden_states=True).hidden_states
    for n, features in got.items():
        torch.testing.assert_close(features.tokens, states[n], atol=2e-5, rtol=1e-4)
    assert (states[-1] - states[-2]).abs().max() > 0.01
    torch.testing.assert_close(got[-2].tokens, got[1].tokens)
    if encoder.pooling == "model":  # pooled by the whole model all the same
        torch.testing.assert_close(got[-2].pooled, plain.pooled)
    assert len({e.identity for e in (encoder, *encoders.values())}) == 6  # nothing cached is mistaken
    with pytest.raises(ValueError, match=r"got 3; .* has 3 hidden states, so expected a number from -3 to 2"):
        TransformersImageEncoder(encoder.model, encoder.make, layer=3)


PROCESSORS = {
    "clip": hf.CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size={"height": 40, "width": 40}),
    "small, cropped larger": hf.CLIPImageProcessorPil(do_resize=False, crop_size={"height": 81, "width": 70}),
    "siglip": hf.SiglipImageProcessorPil(size={"height": 48, "width": 40}),
    "bit": hf.BitImageProcessorPil(size={"shortest_edge": 51}, crop_size={"height": 32, "width": 32}),
    "convnext": hf.ConvNextImageProcessorPil(size={"shortest_edge": 33}),
    "convnext, large": hf.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "not normalised": hf.ViTImageProcessorPil(size={"height": 20, "width": 20}, do_normalize=False),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_preparation_equals_the_image_processor(name, pictures):
    processor = PROCESSORS[name]
    make = ImagePreparation.from_processor(processor.to_dict())
    got = torch.from_numpy(np.stack([make(picture) for picture in pictures])).permute(0, 3, 1, 2) / 255
    got = (got - torch.tensor(make.mean)[:, None, None]) / torch.tensor(make.std)[:, None, None]
    want = processor(pictures, return_tensors="pt").pixel_values
    torch.testing.assert_close(got, want.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"do_rescale": True, "rescale_factor": 1 / 127.5, "do_resize": False}, "rescale_factor"),
        ({"do_resize": True, "size": {"shortest_edge": 32}}, "no fixed size"),
        ({"do_resize": True, "size": {"longest_edge": 32}}, "expected height and width, or shortest_edge"),
    ],
)
def test_a_processor_we_cannot_follow_is_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        ImagePreparation.from_processor(settings)


def test_a_folder_opens_as_it_was_saved(tmp_path, pictures):
    config = hf.CLIPConfig(
        text_config=dict(TINY, vocab_size=14), vision_config=CONFIGS["clip"][0].to_dict(), projection_dim=8
    )
    whole = hf.CLIPModel(config).eval()
    whole.save_pretrained(tmp_path)
    processor = hf.CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    encoder = TransformersImageEncoder.pretrained(tmp_path)
    with torch.no_grad():
        want = whole.vision_model(**processor(pictures, return_tensors="pt")).pooler_output
    got = encoder.encode(pictures, dtype=torch.float32).pooled
    torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)
    assert encoder.identity == TransformersImageEncoder.pretrained(tmp_path).identity


def _published_map(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 written out from its published weights: the second route to one value."""

    def layer(conv: str, norm: str, x: torch.Tensor, stride: int = 1, active: bool = True) -> torch.Tensor:
        weight = state[f"{conv}.weight"]
        kernel, sides = weight.shape[-1], (x.shape[3], x.shape[2])
        pad = [max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in sides]
        x = F.pad(x, (pad[0] // 2, pad[0] - pad[0] // 2, pad[1] // 2, pad[1] - pad[1] // 2))
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        statistics = (state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, *statistics, eps=1e-3)
        return x.clamp(0, 6) if active else x

    x = layer("_conv_stem", "_bn0", x, 2)
    for block in range(16):
        start, name = x, f"_blocks.{block}"
        if f"{name}._expand_conv.weight" in state:
            x = layer(f"{name}._expand_conv", f"{name}._bn0", x)
        x = layer(f"{name}._depthwise_conv", f"{name}._bn1", x, 2 if block in (1, 3, 5, 11) else 1)
        x = layer(f"{name}._project_conv", f"{name}._bn2", x, active=False)
        x = x + start if x.shape == start.shape else x
    return layer("_conv_head", "_bn1", x)


def test_the_encoder_of_a_masked_autoencoder_sees_the_whole_picture(tmp_path, pictures):
    """Parity with ViTMAEModel of the same weights, told to hide nothing and to keep the order."""
    config = hf.ViTMAEConfig(
        **TINY,
        **PATCHES,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    )
    theirs = hf.ViTMAEForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    hf.ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=3).save_pretrained(tmp_path)
    encoder = TransformersImageEncoder.pretrained(tmp_path)
    got = encoder.encode(pictures, dtype=torch.float32)
    theirs.config.mask_ratio = 0.0
    pixels = encoder.prepare(pictures)["pixels"].float() / 127.5 - 1
    with torch.no_grad():
        want = theirs.vit(pixels, noise=torch.arange(4.0).expand(len(pixels), -1)).last_hidden_state
    torch.testing.assert_close(got.tokens, want, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(got.pooled, want[:, 0], atol=2e-5, rtol=1e-4)
    random = TransformersImageEncoder.from_config(config).eval()
    assert random.encode(pictures).tokens.shape == (3, 5, 32)  # the class token and all four patches
    with pytest.raises(ValueError, match="hides most patches"):
        TransformersImageEncoder(theirs.vit, encoder.make)


@pytest.mark.parametrize("size", [64, 97])
def test_efficientnet_equals_its_published_weights(size, pictures):
    encoder = EfficientNetLite.pretrained(size=size)
    state = torch.load(weights.resolve(EFFICIENTNET_LITE0), weights_only=True)
    pixels = torch.stack([torch.from_numpy(letterbox(p, size, (255, 255, 255)).copy()) for p in pictures])
    want = _published_map(state, ((pixels.float() - 127) / 128).permute(0, 3, 1, 2))
    got = encoder.encode(pictures, dtype=torch.float32)
    assert got.tokens.shape == (3, (-(-size // 32)) ** 2, 1280)
    torch.testing.assert_close(got.tokens, want.flatten(2).transpose(1, 2), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(got.pooled, want.mean((2, 3)), atol=1e-3, rtol=1e-3)


def test_bfloat16_stays_within_the_stated_tolerance(efficientnet):
    y, x = np.mgrid[:160, :160]
    disc, ring = (x - 70) ** 2 + (y - 90) ** 2 < 2500, abs((x - 80) ** 2 + (y - 80) ** 2 - 2500) < 400
    drawn = [
        np.where(shape[..., None], (200, 30, 60), (255, 255, 255)).astype(np.uint8) for shape in (disc, ring)
    ]
    exact, quick = (
        efficientnet.encode(drawn, dtype=dtype).pooled for dtype in (torch.float32, torch.bfloat16)
    )
    assert torch.cosine_similarity(exact, quick).min() > 0.998


def test_stages_are_joined_on_the_last_grid(pictures):
    both = EfficientNetLite.pretrained(size=64, stages=(6, 9))
    assert both.width == 112 + 1280
    alone = {stage: EfficientNetLite.pretrained(size=64, stages=(stage,)) for stage in (6, 9)}
    low, high = (alone[stage].encode(pictures, dtype=torch.float32) for stage in (6, 9))
    got = both.encode(pictures, dtype=torch.float32)
    assert low.tokens.shape == (3, 16, 112)
    torch.testing.assert_close(got.pooled, torch.cat([low.pooled, high.pooled], 1), atol=1e-5, rtol=1e-4)
    first = low.tokens[:, [0, 1, 4, 5]].mean(1)  # the upper left quarter of a 4×4 map
    torch.testing.assert_close(got.tokens[:, 0, :112], first, atol=1e-5, rtol=1e-4)
    assert both.identity != alone[9].identity


def test_stages_and_sizes_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match=r"from 1 to 9, got \(10,\)"):
        EfficientNetLite(stages=(10,))
    with pytest.raises(ValueError, match="at least 32"):
        EfficientNetLite(size=16)


@pytest.mark.parametrize(("factors", "millions"), [((1.0, 1.0), 4.65), ((1.0, 1.1), 5.42), ((1.2, 1.4), 8.2)])
def test_efficientnet_lite_sizes(factors, millions):
    """As published for Lite0, Lite1 and Lite3, with the classifier that is left out here."""
    encoder = EfficientNetLite(width_factor=factors[0], depth_factor=factors[1])
    parameters = sum(p.numel() for p in encoder.parameters()) + 1281 * 1000
    assert round(parameters / 1e6, 2) == millions


def test_letterbox_keeps_the_shape_and_lays_the_ground():
    wide = np.zeros((10, 40, 3), np.uint8)
    square = letterbox(wide, 20, (255, 0, 0))
    assert square.shape == (20, 20, 3)
    assert (square[:7] == (255, 0, 0)).all()
    assert (square[13:] == (255, 0, 0)).all()
    assert (square[8:12] == 0).all()
    thin = letterbox(np.full((1000, 1, 3), 9, np.uint8), 32, (0, 0, 0))  # never less than one pixel wide
    assert (thin[:, 15] == 9).all() or (thin[:, 16] == 9).all()
