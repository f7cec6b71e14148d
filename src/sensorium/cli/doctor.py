"""`sensorium doctor`: what this machine and installation offer, and what is missing."""

from __future__ import annotations

import importlib.metadata as metadata
import platform
import shutil
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

LIBRARIES = (
    "torch", "transformers", "accelerate", "safetensors", "lancedb", "pillow", "av", "soundfile", "soxr",
)  # fmt: skip
EXTRAS = {
    "kornia": "augment pictures in batches (mae, vit, simclr): pip install 'sensorium[augmentation]'",
    "datasets": "read Hugging Face data sets: pip install 'sensorium[data]'",
    "pycocoevalcap": "score captions: pip install 'sensorium[evaluation]'",
    "tensorboard": "write TensorBoard events: pip install 'sensorium[tensorboard]'",
    "umap-learn": "draw embedding maps by UMAP: pip install 'sensorium[umap]'",
}
FREE_GIB_WANTED = 3


def report(fetch: bool = False) -> int:
    """Print what is there; the exit status is 1 when something that the quickstart needs is missing."""
    console = Console()
    grid = Table(box=None, show_header=False)
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    wrong = 0
    for name, text, fine in _facts(fetch):
        mark = "[green]ok[/]" if fine else "[red]missing[/]"
        wrong += not fine
        grid.add_row(name, text, mark)
    console.print(grid)
    return 1 if wrong else 0


def _facts(fetch: bool) -> Iterator[tuple[str, str, bool]]:
    from sensorium import speed, weights
    from sensorium.backbones.smollm2 import SMOLLM2
    from sensorium.data.bundled import BundledDataError, data_folder
    from sensorium.encoders.audio import WHISPER_TINY
    from sensorium.encoders.image import EFFICIENTNET_LITE0
    from sensorium.encoders.text import MINILM

    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", True
    for library in LIBRARIES:
        yield library, metadata.version(library), True
    for library, why in EXTRAS.items():
        try:
            yield library, metadata.version(library), True
        except metadata.PackageNotFoundError:
            yield library, f"not installed; to {why}", True
    for name, text in speed.describe().items():
        yield name, text, True
    cache = weights.cache_folder()
    free = shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free >> 30
    yield "cache", f"{cache}, {free} GiB free", free >= FREE_GIB_WANTED
    for source in (EFFICIENTNET_LITE0, MINILM, WHISPER_TINY, SMOLLM2):
        try:
            weights.resolve(source, offline=None if fetch else True)
            yield "weights", f"{source} is cached and verified", True
        except weights.WeightsError as error:
            yield "weights", f"{error}; to fetch: sensorium doctor --fetch", False
    for name in ("emoji", "stamps"):
        try:
            yield f"data: {name}", str(data_folder(name)), True
        except BundledDataError as error:
            yield f"data: {name}", str(error), False
