"""VideoPrism against `transformers`: same weights, same inputs, same tokens, embeddings and similarities."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import VideoPrismClipModel, VideoPrismConfig, VideoPrismVisionConfig, VideoPrismVisionModel

from sensorium.encoders.factorised_video import FactorisedVideoEncoder
from sensorium.media import Video
from sensorium.objectives import InfoNCE
from sensorium.objectives.distillation import GlobalLocalDistillation
from sensorium.systems.videoprism import from_transformers, stage_two, to_transformers, videoprism

ATOL = 1e-5
VISION = {
    "image_size": 32,
    "num_frames": 3,
    "tubelet_size": [1, 16, 16],
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_spatial_layers": 2,
    "num_temporal_layers": 2,
    "num_auxiliary_layers": 1,
}


def randomise(model: nn.Module) -> Any:
    """Weights that start at 0 get random values, too, so that none can hide."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2 or not parameter.any():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def reference(tokenizer: Any) -> Any:
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48}
    text |= {"num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": tokenizer.pad_token_id}
    return randomise(VideoPrismClipModel(VideoPrismConfig(vision_config=VISION, text_config=text)))


def clips(count: int = 4, frames: int = 3, side: int = 32) -> list[Video]:
    random = np.random.default_rng(0)
    made = random.integers(0, 256, (count, frames, side, side, 3), dtype=np.uint8)
    return [Video(pictures, np.arange(frames) / 2) for pictures in made]


def pixels_of(videos: list[Video]) -> torch.Tensor:
    """As their processor makes them: values in 0..1, channels second."""
    return torch.stack([torch.from_numpy(video.frames).permute(0, 3, 1, 2) / 255 for video in videos])


def batch_of(encoder: Any, videos: list[Video]) -> Any:
    column = SimpleNamespace(
        inputs=encoder.prepare(videos), present=torch.ones(len(videos), dtype=torch.bool)
    )
    return SimpleNamespace(columns={"video": column})


def test_the_vision_model_gives_the_same_tokens():
    theirs = randomise(VideoPrismVisionModel(VideoPrismVisionConfig(**VISION)))
    ours = FactorisedVideoEncoder(theirs).encode(clips(), dtype=torch.float32)
    with torch.no_grad():
        tokens = theirs(pixel_values_videos=pixels_of(clips())).last_hidden_state
    assert ours.tokens.shape == (4, 3 * 4, 32)
    assert FactorisedVideoEncoder(theirs).token_count(clips()[0]) == 12
    assert tokens.std() > 0.5
    assert (ours.tokens - tokens).abs().max() < ATOL
    assert (ours.pooled - tokens.mean(1)).abs().max() < ATOL


def test_the_clip_model_gives_the_same_embeddings_and_loss(tokenizer):
    theirs = reference(tokenizer)
    ours = from_transformers(theirs, tokenizer)
    texts = ["the red cat", "a dog runs", "the loud blue ship sleeps", "a bell"]
    words, videos = ours.encoders["text"], ours.encoders["video"]
    inputs = words.prepare(texts)
    with torch.no_grad():
        out = theirs(
            pixel_values_videos=pixels_of(clips()),
            input_ids=inputs["ids"],
            attention_mask=inputs["mask"].long(),
            temperature=0.07,
        )
        batch = batch_of(videos, clips())
        batch.columns["text"] = SimpleNamespace(inputs=inputs, present=torch.ones(4, dtype=torch.bool))
        batch.meanings = torch.arange(4)[:, None]
        made = ours(batch)
        loss = sum(InfoNCE()(ours, batch).values())
    assert (made.vectors["video"] - out.video_embeds).abs().max() < ATOL
    assert (made.vectors["text"] - out.text_embeds).abs().max() < ATOL
    assert (out.text_embeds @ out.text_embeds.T - torch.eye(4)).abs().max() > 0.01
    # Their logits are softmaxes over the other side; the paper's loss is the mean −log of the right one, both ways.
    theirs_loss = (
        -(out.logits_per_video.diagonal().log().mean() + out.logits_per_text.diagonal().log().mean()) / 2
    )
    assert (loss - theirs_loss).abs() < 1e-4


def test_there_and_back_are_the_same_weights(tokenizer):
    theirs = reference(tokenizer)
    back = to_transformers(from_transformers(theirs, tokenizer))
    assert back.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_padding_says_nothing_and_a_folder_opens(tokenizer, tmp_path):
    theirs = reference(tokenizer)
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    opened = videoprism(pretrained=tmp_path)
    text = opened.encoders["text"]
    alone = text.encode(["a cat"], dtype=torch.float32).pooled
    padded = text.encode(["a cat", "the loud red ship runs"], dtype=torch.float32).pooled[:1]
    assert (alone - padded).abs().max() < ATOL
    ours = FactorisedVideoEncoder.pretrained(tmp_path).encode(clips(), dtype=torch.float32)
    with torch.no_grad():
        out = theirs.video_model(pixel_values_videos=pixels_of(clips()))
    assert (ours.pooled - out.pooler_output.flatten(1)).abs().max() < ATOL


