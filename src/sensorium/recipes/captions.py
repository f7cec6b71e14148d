"""Names and captions with retrieval: the language model reads what a picture may be called, and writes the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from sensorium.data import bundled
from sensorium.data.bundled import TRAIN_ARTISTS, UNSEEN_ARTIST
from sensorium.data.conversation_batch import CachedMedia, ConversationCollator
from sensorium.data.feature_cache import FeatureCache
from sensorium.encoders.text import SentenceEncoder
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.grid_naming import word_vectors
from sensorium.objectives.next_token import NextToken
from sensorium.recipes.caption_items import Item, item_of, sentence, taught
from sensorium.recipes.caption_tests import (
    Belief,
    CaptionTest,
    Offered,
    chosen_trust,
    described_scores,
    fixed_caption,
)
from sensorium.recipes.neighbours import Known, Neighbours, folds, rows_where
from sensorium.recipes.open_words import Words, class_names, classifier, nouns, word_samples
from sensorium.recipes.retrieval_tests import NameTest, write
from sensorium.recipes.scene_questions import collator
from sensorium.systems.image_text_audio import LAYERS
from sensorium.systems.smol_captioner import smol_captioner
from sensorium.training.run import Run
from sensorium.weights import cache_folder

VALIDATION_ARTIST = "openmoji"  # in galleries only; the language model is not trained on its drawings
VALIDATION_FOLDS = {2, 4, 8}  # of the stamps that train: likewise
DESCRIBED_ARTIST = "emojione"  # whose drawings are described as stamps are, not named
REPEATED = 3  # times that each training stamp stands among the items: there are many more drawings
PARTS = 4  # in which stamps, and drawings to be described, are taken apart, each looked up among the others
AMONG = 20  # captions among which the consensus is looked for
SHOWN = 10  # of these, the first in the prompt
FEWEST = 16  # things of emoji and of stamps: with fewer a split or a test has none
# Tests: names by the unseen artist; captions of unseen stamps; captions of drawings of unseen things.
NAMES, STAMPS, DRAWINGS = "names.unseen_artist", "captions.unseen_things", "captions.unseen_drawings"
PREFIX_RIDGE = 0.1  # of the prefix's start, in mean variances of the pictures' coordinates


def captions(
    folder: Path = Path("runs/captions"),
    steps: int = 250,
    batch_size: int = 16,
    lr: float = 1e-3,
    k: int = 5,
    seed: int = 0,
    size: int = 224,
    tested: int | None = 400,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Name and describe pictures among what similar ones are called (SmallCap, arXiv:2209.15323).

    Each training picture is looked up as a test picture will be: a drawing among the drawings of other artists, a
    stamp among the captions of other things and words that no picture goes with, in a space fitted without it. What
    is to be written is the best of what the prompt shows (`caption_items.taught`).

    Command: sensorium train captions
    Hardware and time: 1 CPU core, seven minutes and eight for the tests; the features of the pictures once.
    Expected: names of 400 drawings by an unseen artist 67.2 % right, by copying the nearest picture 62.3. ROUGE-L of
    captions, by consensus of what was found / as the language model writes them / by copying: 247 validation stamps
    41.2 / 40.3 / 36.0, 193 unseen stamps 41.5 / 40.4 / 39.5, 711 drawings of unseen things 46.7 / 45.6 / 43.4,
    all 904 45.6 / 44.5 / 42.6 (docs/answers.md).

    Args:
        folder: Where the run is written.
        steps: Optimiser steps.
        batch_size: Pictures a step.
        lr: Peak learning rate of LoRA; the prefix stays as the closed form sets it.
        k: Names of similar pictures in the prompt; of captions there are ten.
        seed: Of the order.
        size: Side of the pictures in pixels.
        tested: Pictures of each test and validation, evenly spread; None: all.
        limit: Use so many things of emoji and of stamps, for a quick look.
        cache: Folder of the feature cache.
        progress: Show the preflight and progress bars.

    Raises ValueError for a k, tested or limit with which nothing could be shown, tested or learned.
    """
    for name, got, least in (("k", k, 1), ("tested", tested, 1), ("limit", limit, FEWEST)):
        if got is not None and got < least:
            raise ValueError(f"{name}={got}; expected at least {least}")
    torch.manual_seed(seed)
    model = smol_captioner(size)
    known, media = pictures(model, FeatureCache(cache or cache_folder() / "features"), limit, progress)
    look = Lookups(known, k)
    train, looked_up, validation, tests = tasks(look)
    trust = chosen_trust(looked_up)
    fixed = fixed_caption([item.answer for item in looked_up])
    names = [str(known.samples[row].columns["text"]) for row in look.drawn[TRAIN_ARTISTS[0]]]
    fixed_name = fixed_caption([sentence(name) for name in names])
    start_prefix(model, known, [item.row for item in train])
    reading = cached_collator(model, media)
    # A stamp that stands there several times has one lesson.
    lessons = {item: item.conversation(taught(item)) for item in train}
    validation = {name: spread(items, tested) for name, items in validation.items()}
    tests = {name: spread(items, tested) for name, items in tests.items()}
    drawings = unseen_drawings(look)
    # What else is described, and the fixed caption beside it.
    more: dict[str, tuple[list[Item], str | None]] = {
        "captions.looked_up": (looked_up, fixed),
        "captions.validation": (validation["caption"], fixed),
        **{name: (items, fixed_name) for name, items in drawings.items()},
        "captions.unseen": ([*tests[STAMPS], *drawings[DRAWINGS]], None),
    }

    def evaluate(trained: torch.nn.Module) -> dict[str, Any]:
        assert isinstance(trained, MultimodalLM)
        trained = for_tests(trained)
        scores: dict[str, Any] = {}
        # Not of those looked up, most of which it has learned; each once, though it stands in several tests.
        unlearned = (items for items, _ in more.values() if items is not looked_up)
        asked = list(dict.fromkeys(item for items in unlearned for item in items))
        written = dict(zip(asked, write(trained, reading, asked)))
        for name, (items, blindly) in more.items():
            texts = {"retrieval_consensus": Offered.without_model(items).consensus(Belief(trust, 0.0))}
            if items is not looked_up:
                texts["writes_with_retrieval"] = [written[item] for item in items]
            scores |= described_scores(name, items, texts, blindly)
        for name, items in tests.items():
            chosen_by = validation[items[0].task]
            one: NameTest | CaptionTest = (
                NameTest(name, items, chosen_by)
                if items[0].task == "name"
                else CaptionTest(name, items, chosen_by, trust, fixed=fixed)
            )
            scores |= one.scores(one.said(trained, reading))
        return scores

    return Run(
        name="captions",
        folder=folder,
        system="smol_captioner",
        system_args={"size": size},
        model=model,
        data=[lessons[item] for item in train],
        collate=reading,
        objectives=[NextToken()],
        freeze=["encoders.*", "projectors.*"],
        batch_size=batch_size,
        steps=steps,
        lr=lr,
        weight_decay=0.0,
        seed=seed,
        save_every=100,
        evaluate=evaluate,
        data_card="Emoji by three artists (datasets/emoji, licences of the artists) and stamps (GPL-2).",
        progress=progress,
    )


