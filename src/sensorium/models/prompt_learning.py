"""`PromptLearning`: labels told apart by their words, in prompts of which all but the label's name is learned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sensorium.features import Features
from sensorium.models.fusion_network import BatchLike, FusionOutput
from sensorium.models.joint_embedding import JointEmbedding
from sensorium.tasks import OneOf


class PromptLearning(nn.Module):
    """CoOp (Zhou et al. 2022, arXiv:2109.01134): learned vectors stand before every label's name.

        [v1] … [vM] + "food drink" ──► text encoder ──► head ──► / |·| ──┐
        [v1] … [vM] + "objects" ─────► text encoder ──► head ──► / |·| ──┼──► scale · cosine ──► logits float[B, C]
        picture ─────────────────────► its encoder ──► head ──► / |·| ──┘
                 v: float[M, D], all that learns; the space stays as it is (the paper's equations 2 and 3)

    space:     a `JointEmbedding` whose text column is a `TransformersTextEncoder`; it is frozen
    task:      one label of several; "-" and "_" in labels are read as spaces
    context:   how many vectors, drawn from N(0, 0.02²) as in section 4; or words, whose embeddings they start from:
               then, before training, every label's vector is that of the plain prompt "<words> <label>"
    per_label: every label gets vectors of its own (the paper's class-specific context, "CSC")
    column, text: of the space: what is classified, and what reads the prompts

    `model(batch) -> FusionOutput` as of a `FusionNetwork`, so that what trains, predicts and scores those does so here.
    Raises ValueError for a column that the space lacks, and for a context that leaves no room for labels.
    """

    _slots: Tensor  # int64[M], or [C·M] with vectors of each label's own

    def __init__(
        self,
        space: JointEmbedding,
        task: OneOf,
        context: int | str = 16,
        per_label: bool = False,
        column: str = "image",
        text: str = "text",
    ) -> None:
        super().__init__()
        if missing := [name for name in (column, text) if name not in space.columns]:
            raise ValueError(
                f"columns {missing}: the space has {', '.join(space.columns)}; name two of these"
            )
        self.space = space.requires_grad_(False)
        self.task, self.column, self.text = task, column, text
        encoder: Any = space.encoders[text]
        self._table = _name_of(encoder, encoder.model.get_input_embeddings().weight)
        names = [label.replace("-", " ").replace("_", " ") for label in task.labels]
        words = context if isinstance(context, str) else _filler(encoder, names, context)
        places, inputs = _prompts(encoder, words, names)
        # The rows of the table that the vectors take over for the length of a forward pass: none that a prompt needs.
        used = set(inputs["ids"].flatten().tolist()) | set(encoder.tokenizer.all_special_ids)
        free = [row for row in range(self._rows().shape[0]) if row not in used]
        count = len(places) * (len(names) if per_label else 1)
        if count > len(free):
            raise ValueError(
                f"context: got {count} vectors; the vocabulary has {len(free)} words that are not in use"
            )
        slots = torch.tensor(free[:count]).view(-1, len(places))
        ids = inputs["ids"].clone()
        ids[:, places] = slots.expand(len(names), -1)
        self.register_buffer("_slots", slots.flatten(), persistent=False)
        self._inputs = {"ids": ids, "mask": inputs["mask"]}
        if isinstance(context, str):
            start = self._rows()[inputs["ids"][0, places]].detach().clone()
        else:
            start = 0.02 * torch.randn(len(places), self._rows().shape[1])
        self.context = nn.Parameter(start.repeat(len(slots), 1))

    @property
    def tasks(self) -> tuple[OneOf, ...]:
        return (self.task,)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoder of what is classified, for what prepares and caches media."""
        return {self.column: self.space.encoders[self.column]}

    def label_features(self) -> Features:
        """What the text encoder makes of every label's prompt: Features of C rows."""
        rows = self._rows()
        table = rows.index_copy(0, self._slots, self.context.to(rows.dtype))
        inputs = {name: value.to(rows.device) for name, value in self._inputs.items()}
        found: Features = functional_call(self.space.encoders[self.text], {self._table: table}, (inputs,))
        return found

    def label_vectors(self) -> Tensor:
        """float32[C, D] of unit length: every label in the space."""
        return self.space.embed(self.text, self.label_features())

    def forward(self, batch: BatchLike, without: Collection[str] = ()) -> FusionOutput:
        """without: the column to hide; labels are then all alike."""
        if unknown := sorted(set(without) - {self.column}):
            raise ValueError(f"without {unknown}: this model has the column {self.column}")
        given = batch.columns[self.column]
        seen = given.present & (self.column not in without)
        labels = self.label_vectors()
        logits = labels.new_zeros(len(given.present), len(labels))
        if seen.any():
            logits[given.present] = (
                self.space.scale() * self.space.embed(self.column, given.inputs) @ labels.T
            )
        return FusionOutput({self.task.name: logits}, {}, None, {}, {self.column: seen})

    def _rows(self) -> Tensor:
        encoder: Any = self.space.encoders[self.text]
        rows: Tensor = encoder.model.get_input_embeddings().weight
        return rows


def _prompts(encoder: Any, words: str, names: Sequence[str]) -> tuple[list[int], Mapping[str, Tensor]]:
    """The places of the context's tokens, alike in every prompt, and the prepared prompts "<words> <name>"."""
    inputs: Mapping[str, Tensor] = encoder.prepare([f"{words} {name}" for name in names])
    if bool(inputs["truncated"].any()):
        raise ValueError(
            f"context: {words!r} leaves no room for {max(names, key=len)!r} in {encoder.limit} tokens; give fewer"
        )
    tokenizer = encoder.tokenizer
    alone = tokenizer(words, add_special_tokens=False)["input_ids"]
    first = inputs["ids"][0].tolist()
    starts = [at for at in range(len(first)) if first[at : at + len(alone)] == alone]
    places = list(range(starts[0], starts[0] + len(alone))) if starts else []
    if not places or not bool((inputs["ids"][:, places] == inputs["ids"][0, places]).all()):
        raise ValueError(
            f"context: got {words!r}; expected words that become tokens of their own before every label"
        )
    return places, inputs


def _filler(encoder: Any, names: Sequence[str], count: int) -> str:
    """Words of one token each that keep `count` places free, as the paper's "X X X X"."""
    if count < 1:
        raise ValueError(f"context: got {count} vectors; expected at least 1")
    for word in ("a", "the", "x", "X", "of"):
        text = " ".join([word] * count)
        if len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"]) == count:
            return text
    raise ValueError(
        "context: this tokenizer has none of the words a, the, x, of as one token; give words of your own"
    )


def _name_of(encoder: nn.Module, weight: Tensor) -> str:
    return next(name for name, parameter in encoder.named_parameters() if parameter is weight)