def test_a_clip_is_read_evenly_and_order_matters():
    torch.manual_seed(0)
    encoder = FactorisedVideoEncoder(randomise(VideoPrismVisionModel(VideoPrismVisionConfig(**VISION))))
    long, short = clips(1, frames=5)[0], clips(1, frames=1)[0]
    prepared = encoder.prepare([long, short])["pixels"]
    assert torch.equal(prepared[0, 1].permute(1, 2, 0), torch.from_numpy(long.frames[2]))
    assert torch.equal(prepared[1, 0], prepared[1, 2])
    back = Video(long.frames[::-1].copy(), long.times)
    there, reverse = encoder.encode([long, back], dtype=torch.float32).pooled
    assert (there - reverse).abs().max() > 0.01
    with pytest.raises(ValueError, match="clip 0 of the batch has no frames"):
        encoder.prepare([Video(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0))])


def test_the_second_stage_computes_what_the_encoder_does_and_only_what_is_seen(tokenizer):
    encoder = from_transformers(reference(tokenizer), tokenizer).encoders["video"]
    model = stage_two(encoder, share=0.5).eval()
    batch = batch_of(encoder, clips())
    with torch.no_grad():
        out = encoder.model.vision_model(pixel_values_videos=pixels_of(clips()))
        tokens, pooled = model.encode(encoder, batch.columns["video"].inputs)
        assert (tokens - out.last_hidden_state).abs().max() < ATOL
        assert (pooled - encoder(batch.columns["video"].inputs).pooled).abs().max() < ATOL
        noise = torch.tensor([[0.9, 0.1, 0.8, 0.2]]).expand(4, -1)  # places 1 and 3 are seen
        order = torch.arange(6).expand(4, -1)
        made = model(batch, noise, order)
        hidden = {"pixels": batch.columns["video"].inputs["pixels"].clone()}
        hidden["pixels"][..., :16] = 7  # the left column: places 0 and 2
        seen, _ = model.encode(model.student, batch.columns["video"].inputs, torch.tensor([[1, 3]] * 4))
        again, _ = model.encode(model.student, hidden, torch.tensor([[1, 3]] * 4))
    assert torch.equal(seen, again)
    assert seen.shape == (4, 3 * 2, 32)
    assert made.tokens.shape == made.teacher_tokens.shape == (4, 12, 32)
    assert (made.teacher_tokens - out.last_hidden_state).abs().max() < ATOL
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())


def test_shuffling_moves_tokens_between_seen_positions_only(tokenizer):
    """With blocks, norm and prediction taken out, the decoder's tokens are what stands where."""
    decoder = stage_two(from_transformers(reference(tokenizer), tokenizer).encoders["video"], 0.5).decoder
    decoder.blocks, decoder.norm, decoder.predict = nn.ModuleList(), nn.Identity(), nn.Identity()
    decoder.embed = nn.Identity()
    nn.init.zeros_(decoder.positions)
    nn.init.constant_(decoder.mask_token, -1.0)
    seen = torch.arange(6.0)[None, :, None].expand(1, 6, 32)
    order = torch.tensor([[5, 0, 1, 2, 3, 4]])
    with torch.no_grad():
        stands = decoder(seen, torch.tensor([[3, 1]]), order)[0, :, 0]
    assert stands.tolist() == [-1, 0, -1, 5, -1, 2, -1, 1, -1, 4, -1, 3]


def test_the_distillation_loss_by_hand():
    made = SimpleNamespace(
        tokens=torch.tensor([[[3.0, 4.0], [2.0, 0.0]]], requires_grad=True),
        teacher_tokens=torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]], requires_grad=True),
        pooled=torch.tensor([[0.0, 5.0]], requires_grad=True),
        teacher_pooled=torch.tensor([[1.0, 1.0]]),
    )
    losses = GlobalLocalDistillation().losses(made)
    assert losses["distillation/local"].item() == pytest.approx(((1 - 0.6) + 2) / 2)
    assert losses["distillation/global"].item() == pytest.approx(1 - 0.5**0.5)
    sum(losses.values()).backward()
    assert made.teacher_tokens.grad is None
    assert made.tokens.grad.abs().sum() > 0


def test_gradients_reach_the_student_and_the_decoder_alone(tokenizer):
    encoder = from_transformers(reference(tokenizer), tokenizer).encoders["video"]
    model = stage_two(encoder, share=0.5).train()
    sum(GlobalLocalDistillation()(model, batch_of(encoder, clips())).values()).backward()
    without = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None}
    assert without == {"teacher"}
    assert F.cosine_similarity(model.decoder.mask_token.grad, model.decoder.mask_token.grad, dim=0) > 0
