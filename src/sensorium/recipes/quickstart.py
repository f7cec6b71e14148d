"""The quickstart: train on the bundled data, score, index, draw, and say what to try next."""

from __future__ import annotations

import platform
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from sensorium import __version__, speed
from sensorium.backbones.causal import CausalBackbone
from sensorium.backbones.smollm2 import SMOLLM2
from sensorium.data import bundled
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.sample import Sample
from sensorium.encoders.efficientnet_lite import EFFICIENTNET_LITE0
from sensorium.encoders.text import MINILM
from sensorium.encoders.whisper import WHISPER_TINY, WhisperEncoder
from sensorium.evaluation import generated
from sensorium.evaluation.modality_gap import modality_gap
from sensorium.evaluation.retrieval import Right
from sensorium.evaluation.scores import Entry, Score, save, table
from sensorium.facade import SharedSpace
from sensorium.media import Audio, Source
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.recipes.bundled_tests import BundledTests, TestSet
from sensorium.recipes.image_text_audio import image_text_audio
from sensorium.recipes.open_words import class_names
from sensorium.recipes.quickstart_answers import SCENES, STEPS, Answered, train_and_ask
from sensorium.recipes.quickstart_captions import TESTED, Captioned, name_and_caption
from sensorium.retrieval.index import Index
from sensorium.training.loop import Trained, fit
from sensorium.viewing import figure, report
from sensorium.viewing.report import Gallery, Gap, Map, Search, Shown
from sensorium.weights import cache_folder, resolve

LANGUAGE = "fr"
SHOWN_TESTS = ("emoji.unseen_artist", "stamps.test")
SHOWN_QUERIES = 6  # of each kind in the report, drawn at random with a fixed seed
SHOWN_POINTS = 400  # of the embedding map
ANSWERS = 5
HEADLINE = (
    "emoji.unseen_artist.text_to_image.R@1",
    "emoji.unseen_things.text_to_image.R@1",
    "stamps.test.text_to_image.R@1",
    "stamps.test.audio_to_image.R@1",
    "scenes.unseen_artist.name.accuracy",
    "scenes.unseen_artist.left_of.accuracy",
    "scenes.unseen_artist.how_many.accuracy",
    "scenes.unseen_artist.there.accuracy",
    "names.unseen_artist.chooses.accuracy",
    "captions.unseen_things.chooses.ROUGE-L",
)
# Printed at the end; metrics.json and the report hold all.
PRINTED = (
    "text_to_image.R@",
    "image_to_text.R@1",
    "audio_to_image.R@",
    "text_and_audio_to_image",
    "zero_shot.top-1",
)


def quickstart(
    folder: Path,
    seed: int = 0,
    fresh: bool = False,
    limit: int | None = None,
    epochs: float = 10,
    answers: bool = True,
    steps: int = STEPS,
    scenes: int = SCENES,
    start: Path | None = None,
    captioned: int = TESTED,
) -> None:
    """Run it all into `folder`.

    answers: also train and ask the language model, and name and describe unseen pictures. limit, epochs, steps,
    scenes, captioned: for a quick look; the scores are then those of a quick look. start: another checkpoint for
    the language model to start from
    """
    console = Console()
    fetch_weights(console, answers)
    began = time.perf_counter()
    console.rule("[bold]Pictures, words and speech in one space")
    if fresh:
        shutil.rmtree(folder / "index", ignore_errors=True)
    cache = cache_folder() / "features"
    run = image_text_audio(folder, seed=seed, language=LANGUAGE, limit=limit, epochs=epochs, cache=cache)
    trained = fit(run, resume=not fresh)
    scores = {name: Score(**entry) for name, entry in trained.scores.items()}
    assert isinstance(trained.model, JointEmbedding)
    space = SharedSpace(trained.model, str(folder.resolve()))

    console.rule("[bold]Index over the test pictures")
    samples = unseen_pictures(limit)
    index = Index.create(folder / "index", space, exist_ok=True)
    index.add(samples, columns=["image"])
    queries = write_examples(folder / "examples", samples)
    tests = BundledTests.prepare(
        trained.model, FeatureCache(cache), SHOWN_TESTS, language=LANGUAGE, limit=limit, progress=False
    )
    searched = time.perf_counter() - began

    answered, described = None, None
    if answers:
        console.rule("[bold]A language model that sees")
        answered = train_and_ask(folder / "answers", folder / "examples", seed, fresh, steps, scenes, start)
        console.rule("[bold]Names and captions of unseen pictures")
        with console.status("choosing among what similar pictures are called"):
            described = name_and_caption(folder, cache, fresh, captioned, limit)
        everything: dict[str, Entry] = {**scores, **answered.scores, **described.scores}
        save(folder / "metrics.json", everything)

    console.rule("[bold]Report")
    seconds = (searched, time.perf_counter() - began)
    page = write_report(folder, trained, scores, tests, answered, described, seconds)
    shown = {name: score for name, score in scores.items() if any(part in name for part in PRINTED)}
    table(shown, title="Searching (all scores: metrics.json)")
    console.print(f"\n{searched:.0f} seconds. Search the test pictures:")
    for kind, query in queries.items():
        console.print(
            f"  sensorium search {folder / 'index'} --{kind} {query}", soft_wrap=True, highlight=False
        )
    if answered is not None:
        generated.table(answered.scores, title="\nAnswers about scenes by an artist never seen")
        console.print(f"\n{seconds[1] - searched:.0f} seconds. It was asked about three test pictures:")
        for picture, question, answer, right in answered.asked:
            mark = "right" if answer == right else f"right: {right}"
            console.print(
                f"  {picture}: {question} [bold]{answer}[/] ({mark})", soft_wrap=True, highlight=False
            )
        picture, question, *_ = answered.asked[0]
        console.print("Ask it yourself, once or in a conversation:")
        ask = f'sensorium ask {folder / "answers"} "{question}" --image {picture}'
        console.print(f"  {ask}\n  sensorium chat {folder / 'answers'}", soft_wrap=True, highlight=False)
    if described is not None:
        described.print(console)
    console.print("\nSearch, ask and compare in a browser, or serve it to programs:")
    console.print(f"  sensorium serve {folder}", soft_wrap=True, highlight=False)
    console.print(f"\nLook at {page}")


