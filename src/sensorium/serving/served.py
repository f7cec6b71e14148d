"""`Served`: what a server serves, by name: checkpoints and indexes, each behind its lane.

["runs/quickstart", "voices=runs/voices"] ──open──► models by name, indexes by name ──► asked by many at once ──► drain
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sensorium.facade import Assistant, Matcher, Predictor, load
from sensorium.retrieval.index import SETTINGS as INDEX
from sensorium.retrieval.index import made_by, model_of
from sensorium.serving.assistant import ServedAssistant, Written
from sensorium.serving.batching import Gate, Lane
from sensorium.serving.indexes import NewRow, ServedIndex
from sensorium.serving.predictor import ServedPredictor
from sensorium.serving.settings import Settings
from sensorium.serving.space import ServedSpace

__all__ = [
    "NewRow",
    "Served",
    "ServedAssistant",
    "ServedIndex",
    "ServedModel",
    "ServedPredictor",
    "ServedSpace",
    "UnknownModel",
    "Written",
]

ServedModel = ServedAssistant | ServedSpace | ServedPredictor
Thing = TypeVar("Thing")
Kind = TypeVar("Kind", ServedAssistant, ServedSpace, ServedPredictor, ServedIndex)

ANSWERS = "answers"  # where a quickstart keeps its language model
NAME = r"[\w.-]+"


class UnknownModel(ValueError):
    """A name that nothing has which is served, or that has another kind."""


class Served:
    """Models and indexes by name.

    gate: through which every request goes; closed when the server is being stopped
    """

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        indexes: Mapping[str, ServedIndex] | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.models, self.indexes = dict(models), dict(indexes or {})
        self.gate = gate or Gate()
        for one in (*self.models.values(), *self.indexes.values()):
            one.gate = self.gate

    @classmethod
    def open(
        cls,
        checkpoints: Sequence[str | Path],
        indexes: Sequence[str | Path] = (),
        settings: Settings | None = None,
    ) -> Served:
        """Load checkpoints and open indexes: each a folder, or "name=folder"; the name is else the folder's.

        A quickstart's folder brings its own index and its answers along. An index is searched with the one of the
        models that made it; where none of them did, the model it says made it is loaded, too.

        Raises ValueError for folders without a checkpoint or an index, and for a name that two have.
        """
        settings, gate = settings or Settings(), Gate()
        if not checkpoints and not indexes:
            raise ValueError("nothing to serve; expected checkpoints: type sensorium serve runs/quickstart")
        wanted, places = _named(checkpoints), _named(indexes)
        for name, folder in list(wanted.items()):
            if (folder / ANSWERS / "checkpoints").is_dir():
                _place(wanted, f"{name}-{ANSWERS}", folder / ANSWERS)
            if (folder / "index" / INDEX).exists():
                _place(places, name, folder / "index")
        models = {name: _served(name, folder, settings, gate) for name, folder in wanted.items()}
        opened = {}
        for name, folder in places.items():
            space = _that_made(folder, models)
            made = _maker(folder, settings, gate) if space is None else space
            opened[name] = ServedIndex.open(name, folder, made, settings, gate)
            if space is None:
                _place(models, made.name, made)
        return cls(models, opened, gate)

    def assistant(self, name: str | None = None) -> ServedAssistant:
        """The assistant of a name, or the first. Raises UnknownModel."""
        return _of_kind(ServedAssistant, "language model to talk to", name, self.models)

    def space(self, name: str | None = None) -> ServedSpace:
        """The joint embedding of a name, or the first. Raises UnknownModel."""
        return _of_kind(ServedSpace, "joint embedding", name, self.models)

    def predictor(self, name: str | None = None) -> ServedPredictor:
        """The fusion network of a name, or the first. Raises UnknownModel."""
        return _of_kind(ServedPredictor, "fusion network", name, self.models)

    def index(self, name: str | None = None) -> ServedIndex:
        """The index of a name, or the first. Raises UnknownModel."""
        return _of_kind(ServedIndex, "index", name, self.indexes)

    def lanes(self) -> list[Lane]:
        """All lanes, for who counts what they do."""
        return [
            *(model.lane for model in self.models.values()),
            *(lane for index in self.indexes.values() for lane in (index.lane, index.changes)),
        ]

    async def drain(self) -> None:
        """Let no request in any more, finish those that are in, end the threads."""
        await self.gate.close()
        # Changes first: what they add is embedded by way of the models' lanes.
        for index in self.indexes.values():
            await index.changes.drain()
        for lane in self.lanes():
            await lane.drain()


# ---- opening ----------------------------------------------------------------------------------------------


def _named(given: Sequence[str | Path]) -> dict[str, Path]:
    """Folders, or "name=folder" -> folders by name."""
    named: dict[str, Path] = {}
    for one in given:
        name, equals, folder = str(one).partition("=")
        if not equals or Path(one).exists():
            name, folder = _name(Path(one)), str(one)
        if not re.fullmatch(NAME, name):
            raise ValueError(
                f"{one}: got the name {name!r}; expected letters, digits, . _ -: type NAME={folder or 'FOLDER'}"
            )
        _place(named, name, Path(folder))
    return named


def _name(folder: Path) -> str:
    """What a folder is called when nobody says: a checkpoint of a run as the run."""
    folder = folder.resolve()
    if folder.parent.name == "checkpoints":
        folder = folder.parent.parent
    return re.sub(r"[^\w.-]+", "-", folder.name)


def _place(placed: dict[str, Thing], name: str, one: Thing) -> None:
    if name in placed:
        raise ValueError(f"two are called {name!r}; name one of them otherwise: type OTHER-NAME=FOLDER")
    placed[name] = one


def _served(name: str, folder: str | Path, settings: Settings, gate: Gate) -> ServedModel:
    model = load(folder)
    if isinstance(model, Assistant):
        return ServedAssistant(name, model, settings, gate)
    if isinstance(model, Predictor):
        return ServedPredictor(name, model, settings, gate)
    if isinstance(model, Matcher):
        raise ValueError(
            f"{folder}: BLIP-2's first stage has no vector a picture, nor answers: it is not served"
        )
    space = ServedSpace(name, model, settings, gate)
    space.warm()
    return space


def _that_made(folder: Path, models: Mapping[str, ServedModel]) -> ServedSpace | None:
    """The model that made an index, if it is among these."""
    identity = model_of(folder)
    spaces = [model for model in models.values() if isinstance(model, ServedSpace)]
    return next((space for space in spaces if space.identity == identity), None)


def _maker(folder: Path, settings: Settings, gate: Gate) -> ServedSpace:
    """The model that an index says made it."""
    made = Path(made_by(folder))
    if not made.is_dir():
        raise ValueError(
            f"{folder}: made with the model in {made}, which is not there; serve its checkpoint, too: "
            f"sensorium serve CHECKPOINT --index {folder}"
        )
    space = _served(_name(made), made, settings, gate)
    assert isinstance(space, ServedSpace), "only joint embeddings make indexes"
    return space


def _of_kind(kind: type[Kind], what: str, name: str | None, served: Mapping[str, object]) -> Kind:
    fitting = {key: one for key, one in served.items() if isinstance(one, kind)}
    if name is None and fitting:
        return next(iter(fitting.values()))
    if name in fitting:
        assert name is not None
        return fitting[name]
    there = f"there is {', '.join(fitting)}" if fitting else "none is served"
    other = f", which is no {what}" if name in served else ""
    article = "an" if what.startswith("index") else "a"
    raise UnknownModel(
        f"got {name!r}{other}; expected {article} {what}: {there}" if name else f"no {what} is served"
    )
