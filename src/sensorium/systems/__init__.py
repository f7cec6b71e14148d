"""options -> a built model: published models as compositions, one short file each with its figure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import nn

# Written out, so that a name is found by reading: name -> (module:function, what it is and its paper)
SYSTEMS = {
    "clip": (
        "sensorium.systems.clip:clip",
        "pictures and words; softmax over the batch (Radford et al. 2021)",
    ),
    "siglip": (
        "sensorium.systems.siglip:siglip",
        "pictures and words; a yes or no for each pair (Zhai et al. 2023)",
    ),
    "clap": (
        "sensorium.systems.clap:clap",
        "sounds and words; softmax over the batch (Wu et al. 2023)",
    ),
    "image_text_audio": (
        "sensorium.systems.image_text_audio:image_text_audio",
        "pictures, words and speech in one space, from light pretrained encoders",
    ),
    "bert": (
        "sensorium.systems.bert:bert",
        "a text encoder that learns from words hidden in pairs of texts (Devlin et al. 2019)",
    ),
    "gpt": (
        "sensorium.systems.gpt:gpt",
        "a language model that learns to write what comes next (Radford et al. 2018, 2019)",
    ),
    "fusion_network": (
        "sensorium.systems.fusion_network:fusion_network",
        "any encoders, any fusion, one head a task: classifies what comes in several modalities",
    ),
    "classifier": (
        "sensorium.systems.classifier:classifier",
        "one encoder and a linear head a task, with adapters or LoRA between the encoder's layers if asked for",
    ),
    "space_classifier": (
        "sensorium.systems.prompted:space_classifier",
        "a linear head a task on the vectors of a shared space",
    ),
    "prompted": (
        "sensorium.systems.prompted:prompted",
        "labels told apart by learned prompts in a shared space (CoOp, Zhou et al. 2022)",
    ),
    "llava": (
        "sensorium.systems.llava:llava",
        "a language model that sees through a connector of two layers (Liu et al. 2023)",
    ),
    "blip": (
        "sensorium.systems.blip:blip",
        "tells, matches and describes pictures: one transformer of words in three modes (Li et al. 2022)",
    ),
    "blip2": (
        "sensorium.systems.blip2:blip2",
        "a frozen language model that reads a picture's query tokens (Li et al. 2023)",
    ),
    "blip2_stage1": (
        "sensorium.systems.blip2_stage1:blip2_stage1",
        "BLIP-2 before its language model: a Q-Former that contrasts, matches and writes (Li et al. 2023)",
    ),
    "palm_e": (
        "sensorium.systems.palm_e:palm_e",
        "a language model that reads pictures, things and states among the words (Driess et al. 2023)",
    ),
    "vit": (
        "sensorium.systems.vit:vit",
        "a transformer over patches with a linear head a task (Dosovitskiy et al. 2020)",
    ),
    "mae": (
        "sensorium.systems.mae:mae",
        "a ViT that fills in the patches hidden from it, and the light decoder it does so with (He et al. 2021)",
    ),
    "simclr": (
        "sensorium.systems.simclr:simclr",
        "two views of a picture belong together, and the head that says so is dropped (Chen et al. 2020)",
    ),
    "smol_llava": (
        "sensorium.systems.smol_llava:smol_llava",
        "a small language model that sees: LLaVA's composition with light parts",
    ),
    "smol_listener": (
        "sensorium.systems.smol_listener:smol_listener",
        "a small language model that hears: Whisper's frames among its words",
    ),
    "smol_watcher": (
        "sensorium.systems.smol_watcher:smol_watcher",
        "a small language model that watches: VideoPrism's places among its words",
    ),
    "smol_blip2": (
        "sensorium.systems.smol_blip2:smol_blip2",
        "a Q-Former in front of a small frozen language model: BLIP-2's second stage with light parts",
    ),
    "smol_blip2_stage1": (
        "sensorium.systems.smol_blip2_stage1:smol_blip2_stage1",
        "the same Q-Former before any language model: BLIP-2's first stage with light parts",
    ),
    "smol_captioner": (
        "sensorium.systems.smol_captioner:smol_captioner",
        "a small language model that names one thing, with the names of similar pictures in its prompt",
    ),
    "videoprism": (
        "sensorium.systems.videoprism:videoprism",
        "videos and words; blocks over space, then over time (Zhao et al. 2024)",
    ),
    "frame_clip": (
        "sensorium.systems.videoprism:frame_clip",
        "videos and words; pictures averaged over frames: VideoPrism's peer (Luo et al. 2021)",
    ),
    "masked_videoprism": (
        "sensorium.systems.videoprism:masked_videoprism",
        "a video encoder that tells from a part of a clip what its teacher makes of the whole (Zhao et al. 2024)",
    ),
}


def system_builder(name: str) -> Callable[..., nn.Module]:
    """The builder of a system. Raises ValueError that lists the systems."""
    builder: Callable[..., nn.Module] = named("system", name, SYSTEMS)
    return builder


def named(kind: str, name: str, table: Mapping[str, tuple[str, str]]) -> Any:
    """What `module:function` of a table's entry names. Raises ValueError that lists the names."""
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no {kind} {name!r}; there are: {', '.join(table)}.{guess}")
    module, _, function = table[name][0].partition(":")
    return getattr(import_module(module), function)
