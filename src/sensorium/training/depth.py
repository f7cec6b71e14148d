"""What learns how fast, and from when on, by its depth in a pretrained part.

model, the name of a part of it -> its parameters by depth -> `Run(part_lr=…)`, `Run(thaw=…)`

    stem, embeddings │ layer 1 │ layer 2 │ … │ layer L and what follows it │ heads
    ◄── smaller rates, later                          larger rates, sooner ──►

The layers near the input know what all pictures or texts have in common, those near the output what they were trained
for: the former need to change less (Howard & Ruder 2018, ULMFiT, arXiv:1801.06146, section 3.2).
"""

from __future__ import annotations

from torch import nn

from sensorium.training.run import TrainingError


def depths(model: nn.Module, part: str) -> list[list[str]]:
    """Patterns over the parameters of `model.<part>` by depth: before its layers, then every layer.

    Its layers are the longest list (`nn.ModuleList`) that lies in no other. What stands before it (embeddings, a stem,
    what modules hold themselves: class tokens, positions) is depth 0; what follows it goes with the last layer (a norm,
    a last convolution). Depths without parameters are left out.

    Raises TrainingError for a part without such a list.
    """
    root = model.get_submodule(part)
    lists = [name for name, module in root.named_modules() if isinstance(module, nn.ModuleList)]
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise TrainingError(
            f"{part or 'the model'} ({type(root).__name__}) has no list of layers (nn.ModuleList), so no depths; name "
            "what learns, and how fast, with part_lr={pattern: rate} and thaw={pattern: step}"
        )
    layers: list[nn.Module] = [root.get_submodule(name) for name in outer]
    place = max(range(len(outer)), key=lambda n: len(layers[n]))  # type: ignore[arg-type]
    before: list[str] = []
    after: list[str] = []
    here, name = root, part
    for word in outer[place].split("."):
        before += [_below(name, own) for own, _ in here.named_parameters(recurse=False)]
        side = before
        for child_name, child in here.named_children():
            if child_name == word:
                side = after
            elif any(True for _ in child.parameters()):
                side.append(_below(name, child_name))
        here, name = here.get_submodule(word), _below(name, word)
    found = [
        before,
        *(
            [_below(name, own)]
            for own, child in here.named_children()
            if any(True for _ in child.parameters())
        ),
    ]
    found[-1] = [*found[-1], *after]
    return [patterns for patterns in found if patterns]


def layer_rates(model: nn.Module, part: str, lr: float, decay: float) -> dict[str, float]:
    """`part_lr` of a run: the layers below the heads learn at lr · decay, lr · decay², …, the lowest most slowly.

    As BEiT's layer-wise decay (Bao et al. 2021, arXiv:2106.08254, appendix), whose heads have the rate `lr` itself;
    ULMFiT's discriminative rates are decay = 1 / 2.6 (section 3.2).

    Raises TrainingError for a decay that is not above 0 and up to 1.
    """
    if not 0 < decay <= 1:
        raise TrainingError(f"decay={decay}; expected a factor a layer, above 0 and up to 1, such as 0.75")
    groups = depths(model, part)
    return {
        pattern: lr * decay ** (len(groups) - depth)
        for depth, patterns in enumerate(groups)
        for pattern in patterns
    }


def gradually(model: nn.Module, part: str, every: int) -> dict[str, int]:
    """`thaw` of a run: the heads learn alone for `every` steps, then the last layer too, then the one before it, …

    Gradual unfreezing (Howard & Ruder 2018, section 3.3; they open one layer an epoch). Raises TrainingError for less
    than one step.
    """
    if every < 1:
        raise TrainingError(f"every={every}; expected the steps between two layers' openings, at least 1")
    groups = depths(model, part)
    return {
        pattern: every * (len(groups) - depth)
        for depth, patterns in enumerate(groups)
        for pattern in patterns
    }


def _below(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child
