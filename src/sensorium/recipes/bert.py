"""BERT from random weights on the names, tags and captions of the bundled data, in several languages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sensorium.data.masking import PairCollator
from sensorium.data.text_corpus import LANGUAGES, documents
from sensorium.data.trained_tokenizer import as_json, word_pieces
from sensorium.objectives.masked_language import MaskedLanguage
from sensorium.recipes.bert_tests import BertTests
from sensorium.systems.bert import bert as system
from sensorium.training.run import Run

DATA_CARD = (
    "{texts:,} names with tags and captions of the bundled emoji and stamps (datasets/, licences there) in "
    "{languages}. Tested on things of which no training text speaks."
)


def bert(
    folder: Path = Path("runs/bert"),
    size: str = "tiny",
    steps: int = 700,
    batch_size: int = 64,
    lr: float = 1e-3,
    languages: Sequence[str] = LANGUAGES,
    words: int = 4000,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Words hidden in pairs of texts, and whether the second follows the first (Devlin et al. 2019, arXiv:1810.04805).

    Command: sensorium train bert
    Hardware and time: one CPU core, some three minutes.
    Expected: on things that training never named (docs/pretraining.md): hidden words 15.0 % right (13.9 to 16.0; the
    most frequent piece is 11.0), perplexity 362 beside a unigram model's 871. Whether tags follow a name 55.2 % (52.2
    to 58.2), where having a token in common says it in 78.3 %. The group of a name, by nearest names, 36.5 % beside
    50.2 % untrained: the states are not yet worth more than a bag of words.

    Args:
        folder: Where the run is written.
        size: Of the system, one of systems/bert.py; "tiny" is meant for a CPU.
        steps: Optimiser steps.
        batch_size: Pairs a step.
        lr: Peak learning rate.
        languages: Of the texts.
        words: Of the vocabulary, learned from the training texts.
        seed: Of the random weights, the order of the texts, the words hidden and the pairs swapped.
        limit: Use so many things of either data set, for a quick look.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    train, test = (documents(split, languages, limit) for split in ("train", "test"))
    tokenizer = word_pieces([document.text for document in train], words)
    model = system(size, tokenizer)
    collate = PairCollator(train, tokenizer)
    tests = BertTests.prepare(model, collate, PairCollator(test, tokenizer))
    return Run(
        name="bert",
        folder=folder,
        system="bert",
        system_args={"size": size, "tokenizer": as_json(tokenizer)},
        model=model,
        data=range(len(train)),
        collate=collate,
        objectives=[MaskedLanguage()],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        warmup=0.1,
        seed=seed,
        save_every=250,
        evaluate=tests.scores,
        data_card=DATA_CARD.format(texts=len(train), languages=", ".join(languages)),
        progress=progress,
    )
