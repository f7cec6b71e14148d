"""Speech to words: a small language model learns to write down what people say of things it has never heard of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sensorium.data import bundled
from sensorium.data.conversation import CONVERSATION, Renderer
from sensorium.data.conversation_batch import ConversationCollator
from sensorium.data.feature_cache import CachedFeatures, FeatureCache
from sensorium.data.sample import Sample
from sensorium.evaluation.blind import Blind, beside_blind, nearest_copy
from sensorium.evaluation.generated import Baselines, GeneratedScore, score_of
from sensorium.evaluation.transcription import ErrorRates, normalised
from sensorium.facade import Assistant
from sensorium.features import Features
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.objectives.next_token import NextToken
from sensorium.objectives.spelling import Spelling, letter_vectors, spelled
from sensorium.systems.smol_listener import PROMPTS, smol_listener
from sensorium.training import checkpoint
from sensorium.training.loop import fit
from sensorium.training.run import Run
from sensorium.weights import cache_folder

LONGEST = 60  # letters of a training text; the few longer ones would decide what a batch costs
LEFT_OUT = 8  # frames of 20 ms in a row that the first stage leaves out at most, twice a clip
MOST = 40  # tokens of an answer


def speech(
    folder: Path = Path("runs/speech"),
    language: str = "fr",
    beside: tuple[str, ...] = ("es", "ca"),
    steps: int = 200,
    batch_size: int = 16,
    lr: float = 5e-4,
    letter_steps: int = 600,
    seed: int = 0,
    limit: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Run:
    """Write down spoken descriptions of stamps, of things that were never described in training.

    In two stages: the connector learns to spell with the language model's letters (CTC, the language model does not
    run); then connector and LoRA learn to write the text. Whisper's encoder is frozen and read from the feature cache.

    Paper: Ma et al. 2024, arXiv:2402.08846 (the composition)
    Command: sensorium train speech
    Hardware and time: CPU; of one core about a tenth of a second a step of the first stage and three seconds a step of
    the second.
    Expected: the connector hears, and the language model makes less of it than copying does. Of the 190 French
    descriptions of unseen things, after 1,500 and 350 steps (--letter-steps 1500 --steps 350 --lr 8e-4) the
    connector's likeliest letters have CER 56.3 % (52.7 to 59.5) and WER 88.7 %; what the language model writes CER
    73.9 % (65.3 to 83.0) and WER 90.2 %, with another clip 105.7 and 123.2 %. Copying the nearest training clip:
    64.3 and 82.5 %; the commonest text: 85.0 and 93.9 %. In French alone (beside=()) 300 steps of the first stage
    gave letters of CER 54.9 % and WER 81.7 %.

    Args:
        folder: Where the run is written; the first stage goes to letters/ in it.
        language: What is tested, and trained: fr, es, ca …
        beside: Languages that are trained too; other people's voices, and words spelled alike.
        steps: Optimiser steps of the second stage.
        batch_size: Clips a step.
        lr: Peak learning rate of LoRA; the connector takes a fifth of it.
        letter_steps: Optimiser steps of the first stage, of twice as many clips.
        seed: Of the weights' start and the order.
        limit: At most so many clips a language and split, for a try.
        cache: Folder of the feature cache.
        progress: Show the preflight and a progress bar.
    """
    torch.manual_seed(seed)
    model = smol_listener()
    features = FeatureCache(cache or cache_folder() / "features")
    train = [clip for one in (language, *beside) for clip in clips("train", one, limit) if short(clip)]
    letters = sorted({letter for clip in train for letter in normalised(clip.fields["text"])})
    objective = Spelling(letter_vectors(model.backbone, letters))
    heard = cached(model, features, train, progress)
    first = Run(
        name="speech_letters",
        folder=Path(folder) / "letters",
        system="smol_listener",
        model=model,
        data=range(len(train)),
        collate=LetterCollator(train, heard, letters),
        objectives=[objective],
        weights={"spelling": 1.0, "norm": 0.1},
        freeze=["*", "!projectors"],
        batch_size=min(2 * batch_size, len(train)),
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
    test = SpeechTest.of(language, limit, model, features, letters, objective, progress)
    renderer = Renderer(model.backbone.tokenizer, model.lengths(), model.template)

    def evaluate(trained: torch.nn.Module) -> dict[str, GeneratedScore]:
        assert isinstance(trained, MultimodalLM)
        return {f"speech.{language}.{name}": score for name, score in test.scores(trained).items()}

    return Run(
        name="speech",
        folder=folder,
        system="smol_listener",
        model=model,
        data=range(len(train)),
        collate=ConversationCollator.with_cache(
            train, renderer, dict(model.encoders.items()), features, progress=progress
        ),
        objectives=[NextToken()],
        freeze=["encoders"],
        batch_size=min(batch_size, len(train)),
        steps=steps,
        lr=lr,
        part_lr={"projectors.*": lr / 5},
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
                fields={"text": text},
            )
        )
    return found[:limit]


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
    letters: Sequence[str]
    spelling: Spelling

    @classmethod
    def of(
        cls,
        language: str,
        limit: int | None,
        model: MultimodalLM,
        cache: FeatureCache,
        letters: Sequence[str],
        spelling: Spelling,
        progress: bool,
    ) -> SpeechTest:
        samples, known = clips("test", language, limit), clips("train", language, limit)
        features, others = (cached(model, cache, some, progress) for some in (samples, known))
        seen = [one.fields["text"] for one in known]
        copied = nearest_copy(features.pooled(), others.pooled(), seen)
        return cls(samples, features, seen, copied, letters, spelling)

    def scores(self, model: MultimodalLM) -> dict[str, GeneratedScore]:
        """ "WER" and "CER" of greedy decoding, and "letters.WER", "letters.CER" of the connector without the language
        model, the likeliest letter a token.
        """
        assistant = Assistant(model)

        def answer(conversations: Sequence[Sequence]) -> list[str]:
            return assistant.answers([one[:1] for one in conversations], max_tokens=MOST)

        conversations = [sample.columns["messages"] for sample in self.samples]
        rates = ErrorRates([sample.fields["text"] for sample in self.samples])
        kinds = ["speech"] * len(self.samples)
        blind = Blind.of(answer, conversations, [sample.id for sample in self.samples], shuffles=1)  # type: ignore[arg-type]
        blind = blind.with_majority(kinds, ["speech"] * len(self.seen), self.seen).with_copy(self.copied)
        found = beside_blind(rates, answer(conversations), blind)  # type: ignore[arg-type]
        copied = rates(self.copied)
        for name, measured in rates(self.spelled(model)).items():
            found[f"letters.{name}"] = score_of(measured, Baselines(copy=copied[name]))
        return found

    def spelled(self, model: MultimodalLM, batch_size: int = 32) -> list[str]:
        """What the connector's tokens spell, a text a clip."""
        texts = []
        for start in range(0, len(self.samples), batch_size):
            rows = range(start, min(start + batch_size, len(self.samples)))
            with torch.no_grad():
                logits, mask = self.spelling.logits(model, self.features[rows])
            texts += [spelled(row[real], self.letters) for row, real in zip(logits, mask)]
        return texts
