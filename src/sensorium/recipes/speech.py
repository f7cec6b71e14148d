"""Speech to words: a small language model learns to write down what people say of things it has never heard of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium.data import bundled
from sensorium.data.conversation import CONVERSATION, Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.sample import Sample
from sensorium.evaluation.blind import Blind, beside_blind, deranged, nearest_copy
from sensorium.evaluation.generated import Baselines, GeneratedScore, Measured, margin, score_of
from sensorium.evaluation.transcription import ErrorRates, normalised
from sensorium.facade import Assistant
from sensorium.facade.transcribing import ASKED, as_answer, chosen, speller_of
from sensorium.features import Features
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.systems.smol_listener import PROMPTS, smol_listener
from sensorium.training import checkpoint
from sensorium.training.loop import fit
from sensorium.training.run import Run
from sensorium.weights import cache_folder

LONGEST = 60  # letters of a training text; the few longer ones would decide what a batch costs
# Folds whose texts the language model never reads: `smol_listener.WEIGHTS` was chosen on them.
HELD_OUT = (2, 3)
DROPOUT = 0.1  # in front of LoRA
LEFT_OUT = 8  # frames of 20 ms in a row that the first stage leaves out at most, twice a clip
MOST = 40  # tokens of an answer


def speech(
    folder: Path = Path("runs/speech"),
    language: str = "fr",
    beside: tuple[str, ...] = ("es", "ca"),
    steps: int = 50,
    batch_size: int = 32,
    lr: float = 1e-3,
    letter_steps: int = 1500,
    seed: int = 0,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Write down spoken descriptions of stamps, of things that were never described in training.

    In two stages: the connector learns to spell with the language model's letters (CTC, the language model does not
    run); then LoRA learns what such texts are like, from the texts alone. What is transcribed is searched among what
    the tokens spell, by both (`models.speller`). Whisper's encoder is frozen and read from the feature cache.

    Paper: Ma et al. 2024, arXiv:2402.08846 (the composition); Chorowski & Jaitly 2017, arXiv:1612.02695 (the search)
    Command: sensorium train speech
    Hardware and time: CPU; of one core about a tenth of a second a step of the first stage, two seconds a step of the
    second, and a minute for the scores.
    Expected: of the 190 French descriptions of unseen things CER 49.1 % (45.0 to 52.8) and WER 76.7 % (71.9 to 80.6).
    Copying the nearest training clip: 64.3 and 82.5 %; with another clip 104.2 and 123.2 %; the commonest text: 85.0
    and 93.9 %. The connector's likeliest letters alone: 52.9 and 84.0 %; searched with counts of letters, without the
    language model: 49.5 and 77.4 %.

    Args:
        folder: Where the run is written; the first stage goes to letters/ in it.
        language: What is tested, and trained: fr, es, ca …
        beside: Languages whose letters are trained too; other people's voices, and words spelled alike.
        steps: Optimiser steps of the second stage.
        letter_steps: Optimiser steps of the first stage.
        batch_size: Clips a step of the first stage, texts a step of the second.
        lr: Peak learning rate of LoRA.
        seed: Of the weights' start and the order.
        limit: At most so many clips a language and split, for a try.
        cache: Folder of the feature cache.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    train = [clip for one in (language, *beside) for clip in clips("train", one, limit) if short(clip)]
    letters = "".join(sorted({letter for clip in train for letter in normalised(clip.fields["text"])}))
    spoken = clips("train", language, limit)
    texts = [normalised(clip.fields["text"]) for clip in spoken]
    args: dict[str, Any] = {"letters": letters, "texts": texts, "dropout": DROPOUT}
    model = smol_listener(**args)
    features = FeatureCache(cache or cache_folder() / "features")
    heard = cached(model, features, train, progress)
    first = Run(
        name="speech_letters",
        folder=Path(folder) / "letters",
        system="smol_listener",
        model=model,
        data=range(len(train)),
        collate=LetterCollator(train, heard, letters),
        objectives=[speller_of(model).spelling],
        weights={"spelling": 1.0, "norm": 0.1},
        freeze=["*", "!projectors"],
        batch_size=min(batch_size, len(train)),
        steps=letter_steps,
        lr=1e-3,
        seed=seed,
        progress=progress,
    )
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not checkpoint.finished(Path(folder) / "checkpoints"):
        fit(first)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    test = SpeechTest.of(language, limit, model, features, progress)
    answers = [
        as_answer(model, text) for clip, text in zip(spoken, texts) if clip.fields["fold"] not in HELD_OUT
    ]

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MultimodalLM)
        return {f"speech.{language}.{name}": score for name, score in test.scores(trained).items()}

    return Run(
        name="speech",
        folder=folder,
        system="smol_listener",
        system_args=args,
        model=model,
        data=range(len(answers)),
        collate=text_collator(model, answers),
        objectives=[NextToken()],
        freeze=["encoders", "projectors"],
        batch_size=min(batch_size, len(answers)),
        steps=steps,
        lr=lr,
        weight_decay=0.0,
        seed=seed,
        save_every=50,
        evaluate=evaluate,
        data_card=f"Descriptions of stamps spoken in {', '.join((language, *beside))} (datasets/stamps, GPL-2).",
        progress=progress,
    )


def clips(split: str, language: str, limit: int | None = None) -> list[Sample]:
    """Spoken descriptions as conversations: columns "audio" and "messages", field "text", what is said."""
    found = []
    for sample in bundled.stamps(split, language):
        text = sample.fields["captions"].get(language)
        if "audio" not in sample.columns or not text or not normalised(text):
            continue
        audio = sample.columns["audio"]
        asked = [{"type": "audio", "audio": audio}, {"type": "text", "text": PROMPTS["transcribe"]}]
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": text}]
        found.append(
            Sample(
                id=f"{sample.id}/{language}",
                columns={"audio": audio, "messages": messages},
                modality={"audio": "audio", "messages": CONVERSATION},
                fields={"text": text, "fold": sample.fields["fold"]},
            )
        )
    return found[:limit]


def text_collator(model: MultimodalLM, answers: Sequence[Sample]) -> ConversationCollator:
    """Numbers of texts -> TokenBatch, the prompt once for all."""
    renderer = Renderer(model.backbone.tokenizer, {}, model.template)
    return ConversationCollator(renderer, {}, samples=answers, group=ASKED)


def short(clip: Sample) -> bool:
    return len(clip.fields["text"]) <= LONGEST


def cached(
    model: MultimodalLM, cache: FeatureCache, samples: Sequence[Sample], progress: bool
) -> CachedFeatures:
    """The frames of every clip, from the frozen encoder."""
    sounds = [sample.columns["audio"] for sample in samples]
    return cache.features(model.encoders["audio"], sounds, "tokens", progress=progress)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LetterBatch:
    """inputs: Features of B clips; letters, counts: as `objectives.spelling` has them."""

    inputs: Features
    letters: Tensor
    counts: Tensor

    def __len__(self) -> int:
        return len(self.counts)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> LetterBatch:
        return LetterBatch(self.inputs.to(device), self.letters.to(device), self.counts.to(device))


@dataclass(frozen=True)
class LetterCollator:
    """Numbers of clips -> LetterBatch, stretches of frames left out (SpecAugment's masks in time, Park et al. 2019)."""

    samples: Sequence[Sample]
    features: CachedFeatures
    letters: Sequence[str]

    def __call__(self, items: Sequence[int]) -> LetterBatch:
        inputs = self.features[items]
        tokens = inputs.tokens.clone()
        for row, length in zip(tokens, inputs.mask.sum(1).tolist()):
            for _ in range(2):
                count = random.randint(0, LEFT_OUT)
                start = random.randint(0, max(0, length - count))
                row[start : start + count] = 0
        number = {letter: place for place, letter in enumerate(self.letters, 1)}
        texts = [normalised(self.samples[item].fields["text"]) for item in items]
        ids = torch.tensor([number[letter] for text in texts for letter in text])
        return LetterBatch(
            Features(tokens, inputs.mask, inputs.pooled), ids, torch.tensor([len(text) for text in texts])
        )


@dataclass(frozen=True)
class SpeechTest:
    """Clips of unseen things in one language, and what the baselines know of the training clips in it.

    copied: for each test clip the text of the training clip whose pooled vector is nearest
    """

    samples: list[Sample]
    features: CachedFeatures
    seen: list[str]
    copied: list[str]

    @classmethod
    def of(
        cls, language: str, limit: int | None, model: MultimodalLM, cache: FeatureCache, progress: bool
    ) -> SpeechTest:
        samples, known = clips("test", language, limit), clips("train", language, limit)
        features, others = (cached(model, cache, some, progress) for some in (samples, known))
        seen = [one.fields["text"] for one in known]
        return cls(samples, features, seen, nearest_copy(features.pooled(), others.pooled(), seen))

    def scores(self, model: MultimodalLM) -> dict[str, GeneratedScore]:
        """ "WER" and "CER" of what the model transcribes, and of what it has before the language model is asked:

        "letters.": the likeliest letter a token; "counts.": the best text by letters and counts of letters;
        "over_letters.", "over_counts.": by how much the errors are fewer than those
        """
        speller = speller_of(model)
        logits = [one for rows in self.batches() for one in speller.logits(model, self.features[rows])]
        found = [speller.found(one) for one in logits]
        said = chosen(model, found)
        ids = [sample.id for sample in self.samples]
        blind = Blind(
            withheld=[Assistant(model).ask(model.prompts["transcribe"], max_tokens=MOST)] * len(said),
            shuffled=[[said[other] for other in deranged(ids)]],
        )
        blind = blind.with_majority(["speech"] * len(said), ["speech"] * len(self.seen), self.seen)
        rates = ErrorRates([sample.fields["text"] for sample in self.samples])
        scores = beside_blind(rates, said, blind.with_copy(self.copied))
        copied, right = rates(self.copied), rates(said)
        without = {
            "letters": [speller.likeliest(one) for one in logits],
            "counts": [one[0].text for one in found],
        }
        for name, texts in without.items():
            for rate, measured in rates(texts).items():
                scores[f"{name}.{rate}"] = score_of(measured, Baselines(copy=copied[rate]))
                scores[f"over_{name}.{rate}"] = difference(right[rate], measured)
        return scores

    def batches(self, batch_size: int = 32) -> list[range]:
        """Numbers of clips, a few at once."""
        n = len(self.samples)
        return [range(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]


def difference(right: Measured, other: Measured) -> GeneratedScore:
    """By how much an error rate is lower than another on the same clips, with the interval of that."""
    found = margin(right, [other])
    return GeneratedScore(
        found.value, found.low, found.high, len(right), note="fewer errors on the same clips"
    )
