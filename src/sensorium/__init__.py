"""Sensorium: build, train, search with, question and serve multimodal models out of one small set of parts.

    import sensorium
    model = sensorium.load("runs/quickstart")
    index = sensorium.Index.create("my-index", model)
    index.add("my/pictures")
    print(index.search(text="a red fish"))

The names below are imported when they are first used, so that `import sensorium` costs milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sensorium.client import Client as Client
    from sensorium.data.readers import read as read
    from sensorium.data.sample import Batch as Batch
    from sensorium.data.sample import Sample as Sample
    from sensorium.facade import load as load
    from sensorium.features import Features as Features
    from sensorium.media import MediaError as MediaError
    from sensorium.media import Source as Source
    from sensorium.retrieval.index import Index as Index
    from sensorium.training.loop import fit as fit
    from sensorium.training.run import Run as Run

__version__ = "0.1.0"

_HOME = {
    "Batch": "data.sample",
    "Client": "client",
    "Features": "features",
    "Index": "retrieval.index",
    "MediaError": "media",
    "Run": "training.run",
    "Sample": "data.sample",
    "Source": "media",
    "fit": "training.loop",
    "load": "facade",
    "read": "data.readers",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sensorium' has no name {name!r}; it has: {', '.join(sorted(_HOME))}")
    return getattr(import_module(f"sensorium.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
