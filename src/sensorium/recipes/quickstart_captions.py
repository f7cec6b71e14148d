"""The quickstart's second half, continued: unseen pictures are named and described with retrieval."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sensorium.data import bundled
from sensorium.data.feature_cache import FeatureCache
from sensorium.data.sample import Sample
from sensorium.evaluation import generated
from sensorium.evaluation.generated import GeneratedScore
from sensorium.media import Source
from sensorium.models.multimodal_lm import MultimodalLM
from sensorium.recipes.caption_tests import Belief, CaptionTest, Offered, described_scores
from sensorium.recipes.captions import (
    DRAWINGS,
    NAMES,
    STAMPS,
    Lookups,
    cached_collator,
    for_tests,
    pictures,
    spread,
    test_items,
    unseen_drawings,
)
from sensorium.recipes.retrieval_tests import NameTest, Rule
from sensorium.systems import system_builder
from sensorium.systems.smol_captioner import PROMPTS
from sensorium.training.checkpoint import load_model
from sensorium.viewing.report import Asked, Example, Examples, Said, Shown
from sensorium.weights import shipped

TESTED = (
    400  # pictures of each at most: all 193 unseen stamps, and as many names as the run that made the weights
)
K = 5
# As the run that made the weights chose them on validation pictures.
NAMED_BY, DESCRIBED_BY = Rule(10.0, mean=True), Belief(10.0, 0.0)
RULES = {NAMES: NAMED_BY, STAMPS: DESCRIBED_BY}
TITLES = {
    NAMES: "Names of drawings by an artist never seen",
    STAMPS: "Captions of stamps that show things never seen",
}
MADE = (
    "By weights that come with the repository (weights/smol_captioner), as `sensorium train captions` makes them; "
    "nothing is trained here."
)
FORCED = {(NAMES, "writes_with_retrieval")}  # says whether the model would write the name, not what else
SHOWN = 6  # of each in the report
PRINTED = 4  # captions in the terminal
BESIDE = {  # of captions; the consensus without the language model is what is chosen, its belief being 0
    "nearest": "nearest picture's",
    "retrieval": "retrieval alone",
    "ranks_retrieved": "language model alone",
    "writes_with_retrieval": "language model writes",
}


@dataclass(frozen=True)
class Captioned:
    """What was said of unseen pictures, as captions.json keeps it.

    scores: as in metrics.json
    said:   by test, for each picture {"id": of its sample, "right": its caption, "nearest": that of the nearest
            training picture, and what each of several said, by name: "chooses" is the model with retrieval}
    """

    scores: dict[str, GeneratedScore]
    said: dict[str, list[dict[str, str]]]

    def print(self, console: Console) -> None:
        """What is measured beside copying the nearest training picture's caption, and a few captions."""
        shown = {name: score for name, score in self.scores.items() if "among_retrieved" not in name}
        generated.table(
            shown, title="\nNames and captions of unseen pictures, with retrieval", console=console
        )
        console.print(MADE, style="dim", highlight=False, soft_wrap=True)
        for one in some(self.said[STAMPS], PRINTED):
            who = ("right", "chooses", "writes_with_retrieval", "nearest")
            right, chosen, written, nearest = (escape(one[each]) for each in who)
            beside = f"the language model writes: {written} The nearest training picture has: {nearest}"
            line = f"  {right} [bold]{chosen}[/] ({beside})"
            console.print(line, soft_wrap=True, highlight=False)

    def examples(self) -> list[Examples]:
        """For the report, with their pictures."""
        chosen = {name: some(said, SHOWN) for name, said in self.said.items()}
        wanted = {one["id"] for said in chosen.values() for one in said}
        samples = {s.id: s for s in (*bundled.emoji(), *bundled.stamps(language=None)) if s.id in wanted}
        return [
            Examples(
                TITLES[name],
                [Example(Shown(picture=picture(samples[one["id"]])), [asked(name, one)]) for one in said],
                f"Evenly spread over the test pictures. {MADE}",
            )
            for name, said in chosen.items()
        ]


def asked(name: str, one: dict[str, str]) -> Asked:
    """What was asked of one picture and what was said of it. Names are right or wrong; nobody counts captions."""

    def answer(text: str) -> Said:
        right = bundled.normalised(text) == bundled.normalised(one["right"])
        return Said(text, right if name == NAMES else None)

    beside = {heading: answer(one[who]) for who, heading in BESIDE.items() if who in one}
    return Asked(
        PROMPTS["name" if name == NAMES else "caption"], one["right"], answer(one["chooses"]), beside
    )


def picture(sample: Sample) -> Any:
    column = sample.columns["image"]
    return column.decode() if isinstance(column, Source) else column


def some(said: list[dict[str, str]], most: int) -> list[dict[str, str]]:
    """At most so many of them, evenly spread."""
    return spread(said, min(most, len(said)))


def name_and_caption(
    folder: Path, cache: Path, fresh: bool = False, tested: int = TESTED, limit: int | None = None
) -> Captioned:
    """Score the shipped captioner on pictures that neither it nor the retrieval has seen; once, unless `fresh`.

    folder: where captions.json is written. cache: folder of the features; the first half has filled it. tested:
    pictures of each test, evenly spread. limit: use so many things of emoji and of stamps
    """
    weights, file = shipped("smol_captioner"), folder / "captions.json"
    about = {
        "weights": hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest(),
        "rules": {name: str(rule) for name, rule in RULES.items()},
        "tests": [NAMES, STAMPS, DRAWINGS],
        "tested": tested,
        "limit": limit,
    }
    if not fresh and file.is_file():
        kept = json.loads(file.read_text("utf-8"))
        if kept["about"] == about:
            return Captioned({n: GeneratedScore(**s) for n, s in kept["scores"].items()}, kept["said"])
    found = scored(weights, cache, tested, limit)
    scores = {name: score.as_dict() for name, score in found.scores.items()}
    written = {"about": about, "scores": scores, "said": found.said}
    file.write_text(json.dumps(written, indent=1, ensure_ascii=False, allow_nan=False), "utf-8")
    return found


def scored(weights: Path, cache: Path, tested: int, limit: int | None) -> Captioned:
    model = load_model(weights, system_builder)
    assert isinstance(model, MultimodalLM)
    known, media = pictures(model, FeatureCache(cache), limit, progress=False)
    model, collate = for_tests(model).eval(), cached_collator(model, media)
    look = Lookups(known, K)
    scores: dict[str, GeneratedScore] = {}
    kept: dict[str, list[dict[str, str]]] = {}
    for name, every in test_items(look).items():
        items = spread(every, tested)
        test: NameTest | CaptionTest = (
            NameTest(name, items, rule=NAMED_BY, brief=True)
            if name == NAMES
            else CaptionTest(name, items, rule=DESCRIBED_BY, brief=True)
        )
        said = test.said(model, collate)
        scores |= test.scores(said)
        kept[name] = [
            {"id": known.samples[item.row].id, "right": item.answer, "nearest": item.found.nearest}
            | {who: texts[n] for who, texts in said.texts.items() if (name, who) not in FORCED}
            for n, item in enumerate(items)
        ]
    drawings = unseen_drawings(look)[DRAWINGS]  # by retrieval alone
    alone = Offered.without_model(drawings).consensus(DESCRIBED_BY)
    scores |= described_scores(DRAWINGS, drawings, {"retrieval_consensus": alone})
    return Captioned(scores, kept)