def cached_collator(model: MultimodalLM, media: CachedMedia) -> ConversationCollator:
    """Conversations -> TokenBatch, their pictures read from the cache."""
    return ConversationCollator(collator(model).renderer, {}, group="row", cached={"image": media})


def for_tests(model: MultimodalLM) -> MultimodalLM:
    """The same model with one table a layer instead of two and their sum: decoding takes half the time."""
    parts = dict(model.encoders.items()), dict(model.projectors.items()), model.backbone.merged()
    return MultimodalLM(*parts, template=model.template)


def pictures(
    model: MultimodalLM, cache: FeatureCache, limit: int | None, progress: bool
) -> tuple[Known, CachedMedia]:
    """All bundled pictures with their pooled features and words for them, and the former as the collator reads them."""
    samples = []
    for some in (bundled.emoji(), bundled.stamps(language=None)):
        things = set(spread(sorted({sample.fields["thing"] for sample in some}), limit))
        samples += [sample for sample in some if sample.fields["thing"] in things]
    encoder: Any = model.encoders["image"]
    texts = SentenceEncoder.pretrained(layers=LAYERS).freeze()
    image = cache.of_samples(encoder, samples, "image", progress=progress)
    text = cache.of_samples(texts, samples, "text", progress=progress)
    rows = {(sample.id, 0): row for sample in samples if (row := image.row(sample.id)) is not None}
    called, classes = word_samples(class_names(), spread(nouns(texts.tokenizer), limit))
    word = cache.of_samples(texts, called, "text", progress=progress)
    seen, read, listed = (torch.from_numpy(found.pooled()) for found in (image, text, word))
    words = Words([str(sample.columns["text"]) for sample in called], listed, classes, *classifier())
    known = Known(samples, seen, read, words)
    return known, CachedMedia(image, rows)


