"""LLaVA against `transformers`: same weights, same pictures and words, same logits; and exported, opened, the same."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from talking import BLOCK, PATCHES, batch, logits, normalised, prompt, randomise

from sensorium.backbones import CausalBackbone, EncoderDecoderBackbone
from sensorium.data.conversation import Renderer
from sensorium.encoders.efficientnet_lite import EfficientNetLite
from sensorium.encoders.image import TransformersImageEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.projectors import LinearProjector, MlpProjector
from sensorium.systems import llava, system_builder
from sensorium.systems.llava_export import ExportError, export_llava
from sensorium.training.checkpoint import entries

ATOL = 1e-4
IMAGE_ID = 20  # beyond the tokenizer's 16 words, inside the table
ROWS = [[14, 1, "image", 5, 2], [3, "image", "image"], [14, "image", 7, 8, 9]]  # 4 pictures in 3 rows
LLAMA = {"model_type": "llama", "vocab_size": 24, **BLOCK, "num_key_value_heads": 2}
LMS = {
    "llama": LLAMA,
    "tied qwen2": {**LLAMA, "model_type": "qwen2", "tie_word_embeddings": True},
    "gpt2": {
        **{
            "model_type": "gpt2",
            "vocab_size": 24,
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 200,
        },
        **{"bos_token_id": 14, "eos_token_id": 15, "tie_word_embeddings": False},
    },
}


def published(text: dict[str, Any], vision: str = "clip_vision_model", **options: Any) -> Any:
    config = transformers.LlavaConfig(
        vision_config={"model_type": vision, **BLOCK, "hidden_size": 40, **PATCHES},
        text_config=text,
        image_token_index=IMAGE_ID,
        **options,
    )
    return randomise(transformers.LlavaForConditionalGeneration(config))


def both(theirs, ours, pictures, length):
    ids, slots = prompt([row + [2] * (5 - len(row)) for row in ROWS][:1] + ROWS[2:], length, IMAGE_ID)
    two, two_slots = prompt(ROWS[1:2], length, IMAGE_ID)
    encoder = ours.encoders["image"]
    pairs = []
    for i, s, some in ((ids, slots, pictures[:2]), (two, two_slots, pictures[1:])):
        with torch.no_grad():
            want = theirs(input_ids=i, pixel_values=normalised(encoder, some)).logits
        pairs.append((logits(ours, batch(i, s, encoder.prepare(some))), want))
    return pairs


@pytest.mark.parametrize("lm", LMS)
@pytest.mark.parametrize(
    ("vision", "layer", "strategy", "length"),
    [
        ("clip_vision_model", -2, "default", 16),
        ("clip_vision_model", 1, "full", 17),
        ("siglip_vision_model", -1, "full", 16),
    ],
)
def test_llava_is_transformers_llava(lm, vision, layer, strategy, length, tokenizer, pictures):
    options = {"vision_feature_layer": layer, "vision_feature_select_strategy": strategy}
    theirs = published(LMS[lm], vision, **options, multimodal_projector_bias=strategy == "full")
    ours = llava.from_transformers(theirs, tokenizer)
    assert ours.projectors["image"].length == length
    for got, want in both(theirs, ours, pictures, length):
        torch.testing.assert_close(got, want, atol=ATOL, rtol=0)
        assert want.std() > 0.05
    seen, black = (
        logits(ours, batch(*prompt(ROWS[1:2], length, IMAGE_ID), ours.encoders["image"].prepare(some)))
        for some in (pictures[1:], [np.zeros_like(pictures[0])] * 2)
    )
    assert (seen - black).abs().max() > 100 * ATOL  # the pictures count


@pytest.mark.parametrize("lm", LMS)
def test_an_exported_folder_opens_with_the_same_logits(lm, tokenizer, pictures, tmp_path, capfd):
    """Also: the embedding table grows where it has no row for <image>, LoRA is in the weights."""
    vocabulary = len(tokenizer) if lm == "llama" else 24
    model = llava.from_transformers(published({**LMS[lm], "vocab_size": vocabulary}), tokenizer)
    model.backbone.add_lora(rank=2)
    randomise(model)
    before = copy.deepcopy(model.state_dict())
    capfd.readouterr()
    folder = export_llava(model, tmp_path / "exported")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]
    opened, report = transformers.LlavaForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    image_id = opened.config.image_token_index
    assert image_id == len(tokenizer)
    ids, slots = prompt(ROWS[1:2], 16, image_id)
    inputs = model.encoders["image"].prepare(pictures[:2])
    with torch.no_grad():
        theirs = opened(input_ids=ids, pixel_values=normalised(model.encoders["image"], pictures[:2])).logits
    ours = logits(model, batch(ids, slots, inputs))
    torch.testing.assert_close(theirs[..., :vocabulary], ours, atol=ATOL, rtol=0)
    if vocabulary == len(tokenizer):
        torch.testing.assert_close(theirs[..., image_id], ours.mean(-1), atol=ATOL, rtol=0)
        assert theirs.argmax(-1).max() < image_id
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_tied_head_whose_table_the_layout_does_not_know_is_written_twice(tokenizer, pictures, tmp_path):
    gpt2 = transformers.GPT2Config(**{**LMS["gpt2"], "tie_word_embeddings": True})
    vision = transformers.CLIPVisionConfig(**BLOCK, **PATCHES)
    encoder = TransformersImageEncoder.from_config(vision, layer=-2)
    model = randomise(llava._assemble(encoder, CausalBackbone.random(gpt2, tokenizer), "image"))
    opened = transformers.LlavaForConditionalGeneration.from_pretrained(export_llava(model, tmp_path / "x"))
    ids, slots = prompt(ROWS[:1], 16, opened.config.image_token_index)
    with torch.no_grad():
        theirs = opened(input_ids=ids, pixel_values=normalised(encoder, pictures[:1])).logits
    ours = logits(model, batch(ids, slots, encoder.prepare(pictures[:1])))
    torch.testing.assert_close(theirs, ours, atol=ATOL, rtol=0)


def test_the_exported_processor_writes_what_our_renderer_writes(tokenizer, pictures, tmp_path):
    tokenizer.chat_template = (
        "{% for message in messages %}<s>{{ message['role'] }} {{ message['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant {% endif %}"
    )
    model = llava.from_transformers(published(LLAMA), tokenizer)
    folder = export_llava(model, tmp_path / "exported")
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    messages = [
        {"role": "system", "content": "the cat"},
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "red dog"}, {"type": "image"}],
        },
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    theirs = processor(images=pictures[:2], text=text, add_special_tokens=False, return_tensors="pt")
    content = [{**p, "image": pictures[0]} if p["type"] == "image" else p for p in messages[1]["content"]]
    render = Renderer(tokenizer, {"image": model.projectors["image"].length})
    ours = render([messages[0], {"role": "user", "content": content}], generation=True)
    ids = torch.from_numpy(ours.ids)
    for slot in ours.slots:
        ids[slot.start : slot.start + slot.length] = processor.image_token_id
    assert theirs["input_ids"][0].tolist() == ids.tolist()
    pixels = normalised(model.encoders["image"], pictures[:2])
    torch.testing.assert_close(theirs["pixel_values"], pixels, atol=1e-6, rtol=0)
    # and it opens here again, as the same model
    again = llava.llava(pretrained=folder)
    assert again.encoders["image"].make == model.encoders["image"].make
    ids, slots = prompt(ROWS[:1], 16, IMAGE_ID)
    inputs = model.encoders["image"].prepare(pictures[:1])
    torch.testing.assert_close(
        logits(again, batch(ids, slots, inputs)), logits(model, batch(ids, slots, inputs))
    )


def test_a_checkpoint_refers_to_what_stays_frozen(tokenizer, tmp_path):
    folder = export_llava(llava.from_transformers(published(LLAMA), tokenizer), tmp_path / "whole")
    model = system_builder("llava")(pretrained=str(folder), lora=2)
    model.encoders["image"].freeze()
    split = entries(model)
    assert set(split.referenced) == {"encoders.image", "backbone"}
    assert {n.split(".")[0] for n in split.saved} == {"projectors", "backbone"}
    assert all(".lora_" in n for n in split.saved if n.startswith("backbone"))


def test_stages_begin_from_two_published_parts(tokenizer, pictures, tmp_path):
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={**BLOCK, **PATCHES, "hidden_size": 40},
            text_config={**BLOCK, "vocab_size": 16, "eos_token_id": 15},
        )
    )
    clip.save_pretrained(tmp_path / "clip")
    crop = {"height": 32, "width": 32}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(
        tmp_path / "clip"
    )
    lm = CausalBackbone.random(transformers.LlamaConfig(**LLAMA), tokenizer)
    lm.lm.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    model = llava.llava(vision=tmp_path / "clip", language_model=tmp_path / "lm")
    assert model.backbone.source == str(tmp_path / "lm")
    features = model.features("image", model.encoders["image"].prepare(pictures))
    assert features.tokens.shape == (3, 16, 32)
    with torch.no_grad():
        want = clip.vision_model(
            normalised(model.encoders["image"], pictures), output_hidden_states=True
        ).hidden_states[-2][:, 1:]
    mlp = model.projectors["image"].parts[1]
    torch.testing.assert_close(
        features.tokens, mlp.lower(torch.nn.functional.gelu(mlp.lift(want))), atol=1e-5, rtol=1e-4
    )


def test_what_the_layout_cannot_hold_is_named(tokenizer, tmp_path):
    vision = transformers.CLIPVisionConfig(**BLOCK, **PATCHES)
    good = {
        "encoder": TransformersImageEncoder.from_config(vision, layer=-2),
        "projector": MlpProjector(torch.nn.Linear(32, 32), torch.nn.Linear(32, 32)),
        "backbone": CausalBackbone.random(transformers.LlamaConfig(**LLAMA), tokenizer),
    }
    t5 = transformers.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, vocab_size=24)
    siglip = transformers.SiglipVisionConfig(**BLOCK, **PATCHES)
    wide = MlpProjector(torch.nn.Linear(32, 64), torch.nn.Linear(64, 32))
    odd = MlpProjector(torch.nn.Linear(32, 32), torch.nn.Linear(32, 32), activation=torch.nn.Tanh())
    efficientnet = EfficientNetLite(size=32)
    wrong = {
        r"encoders: got image: EfficientNetLite; the LLaVA layout holds one picture encoder": {
            "encoder": efficientnet
        },
        r"encoders\.image: its tokens are the last layer's after a norm": {
            "encoder": TransformersImageEncoder.from_config(siglip)
        },
        r"projectors\.image: got LinearProjector": {"projector": LinearProjector(torch.nn.Linear(32, 32))},
        r"projectors\.image: got MlpProjector\(32 -> 64 -> 32\)": {"projector": wide},
        r"projectors\.image: got the activation Tanh\(\)": {"projector": odd},
        r"backbone: got T5ForConditionalGeneration, an encoder-decoder": {
            "backbone": EncoderDecoderBackbone.random(t5, tokenizer)
        },
    }
    for complaint, part in wrong.items():
        parts = {**good, **part}
        model = MultimodalLM({"image": parts["encoder"]}, {"image": parts["projector"]}, parts["backbone"])
        with pytest.raises(ExportError, match=complaint):
            export_llava(model, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    model = MultimodalLM({"image": good["encoder"]}, {"image": good["projector"]}, good["backbone"])
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="not empty"):
        export_llava(model, tmp_path)


def test_the_tiny_size_learns_and_stages_name_parameters(tokenizer, pictures):
    from sensorium.training.adaptation import freeze

    model = system_builder("llava")("tiny", tokenizer)
    ids, slots = prompt(ROWS[:1] + ROWS[2:], 16, IMAGE_ID)
    inputs = model.encoders["image"].prepare(pictures[:2])

    def loss() -> torch.Tensor:
        hidden = model(batch(ids, slots, inputs)).hidden
        return torch.nn.functional.cross_entropy(model.logits(hidden[:, -2]), ids[:, -1])

    freeze(model, llava.STAGE_1)
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"projectors"}
    freeze(model, ["!*", *llava.STAGE_2])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(8):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.5 * losses[0]
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {"projectors", "backbone"}


class Words(list):
    """What a configuration asks of a tokenizer of so many words."""

    bos_token_id, eos_token_id, pad_token_id = 1, 2, 0


def test_sizes_are_the_published_ones():
    """llava-hf/llava-1.5-7b-hf, which has 32,064 rows in its tables."""
    with torch.device("meta"):
        model = transformers.LlavaForConditionalGeneration(
            llava._config(llava.SIZES["7B"], Words(range(32064)))
        )
    assert sum(parameter.numel() for parameter in model.parameters()) == 7_063_427_072


def test_half_of_the_parts_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"vision='x', language_model=None; expected sources of both"):
        llava.llava(vision="x")
    with pytest.raises(ValueError, match=r"no size '1B'; there are: tiny, 7B, 13B"):
        llava.llava("1B", tokenizer)
    with pytest.raises(ValueError, match=r"features of layer \[-1, -2\]"):
        llava.from_transformers(published(LLAMA, vision_feature_layer=[-1, -2]), tokenizer)
