"""GPT from random weights on the names, tags and captions of the bundled data, in several languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sensorium.data.text_corpus import LANGUAGES, Windows, as_batch, documents
from sensorium.data.trained_tokenizer import as_json, byte_pairs
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.bert import DATA_CARD
from sensorium.recipes.gpt_tests import GptTests
from sensorium.systems.gpt import gpt as system
from sensorium.training.run import Run


def gpt(
    folder: Path = Path("runs/gpt"),
    size: str = "tiny",
    steps: int = 600,
    batch_size: int = 16,
    lr: float = 2e-3,
    languages: Sequence[str] = LANGUAGES,
    words: int = 4000,
    length: int = 128,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Write what comes next (Radford et al. 2018, 2019); asked with no, one or eight examples (Brown et al. 2020).

    Command: sensorium train gpt
    Hardware and time: one CPU core, some three minutes.
    Expected: on texts about things that training never named, perplexity 136 (125 to 150) beside a unigram model's
    812 and 4,204 untrained. Asked with no, one and eight examples it stays at chance: groups 16.4, 13.8 and 11.8 %
    (the majority 21.1), own tags 26.3, 24.3 and 21.7 % (25).

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/gpt.py; "tiny" is meant for a CPU.
        steps: Optimiser steps.
        batch_size: Windows of text a step.
        lr: Peak learning rate.
        languages: Of the texts; a window is in one of them.
        words: Of the vocabulary, learned from the training texts.
        length: Tokens of a window.
        seed: Of the random weights and of what stands in a window.
        limit: Use so many things of either data set, for a quick look.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    train, test = (documents(split, languages, limit) for split in ("train", "test"))
    tokenizer = byte_pairs([document.text for document in train], words)
    model = system(size, tokenizer)
    tests = GptTests.prepare(model, train, test)
    return Run(
        name="gpt",
        folder=folder,
        system="gpt",
        system_args={"size": size, "tokenizer": as_json(tokenizer)},
        model=model,
        data=Windows(train, tokenizer, length),
        collate=as_batch,
        objectives=[NextToken()],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        warmup=0.1,
        seed=seed,
        save_every=200,
        evaluate=tests.scores,
        data_card=DATA_CARD.format(texts=len(train), languages=", ".join(languages)),
        progress=progress,
    )