def fetch_weights(console: Console, answers: bool) -> None:
    """Fetch and convert once what the encoders and the language model need, before the clock starts."""
    for source in (EFFICIENTNET_LITE0, MINILM, WHISPER_TINY, *((SMOLLM2,) if answers else ())):
        with console.status(f"weights: {source}"):
            resolve(source)
    WhisperEncoder.pretrained()  # converts its file, once
    if answers:
        with console.status("converting SmolLM2, once"):
            CausalBackbone.pretrained()
        class_names()


def unseen_pictures(limit: int | None = None) -> list[Sample]:
    """What the index holds: pictures that were not trained on, with their captions as fields."""
    samples = [*bundled.emoji(None, [bundled.UNSEEN_ARTIST]), *bundled.stamps("test", None)][:limit]
    return [
        Sample(
            id=sample.id,
            columns=sample.columns,
            modality=sample.modality,
            meanings=sample.meanings,
            fields={"data": sample.id.split("/")[0]},
        )
        for sample in samples
    ]


def write_examples(folder: Path, samples: list[Sample]) -> dict[str, str]:
    """Files to search by: {"text": words, "image": path, "audio": path}, as typed after the option."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = next((s for s in bundled.emoji("train", ["noto"]) if s.columns["text"] == "octopus"), None)
    spoken = next((s for s in bundled.stamps("test", LANGUAGE) if "audio" in s.columns), None)
    examples = {"text": '"a cat with hearts in its eyes"'}
    for kind, sample, suffix in (("image", picture, "webp"), ("audio", spoken, "ogg")):
        if sample is None:
            continue
        source = sample.columns[kind]
        assert isinstance(source, Source)
        path = (
            folder
            / f"{str(sample.columns['text']).split(',')[0].replace(' ', '-').strip('.').lower()}.{suffix}"
        )
        path.write_bytes(source.read())
        examples[kind] = str(path)
    return examples


def write_report(
    folder: Path,
    trained: Trained,
    scores: dict[str, Score],
    tests: BundledTests,
    answered: Answered | None,
    described: Captioned | None,
    seconds: tuple[float, float],
) -> Path:
    """report.html, and searches.png: the first searches as one picture. seconds: of the first half, of both."""
    model = trained.model
    assert isinstance(model, JointEmbedding)
    said = {**(answered.scores if answered else {}), **(described.scores if described else {})}
    artist, stamps = (tests.sets[name] for name in SHOWN_TESTS)
    galleries = [
        Gallery("Words find drawings by an artist never seen", searches(artist, model, "text"), AT_RANDOM),
        Gallery("Words find stamps never seen", searches(stamps, model, "text"), AT_RANDOM),
    ]
    if "audio" in stamps.cached:
        galleries.append(
            Gallery("French sentences find stamps never seen", searches(stamps, model, "audio"), AT_RANDOM)
        )
    figure.save(
        folder / "searches.png",
        [gallery.searches[0] for gallery in galleries] + list(galleries[0].searches[1:3]),
    )
    facts = {
        "command": "sensorium quickstart",
        "seconds": f"{seconds[0]:.0f} for searching, {seconds[1] - seconds[0]:.0f} for all answers; features are kept",
        "machine": f"{platform.machine()}, {speed.describe()['CPUs']}, {speed.describe()['inference dtype']} features",
        "version": f"sensorium {__version__}",
        "checkpoint": trained.checkpoint,
        **({"checkpoint that answers": answered.checkpoint} if answered else {}),
        **({"weights that name and describe": "weights/smol_captioner, as shipped"} if described else {}),
        "training data": "emoji by four artists and stamps with English captions; the stamps also spoken in French",
        "test data": "an unseen artist, unseen emoji, unseen stamps: datasets/emoji and datasets/stamps",
    }
    return report.write(
        folder / "report.html",
        title="Pictures, words and speech in one space",
        lead="Frozen EfficientNet-Lite0, MiniLM and Whisper encoders, bound by heads trained on two small data sets"
        + ("; and SmolLM2, which answers questions about pictures." if answered else "."),
        facts=facts,
        history=folder / "history.jsonl",
        scores=scores,
        headline=[name for name in HEADLINE if name in scores or name in said],
        galleries=galleries,
        maps=[embedding_map(stamps, model)],
        gaps=gaps(tests, model),
        generated=said,
        examples=[*([answered.examples] if answered else []), *(described.examples() if described else [])],
    )


AT_RANDOM = "Queries drawn at random."


def searches(test: TestSet, model: JointEmbedding, column: str) -> list[Search]:
    """Random queries of a column and their nearest pictures."""
    queries, pictures = test.embedded(model, column), test.embedded(model, "image")
    asked, shown = test.rows(column), test.rows("image")
    right = Right.between(queries.meanings, pictures.meanings)
    ends = np.cumsum(right.counts)
    found = []
    for row in np.random.default_rng(0).permutation(np.flatnonzero(right.counts))[:SHOWN_QUERIES]:
        cosines = pictures.vectors @ queries.vectors[row]
        answers = set(right.columns[ends[row] - right.counts[row] : ends[row]].tolist())
        order = np.argsort(-cosines, kind="stable")
        place = next(n for n, item in enumerate(order, 1) if int(item) in answers)
        found.append(
            Search(
                shown_query(asked[row], column),
                [
                    Shown(
                        text=str(shown[item].columns["text"]),
                        picture=decoded(shown[item], "image"),
                        right=int(item) in answers,
                        score=float(cosines[item]),
                    )
                    for item in order[:ANSWERS]
                ],
                note=f"first right answer at rank {place} of {len(order):,}",
            )
        )
    return found


def shown_query(sample: Sample, column: str) -> Shown:
    words = str(sample.columns["text"])
    if column == "audio":
        sound = decoded(sample, "audio")
        assert isinstance(sound, Audio)
        return Shown(text=f"spoken; its English caption: {words}", sound=sound)
    return Shown(text=words)


def decoded(sample: Sample, column: str) -> Any:
    source = sample.columns[column]
    return source.decode() if isinstance(source, Source) else source


def embedding_map(test: TestSet, model: JointEmbedding) -> Map:
    """Pictures, words and speech of one test set, seen from above."""
    vectors, groups, labels, pictures = [], [], [], []
    rng = np.random.default_rng(0)
    for column in test.cached:
        embedded, samples = test.embedded(model, column), test.rows(column)
        rows = np.sort(rng.permutation(len(samples))[: SHOWN_POINTS // len(test.cached)])
        vectors.append(embedded.vectors[rows])
        groups += [column] * len(rows)
        labels += [str(samples[row].columns["text"]) for row in rows]
        pictures += [decoded(samples[row], "image") if column == "image" else None for row in rows]
    return Map("Test stamps in the space", np.concatenate(vectors), groups, labels, pictures)


def gaps(tests: BundledTests, model: JointEmbedding) -> list[Gap]:
    """The modality gap of the unseen artist's pictures and words, and of the stamps' pictures and speech."""
    found = []
    for name, second in ((SHOWN_TESTS[0], "text"), (SHOWN_TESTS[1], "audio")):
        test = tests.sets[name]
        if second not in test.cached:
            continue
        pictures, others = test.embedded(model, "image"), test.embedded(model, second)
        right = Right.between(pictures.meanings, others.meanings)
        pairs = np.stack([np.repeat(np.arange(len(right.counts)), right.counts), right.columns], 1)
        numbers = modality_gap(pictures, others).as_dict()
        found.append(Gap(name, pictures.vectors, others.vectors, pairs, ("image", second), numbers))
    return found
