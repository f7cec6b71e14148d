"""`Predictor`: a fusion network, ready to answer its tasks about rows of media, of which any may be missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from sensorium.data.batch import meaning_ids
from sensorium.data.quarantine import Quarantine
from sensorium.data.sample import Batch, Column, Sample
from sensorium.facade.shared_space import SharedSpace
from sensorium.media import Media, MediaError, Source
from sensorium.models.fusion_network import FusionNetwork, FusionOutput
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.models.prompt_learning import PromptLearning
from sensorium.tasks import AnyOf, OneOf, Task

Given = Media | Source | bytes | str | os.PathLike
ROWS = 256  # decoded and answered at a time
ENCODED = 32  # rows of a batch of an encoder


@dataclass(frozen=True)
class Prediction:
    """What a model says of one row.

    answers:       by task: a label, a list of labels, a number, or a box (cx, cy, w, h in shares of the picture)
    probabilities: by task, by label; of tasks without labels there is none
    seen:          the columns that it is said from
    gates:         by column, how much each counted, where the fusion says so; else None
    """

    answers: Mapping[str, Any]
    probabilities: Mapping[str, Mapping[str, float]]
    seen: tuple[str, ...]
    gates: Mapping[str, float] | None = None


class Predictor:
    """A trained `FusionNetwork` or `PromptLearning`, ready to use: rows of media in, an answer a task out.

        predictor = sensorium.load("runs/fusion")
        [said] = predictor.predict([{"image": "face.png", "text": "What a day!"}])
        said.answers["sentiment"], said.probabilities["sentiment"]["positive"]

    columns: modality by column, what a row may have
    tasks:   what it answers
    """

    def __init__(self, model: FusionNetwork | PromptLearning, source: str = "") -> None:
        self.model, self.source = model.eval(), source
        self.columns = {name: str(encoder.modality) for name, encoder in model.by_column.items()}
        self.tasks: tuple[Task, ...] = model.tasks

    def predict(
        self, rows: Sequence[Mapping[str, Given | None] | Sample], progress: bool = False
    ) -> list[Prediction]:
        """N rows -> N predictions, in the order given.

        rows: `Sample`s, or media by column: decoded, a `Source`, bytes, or a path (a `str` is words where the column
              is one of text, else a path). A column that is missing or None is not there

        Raises `MediaError` for media that cannot be decoded; ValueError for a row with none of the model's columns,
        and for a column that the model does not have.
        """
        if isinstance(rows, Mapping | Sample):
            raise ValueError("predict: got one row; expected a list of rows, predict([row])")
        samples = [row if isinstance(row, Sample) else self._sample(row, n) for n, row in enumerate(rows)]
        predictions = []
        for sample, found in zip(samples, self.stream(samples, progress=progress), strict=True):
            if found is None:
                raise ValueError(
                    f"row {sample.id}: got {', '.join(sample.columns) or 'no media'}; expected one or more of "
                    f"{self.reads()}"
                )
            predictions.append(found)
        return predictions

    def stream(
        self, samples: Sequence[Sample], quarantine: Quarantine | None = None, progress: bool = False
    ) -> Iterator[Prediction | None]:
        """A prediction a record, None for one with nothing that the model reads; some hundred are held at a time.

        quarantine: where media that cannot be decoded goes, and its row is answered from its other columns; None
                    raises the `MediaError`
        """
        with tqdm(total=len(samples), desc="predicting", unit="", disable=not progress) as bar:
            for start in range(0, len(samples), ROWS):
                some = samples[start : start + ROWS]
                yield from self._answered(some, quarantine)
                bar.update(len(some))

    @property
    def what(self) -> Literal["tokens", "pooled"]:
        """Which Features of an encoder it reads."""
        joins = isinstance(self.model, FusionNetwork) and self.model.fusion.reads_tokens
        return "tokens" if joins else "pooled"

    def space(self) -> SharedSpace | None:
        """The one encoder of a network that joins nothing (ViT), or the space that prompts were learned in.

        To embed and search with; None for all others.
        """
        if isinstance(self.model, PromptLearning):
            return SharedSpace(self.model.space, self.source)
        if len(self.columns) != 1 or len(self.model.projectors):
            return None
        return SharedSpace(JointEmbedding(self.model.by_column), self.source)

    def reads(self) -> str:
        """The columns in words: "image, text, voice (audio)"."""
        return ", ".join(
            name if name == modality else f"{name} ({modality})" for name, modality in self.columns.items()
        )

    def _answered(self, samples: Sequence[Sample], quarantine: Quarantine | None) -> list[Prediction | None]:
        columns = {name: self._column(name, samples, quarantine) for name in self.columns}
        batch = Batch(tuple(s.id for s in samples), columns, meaning_ids([() for _ in samples]), {})
        with torch.no_grad():
            output: FusionOutput = self.model(batch)
        answers = {task.name: task.answers(output.outputs[task.name]) for task in self.tasks}
        probabilities = {
            task.name: [
                dict(zip(task.labels, row, strict=True))
                for row in task.probabilities(output.outputs[task.name]).tolist()
            ]
            for task in self.tasks
            if isinstance(task, OneOf | AnyOf)
        }
        gates = None if output.fused is None else output.fused.gates
        found: list[Prediction | None] = []
        for row in range(len(samples)):
            seen = tuple(name for name in self.columns if columns[name].present[row])
            if not seen:
                found.append(None)
                continue
            weighed = None if gates is None else dict(zip(self.columns, gates[row].tolist(), strict=True))
            found.append(
                Prediction(
                    {name: each[row] for name, each in answers.items()},
                    {name: each[row] for name, each in probabilities.items()},
                    seen,
                    weighed,
                )
            )
        return found

    def _column(self, name: str, samples: Sequence[Sample], quarantine: Quarantine | None) -> Column:
        """The Features of the media that these records have in one column."""
        encoder: Any = self.model.by_column[name]
        media, present = [], []
        for sample in samples:
            one = self._media(name, sample, quarantine) if name in sample.columns else None
            present.append(one is not None)
            if one is not None:
                media.append(one)
        here = torch.tensor(present, dtype=torch.bool)
        if not media:
            return Column(self.columns[name], {}, here)
        return Column(self.columns[name], encoder.encode(media, ENCODED, what=self.what), here)

    def _media(self, name: str, sample: Sample, quarantine: Quarantine | None) -> Media | None:
        declared = sample.modality.get(name, self.columns[name])
        if declared != self.columns[name]:
            raise ValueError(
                f"column {name!r} of {sample.id}: got {declared}; this model reads {self.columns[name]} there"
            )
        media: Any = sample.columns[name]
        if not isinstance(media, Source):
            return media
        try:
            decoded = media.decode()
        except MediaError as error:
            if quarantine is None:
                raise
            quarantine.add(sample.id, name, error)
            return None
        if quarantine is not None:
            quarantine.passed()
        return decoded

    def _sample(self, row: Mapping[str, Given | None], number: int) -> Sample:
        if unknown := sorted(set(row) - set(self.columns)):
            raise ValueError(f"row {number}: got the columns {', '.join(unknown)}; expected {self.reads()}")
        here = {name: self._given(name, media) for name, media in row.items() if media is not None}
        return Sample(str(number), here, self.columns)

    def _given(self, name: str, media: Given) -> Media | Source:
        modality = self.columns[name]
        if isinstance(media, bytes):
            return Source(modality, data=media)
        if isinstance(media, os.PathLike) or (isinstance(media, str) and modality != "text"):
            return Source(modality, path=Path(media))
        return media
