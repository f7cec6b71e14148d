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

TOKENS = 32  # of a pair: three of four are shorter, and a batch is padded to its longest
DROPOUT = 0.0  # the paper's 0.1 takes a third of the time, and a short run does not learn its pairs by heart

DATA_CARD = (
    "{texts:,} names with tags and captions of the bundled emoji and stamps (datasets/, licences there) in "
    "{languages}. Tested on things of which no training text speaks."
)


def bert(
    folder: Path = Path("runs/bert"),
    size: str = "tiny",
    steps: int = 2500,
    batch_size: int = 64,
    lr: float = 1.5e-3,
    languages: Sequence[str] = LANGUAGES,
    words: int = 4000,
    seed: int = 0,
    limit: int | None = None,
    progress: bool = True,
) -> Run:
    """Words hidden in pairs of texts, and whether the second follows the first (Devlin et al. 2019, arXiv:1810.04805).

    Command: sensorium train bert
    Hardware and time: one CPU core, five minutes.
    Expected, on things that training never named, percent with the 95 % interval, seed 0 (docs/pretraining.md):

        hidden words       21.1 (19.9 … 22.5)   the most frequent piece 10.9   perplexity 113, a unigram model's 860
        caption goes on    78.0 (72.8 … 82.5)   a token in common 52.1         a coin 50
        tags follow name   67.8 (65.4 … 70.1)   a token in common 79.2         a coin 50
        group, linear      39.6 (34.8 … 44.4)   untrained 31.6                 gain +8.1 (4.0 … 12.1)
        group, nearest     49.5 (44.3 … 54.9)   untrained 50.2                 gain -0.7 (-3.9 … 2.5): not shown

    Whether one text follows the other is not learned for 1,300 steps (its loss stays at log 2), and then within a few
    hundred.

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
    model = system(size, tokenizer, dropout=DROPOUT)
    collate = PairCollator(train, tokenizer, TOKENS)
    tests = BertTests.prepare(model, collate, PairCollator(test, tokenizer, TOKENS))
    return Run(
        name="bert",
        folder=folder,
        system="bert",
        system_args={"size": size, "tokenizer": as_json(tokenizer), "dropout": DROPOUT},
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
