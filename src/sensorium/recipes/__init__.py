"""options -> `Run`: one typed function a training run; its arguments are its command-line options."""

from __future__ import annotations

from collections.abc import Callable

from sensorium.systems import named
from sensorium.training.run import Run

# Written out, so that a name is found by reading: name -> (module:function, what it trains)
RECIPES = {
    "image_text_audio": (
        "sensorium.recipes.image_text_audio:image_text_audio",
        "pictures, words and speech in one space, on the bundled data (what the quickstart trains)",
    ),
    "joint_embedding": (
        "sensorium.recipes.joint_embedding:joint_embedding",
        "any two or three modalities in one space, on your own folder or table of media",
    ),
    "clip": (
        "sensorium.recipes.clip:clip",
        "CLIP from random weights on the bundled emoji, both towers trained",
    ),
    "siglip": (
        "sensorium.recipes.siglip:siglip",
        "the same with SigLIP: a yes or no for each pair of a picture and a name",
    ),
    "bert": (
        "sensorium.recipes.bert:bert",
        "BERT from random weights on the bundled names, tags and captions: hidden words, and pairs",
    ),
    "gpt": (
        "sensorium.recipes.gpt:gpt",
        "GPT from random weights on the same texts, asked with no, one or eight examples in its prompt",
    ),
    "vit": (
        "sensorium.recipes.vit:vit",
        "a ViT that tells the group of a drawing, from random weights or from MAE's encoder",
    ),
    "mae": (
        "sensorium.recipes.mae:mae",
        "a ViT from pictures without labels: predict the three patches of four that are hidden (MAE)",
    ),
    "simclr": (
        "sensorium.recipes.simclr:simclr",
        "a picture encoder without labels: two augmented views of one picture belong together (SimCLR)",
    ),
    "textbook": (
        "sensorium.recipes.textbook:textbook",
        "the textbook's classifier on your own labelled files: LSTM and CNN from nothing, or frozen towers",
    ),
    "scene_names": (
        "sensorium.recipes.scene_names:scene_names",
        "a picture encoder and a connector that name the cells of composed scenes (stage 1)",
    ),
    "scene_questions": (
        "sensorium.recipes.scene_questions:scene_questions",
        "a small language model that answers questions about composed scenes (stage 2)",
    ),
    "captions": (
        "sensorium.recipes.captions:captions",
        "a small language model that names and describes with the help of similar pictures",
    ),
    "llava": (
        "sensorium.recipes.llava:llava",
        "a language model that sees, from conversations about pictures: your own file or the bundled captions",
    ),
    "blip2_stage1": (
        "sensorium.recipes.blip2_stage1:blip2_stage1",
        "a Q-Former that learns from captions what of a picture can be said, before any language model (stage 1)",
    ),
    "blip": (
        "sensorium.recipes.blip:blip",
        "BLIP: contrast, matching and captions at once, on the bundled drawings or your own pictures",
    ),
    "blip2": (
        "sensorium.recipes.blip2:blip2",
        "a Q-Former that writes pictures into the prompt of a frozen language model (stage 2)",
    ),
    "speech": (
        "sensorium.recipes.speech:speech",
        "a small language model that writes down what is said",
    ),
    "fusion": (
        "sensorium.recipes.fusion:fusion",
        "labels from several modalities at once, by any kind of fusion: a puzzle, or your own folder or table",
    ),
    "palm_e": (
        "sensorium.recipes.palm_e:palm_e",
        "a language model that reads pictures and states: answers and plans about composed scenes",
    ),
    "multi_task": (
        "sensorium.recipes.multi_task:multi_task",
        "several tasks in one network, weighed by hand, by learned uncertainty, or with conflicts projected away",
    ),
    "few_labels": (
        "sensorium.recipes.few_labels:few_labels",
        "a task of which few rows have a label: pseudo-labels, labels from words, or a start without any",
    ),
    "starts": (
        "sensorium.recipes.starts:starts",
        "a task with few labels from a pretrained encoder: probe, fine-tuning in three ways, adapters, LoRA, prompts",
    ),
    "videoprism": (
        "sensorium.recipes.videoprism:videoprism",
        "a video encoder from sentences that say what moves which way (VideoPrism's stage 1)",
    ),
    "clip_questions": (
        "sensorium.recipes.clip_questions:clip_questions",
        "a small language model that watches: questions about clips, from a trained video encoder's tokens",
    ),
    "masked_videoprism": (
        "sensorium.recipes.videoprism:masked_videoprism",
        "the same encoder from itself: a part of a clip tells what its teacher makes of the whole (stage 2)",
    ),
}


def recipe_function(name: str) -> Callable[..., Run]:
    """The function of a recipe. Raises ValueError that lists the recipes."""
    found: Callable[..., Run] = named("recipe", name, RECIPES)
    return found