def tasks(
    look: Lookups,
) -> tuple[list[Item], list[Item], dict[str, list[Item]], dict[str, list[Item]]]:
    """Training items; all training stamps, looked up; validation items by task; test items by the name of the test."""
    known = look.known
    looked_up = look.apart(look.stamped)
    is_validation = {row for row in look.stamped if known.samples[row].fields["fold"] in VALIDATION_FOLDS}
    validation = {
        "name": look.named(VALIDATION_ARTIST),
        "caption": [item for item in looked_up if item.row in is_validation],
    }
    train = [item for item in looked_up if item.row not in is_validation] * REPEATED
    held = {meaning for row in is_validation for meaning in known.samples[row].meanings}
    for artist in TRAIN_ARTISTS:
        if artist == DESCRIBED_ARTIST:
            drawn = [row for row in look.drawn[artist] if held.isdisjoint(known.samples[row].meanings)]
            train += look.apart([row for row in drawn if not look.is_tested(row)])
        elif artist != VALIDATION_ARTIST:
            train += [item for item in look.named(artist) if not look.is_tested(item.row)]
    return train, looked_up, validation, test_items(look)


def test_items(look: Lookups) -> dict[str, list[Item]]:
    """Items by the name of the test."""
    test = rows_where(look.known.samples, split="test")
    return {
        NAMES: look.named(UNSEEN_ARTIST),
        STAMPS: look.described(test, look.stamped),
    }


def unseen_drawings(look: Lookups) -> dict[str, list[Item]]:
    """Drawings of things that nothing was learned from, described as stamps are; the unseen artist's also alone."""
    items = look.described(rows_where(look.known.samples, split="unseen_thing"), look.stamped)
    by_unseen = [item for item in items if look.known.samples[item.row].fields["artist"] == UNSEEN_ARTIST]
    return {DRAWINGS: items, f"{DRAWINGS}.unseen_artist": by_unseen}


