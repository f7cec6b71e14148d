"""Learned prompts: those that start from words are those words, only the vectors learn, and they come back."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from few_words import few_words
from torch.nn import functional as F
from transformers import BertConfig, CLIPConfig, CLIPModel

from sensorium.encoders.text import TransformersTextEncoder
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.prompt_learning import PromptLearning
from sensorium.systems import clip
from sensorium.tasks import OneOf

WORDS = [
    "a",
    "the",
    "photo",
    "of",
    "red",
    "blue",
    "cat",
    "dog",
    "ship",
    "runs",
    "sleeps",
    "x",
    "bell",
    "rings",
]
WORDS += ["one", "two", "six", "ten", "<unk>", "<pad>", "<s>", "</s>"]
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
LABELS = OneOf("what", ["cat", "red-ship", "dog"])


@pytest.fixture(params=[21, 2], ids=["end by its id", "end by the largest id"])
def reference(request) -> tuple[Any, Any]:
    """A tiny CLIPModel and its tokenizer. An end of id 2 is OpenAI's: the largest id there is."""
    torch.manual_seed(0)
    tokenizer = few_words(WORDS)
    vision = {**TOWER, "image_size": 32, "patch_size": 16}
    text = {**TOWER, "vocab_size": len(tokenizer), "bos_token_id": 20, "eos_token_id": request.param}
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)
    return CLIPModel(config).eval(), tokenizer


def batch_of(pixels: torch.Tensor, answers: list[str] | None = None) -> SimpleNamespace:
    present = torch.ones(len(pixels), dtype=torch.bool)
    columns = {"image": SimpleNamespace(inputs={"pixels": pixels}, present=present)}
    return SimpleNamespace(columns=columns, fields={"what": answers})


def pixels(rows: int = 2) -> torch.Tensor:
    return torch.randint(0, 255, (rows, 3, 32, 32), dtype=torch.uint8)


def test_a_context_of_words_is_the_plain_prompt_of_transformers(reference):
    published, tokenizer = reference
    model = PromptLearning(clip.from_transformers(published, tokenizer), LABELS, "a photo of a").eval()
    prompts = ["a photo of a cat", "a photo of a red ship", "a photo of a dog"]
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    picture = pixels()
    prepared = model.space.encoders["image"].make
    mean, std = (torch.tensor(values)[:, None, None] for values in (prepared.mean, prepared.std))
    with torch.no_grad():
        expected = published(**inputs, pixel_values=(picture.float() / 255 - mean) / std)
        found = model.label_vectors()
        logits = model(batch_of(picture)).outputs["what"]
    assert (found - F.normalize(expected.text_embeds, dim=-1)).abs().max() <= 1e-4
    assert (logits - expected.logits_per_image).abs().max() <= 1e-4
    assert model.context.shape == (4, 32)


def test_the_context_alone_learns(reference):
    model = PromptLearning(clip.from_transformers(*reference), LABELS, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["context"]
    picture = pixels(3)
    targets = torch.tensor([0, 1, 2])
    optimizer = torch.optim.SGD([model.context], 1e-3)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(model(batch_of(picture)).outputs["what"], targets)
        loss.backward()
        assert bool(model.context.grad.any(-1).all())  # every vector is read
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["context"]


def test_every_label_may_have_a_context_of_its_own(reference):
    space = clip.from_transformers(*reference)
    shared, own = (
        PromptLearning(space, LABELS, "a photo of", per_label=per_label) for per_label in (False, True)
    )
    assert (shared.context.shape, own.context.shape) == ((3, 32), (9, 32))
    with torch.no_grad():
        assert torch.allclose(shared.label_vectors(), own.label_vectors(), atol=1e-6)
        own.context[3:6] += torch.randn(3, 32)  # the second label's
        moved = (own.label_vectors() - shared.label_vectors()).abs().amax(-1)
    assert (moved > 1e-3).tolist() == [False, True, False]


def test_any_space_whose_text_encoder_has_a_table_of_words():
    torch.manual_seed(0)
    tokenizer = few_words(WORDS)
    ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    bert = TransformersTextEncoder.from_config(BertConfig(**TOWER, **ids), tokenizer, pooling="mean").eval()
    space = JointEmbedding({"name": bert, "text": bert})
    model = PromptLearning(space, LABELS, "the", column="name").eval()
    with torch.no_grad():
        plain = F.normalize(bert(bert.prepare(["the cat", "the red ship", "the dog"])).pooled, dim=-1)
        assert torch.allclose(model.label_vectors(), plain, atol=1e-5)


def test_a_hidden_column_leaves_all_labels_alike(reference):
    model = PromptLearning(clip.from_transformers(*reference), LABELS, 2)
    assert not model(batch_of(pixels()), without=("image",)).outputs["what"].any()
    with pytest.raises(ValueError, match="has the column image"):
        model(batch_of(pixels()), without=("audio",))


def test_what_cannot_be_a_context_says_so(reference):
    space = clip.from_transformers(*reference)
    with pytest.raises(ValueError, match="at least 1"):
        PromptLearning(space, LABELS, 0)
    with pytest.raises(ValueError, match="leaves no room"):
        PromptLearning(space, LABELS, 80)
    with pytest.raises(ValueError, match="words that are not in use"):
        PromptLearning(space, LABELS, 6, per_label=True)
    with pytest.raises(ValueError, match=r"columns \['sound'\]"):
        PromptLearning(space, LABELS, 2, column="sound")
