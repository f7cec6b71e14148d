"""`FusionNetwork`: several encoders, one fusion, one head a task; any row may lack any modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sensorium.features import Features
from sensorium.tasks import Task


class BatchLike(Protocol):
    """What `forward` reads of a `data.Batch`."""

    @property
    def columns(self) -> Mapping[str, Any]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class FusionOutput:
    """What `FusionNetwork.forward` returns for B rows.

    outputs: by task float32[B, C], logits or numbers (see `Task`)
    parts:   by task, by branch float32[B, C]: each branch's own, before they are combined
    fused:   what the fusion made (`fusion.Fused`): branches, their presence, gates, attention
    columns: by column, the projected Features of B rows that went into the fusion
    present: by column bool[B], after modality dropout and `without`
    """

    outputs: dict[str, Tensor]
    parts: dict[str, dict[str, Tensor]]
    fused: Any
    columns: dict[str, Features]
    present: dict[str, Tensor]


class FusionNetwork(nn.Module):
    """Media of any modalities -> one answer a task.

        column ──► encoder ──► Features ──► projector ──┐
        column ──► encoder ──► Features ──► projector ──┼──► fusion ──► branches ──► head a task ──► combine ──► output
        column ──► encoder ──► Features ──► projector ──┘

    encoders:   by column name
    projectors: by column name, `Features -> Features` to the fusion's width; a column without one has it already
    fusion:     see `fusion.Fusion`; its columns are the encoders'
    tasks:      what is asked; each gets one linear head a branch
    drop:       share of the (row, column) pairs that training hides, never a row's last (modality dropout,
                Neverova et al. 2015, arXiv:1501.00102, section 4.3)
    stand_ins:  a learned vector stands for an absent column, which the fusion then sees as present
    uncertainty: a log variance a task is learned too, for `objectives.UncertaintyWeighted`

    Raises ValueError when columns, widths or task names do not fit.
    """

    def __init__(
        self,
        encoders: Mapping[str, Any],
        projectors: Mapping[str, Any],
        fusion: Any,
        tasks: Sequence[Task],
        *,
        drop: float = 0.0,
        stand_ins: bool = False,
        uncertainty: bool = False,
    ) -> None:
        super().__init__()
        if tuple(encoders) != tuple(fusion.columns):
            raise ValueError(
                f"encoders for {list(encoders)}, a fusion of {list(fusion.columns)}: name the same columns"
            )
        widths = {column: projectors.get(column, encoder).width for column, encoder in encoders.items()}
        if set(widths.values()) != {fusion.width}:
            raise ValueError(f"columns end in widths {widths}; expected the fusion's, {fusion.width}")
        if not tasks or len({task.name for task in tasks}) < len(tasks):
            raise ValueError(
                f"tasks: got {[task.name for task in tasks]}; expected different names, at least one"
            )
        if not 0 <= drop < 1:
            raise ValueError(f"drop: got {drop}; expected a share from 0 to less than 1")
        self.encoders = nn.ModuleDict(encoders)
        self.projectors = nn.ModuleDict(projectors)
        self.fusion, self.tasks, self.drop = fusion, tuple(tasks), drop
        self.heads = nn.ModuleDict(
            {
                task.name: nn.ModuleDict(
                    {branch: nn.Linear(fusion.out_width, task.width) for branch in fusion.branches}
                )
                for task in tasks
            }
        )
        self.stand_ins = (
            nn.ParameterDict({column: nn.Parameter(0.02 * torch.randn(fusion.width)) for column in encoders})
            if stand_ins
            else None
        )
        self.log_variances = (
            nn.ParameterDict({task.name: nn.Parameter(torch.zeros(())) for task in tasks})
            if uncertainty
            else None
        )

    @property
    def by_column(self) -> dict[str, Any]:
        """The encoders by column as a plain mapping, for what prepares and caches media."""
        return dict(self.encoders.items())

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.encoders)

    def forward(self, batch: BatchLike, without: Collection[str] = ()) -> FusionOutput:
        """without: columns to hide from every row, as if no row had them."""
        present = self._seen({name: batch.columns[name].present for name in self.columns}, without)
        columns = {name: self._column(name, batch.columns[name], present[name]) for name in self.columns}
        return self.answer(columns, present)

    def answer(self, columns: dict[str, Features], present: dict[str, Tensor]) -> FusionOutput:
        """From the projected Features of B rows, zeros where absent, on."""
        seen = present
        if self.stand_ins is not None:
            columns = {
                name: self._with_stand_in(name, found, present[name]) for name, found in columns.items()
            }
            seen = {name: torch.ones_like(here) for name, here in present.items()}
        fused = self.fusion(columns, seen)
        here = torch.stack([fused.present[branch] for branch in self.fusion.branches], 1)
        outputs, parts = {}, {}
        for task in self.tasks:
            heads: Any = self.heads[task.name]
            each = {name: heads[name](found.pooled).float() for name, found in fused.branches.items()}
            parts[task.name] = each
            outputs[task.name] = self.fusion.combine(
                torch.stack([each[branch] for branch in self.fusion.branches], 1), here, task
            )
        return FusionOutput(outputs, parts, fused, columns, present)

    def _column(self, name: str, column: Any, seen: Tensor) -> Features:
        """Features of B rows in the fusion's width, zeros with an empty mask where they are not to be seen."""
        B = len(column.present)
        rows = seen[column.present]  # of the P rows that the batch holds
        if not rows.any():
            zeros = next(self.heads.parameters()).new_zeros(B, 1, self.fusion.width)
            return Features(zeros, torch.zeros(B, 1, dtype=torch.bool, device=zeros.device), zeros[:, 0])
        inputs = column.inputs
        found = inputs if isinstance(inputs, Features) else self.encoders[name](inputs)
        if name in self.projectors:
            found = self.projectors[name](found)
        if not rows.all():  # indexing copies
            found = Features(found.tokens[rows], found.mask[rows], found.pooled[rows])
        if seen.all():
            return found
        T = found.tokens.shape[1]
        tokens = found.tokens.new_zeros(B, T, self.fusion.width)
        mask = torch.zeros(B, T, dtype=torch.bool, device=found.mask.device)
        pooled = found.pooled.new_zeros(B, self.fusion.width)
        tokens[seen], mask[seen], pooled[seen] = found.tokens, found.mask, found.pooled
        return Features(tokens, mask, pooled)

    def _seen(self, present: dict[str, Tensor], without: Collection[str]) -> dict[str, Tensor]:
        if unknown := sorted(set(without) - set(self.columns)):
            raise ValueError(f"without {unknown}: this model has the columns {', '.join(self.columns)}")
        here = torch.stack([present[name] & (name not in without) for name in self.columns], 1)
        if self.training and self.drop:
            kept = here & (torch.rand(here.shape, device=here.device) >= self.drop)
            lost = here.any(1) & ~kept.any(1)  # such a row keeps one column of its own, drawn by chance
            draws = torch.rand(here.shape, device=here.device).masked_fill(~here, -1.0)
            one = torch.zeros_like(here).scatter(1, draws.argmax(1, keepdim=True), True)
            here = torch.where(lost[:, None], one & here, kept)
        return {name: here[:, place] for place, name in enumerate(self.columns)}

    def _with_stand_in(self, name: str, found: Features, here: Tensor) -> Features:
        assert self.stand_ins is not None
        vector = self.stand_ins[name].to(found.pooled.dtype)
        pooled = torch.where(here[:, None], found.pooled, vector)
        first = torch.zeros_like(found.mask)
        first[:, 0] = True
        mask = torch.where(here[:, None], found.mask, first)
        alone = (first & ~here[:, None])[..., None]
        return Features(torch.where(alone, vector, found.tokens), mask, pooled)