class Lookups:
    """What pictures resemble among training pictures, none of which shows what is tested as unseen.

    k:       names in a prompt; as many are looked up. Of captions `AMONG` are looked up and `SHOWN` in the prompt
    drawn:   rows of the training things by artist, the unseen one too
    stamped: rows of the training stamps
    """

    def __init__(self, known: Known, k: int) -> None:
        self.known, self.k = known, k
        samples = known.samples
        unseen = [*rows_where(samples, split="unseen_thing"), *rows_where(samples, split="test")]
        self._tested = {meaning for row in unseen for meaning in samples[row].meanings}
        self.drawn = {
            a: rows_where(samples, artist=a, split="train") for a in (*TRAIN_ARTISTS, UNSEEN_ARTIST)
        }
        emoji = set().union(*self.drawn.values())
        stamped = [row for row in rows_where(samples, split="train") if row not in emoji]
        self.stamped = [row for row in stamped if not self.is_tested(row)]

    def is_tested(self, row: int) -> bool:
        """Whether it means something that is tested as unseen."""
        return not self._tested.isdisjoint(self.known.samples[row].meanings)

    def named(self, artist: str) -> list[Item]:
        """An artist's drawings, looked up among the training artists' others."""
        rows = self.drawn[artist]
        gallery = [row for other in TRAIN_ARTISTS if other != artist for row in self.drawn[other]]
        fit = [*gallery, *self.stamped]
        return self._items("name", rows, self.known.neighbours(rows, gallery, fit, self.k), self.k)

    def apart(self, rows: Sequence[int]) -> list[Item]:
        """Training pictures in parts, each described by the others; what looks alike is in one part."""
        parts = folds(rows, self.known.samples, PARTS)
        return [item for part in parts for item in self.described(part, self.stamped)]

    def described(self, rows: Sequence[int], others: Sequence[int]) -> list[Item]:
        """Pictures, described by words and the captions of stamps and emoji of other things."""
        samples = self.known.samples
        emoji = [row for artist in TRAIN_ARTISTS for row in self.drawn[artist] if not self.is_tested(row)]
        meant = {meaning for row in rows for meaning in samples[row].meanings}
        gallery = [row for row in [*others, *emoji] if meant.isdisjoint(samples[row].meanings)]
        return self._items("caption", rows, self.known.described(rows, gallery, AMONG), SHOWN)

    def _items(self, task: str, rows: Sequence[int], found: Sequence[Neighbours], shown: int) -> list[Item]:
        return [item_of(self.known.samples, row, task, one, shown) for row, one in zip(rows, found)]


def start_prefix(model: MultimodalLM, known: Known, rows: Sequence[int]) -> None:
    """Set the prefix to the closed form: a ridge from a picture's coordinates to the words of its caption.

    Of its tokens the first aims at the mean of the caption's words, the others at its first, second and last word,
    all as the language model's input embeddings.
    """
    prefix: Any = model.projectors["image"]
    rows = sorted(set(rows))
    places = torch.as_tensor(rows)
    to_space = known.maps(rows)["image"]
    x = to_space(known.image[places])
    targets = torch.stack(
        [_words(model.backbone, str(known.samples[row].columns["text"]), prefix.length) for row in rows]
    )
    offset = targets.mean(0)
    gram = x.T @ x / len(x)
    gram.diagonal().add_(PREFIX_RIDGE * gram.diagonal().mean())
    weights = torch.linalg.solve(gram, x.T @ (targets - offset) / len(x))
    # Ridge answers are too short; they are brought to the length that words have.
    spread_of = ((targets - offset).norm(dim=-1).mean() / (x @ weights).norm(dim=-1).mean()).item()
    prefix.start(to_space.mean, to_space.matrix @ weights * spread_of, offset)


def _words(backbone: Any, caption: str, tokens: int) -> torch.Tensor:
    """float[tokens · D]"""
    ids = backbone.tokenizer(" " + bundled.normalised(caption), add_special_tokens=False)["input_ids"]
    chosen = [ids[0], ids[min(1, len(ids) - 1)], ids[-1]]
    with torch.no_grad():
        words = backbone.embed(torch.tensor(chosen)).float()
    mean = word_vectors(backbone, [bundled.normalised(caption)])
    return F.pad(torch.cat([mean, words]), (0, 0, 0, max(0, tokens - 4)))[:tokens].flatten()


def spread(items: list[Any], limit: int | None) -> list[Any]:
    """`limit` of them, evenly spread."""
    if limit is None or limit >= len(items):
        return items
    return [items[round(n * (len(items) - 1) / max(1, limit - 1))] for n in range(limit)]
