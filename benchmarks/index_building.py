"""Index building, pictures a second from a folder of files to a table on disk, three ways.

    python benchmarks/index_building.py [--pictures 256] [--side 640] [--rounds 3] [--folder PHOTOS]

    sensorium              Index.create(…).add(folder): hashes, decodes beside the encoder, makes thumbnails
    sensorium, fast off    the same with SENSORIUM_FAST=0: float32 and the system's allocator
    transformers           the loop of the model cards: open, CLIPProcessor, get_image_features, 32 at a time
    sentence-transformers  SentenceTransformer(folder).encode(pictures, batch_size=32)

All four embed the same JPEG files with the same weights, a CLIP of ViT-B/32 size with random weights, and
write the vectors to a LanceDB table. Every run is a process of its own; loading and one warm-up batch are not
counted. The ways take turns, so that what else the machine does falls on all of them; processor time, which
other load disturbs less, is given beside the clock's. Prints medians, ratios, and how far the vectors agree.
Needs the extra "benchmarks".
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WAYS = ("sensorium", "sensorium, fast off", "transformers", "sentence-transformers")
BATCH = 32


# ---- what all of them are given ------------------------------------------------------------------------


def make_model(folder: Path) -> None:
    """A CLIP of ViT-B/32 size, random weights, saved as `transformers` does."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    words = {word: n for n, word in enumerate(("a", "photo", "of", "<pad>", "<unk>", "<s>", "</s>"))}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=77,
    )
    ids = {"bos_token_id": 5, "eos_token_id": 6, "pad_token_id": 3}
    CLIPModel(CLIPConfig(text_config={"vocab_size": len(words), **ids})).eval().save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def make_pictures(folder: Path, number: int, side: int) -> None:
    """JPEGs of soft shapes with grain, 4:3, about as large as photographs of that size."""
    from PIL import Image

    rng = np.random.default_rng(0)
    folder.mkdir()
    for n in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        smooth = np.asarray(coarse.resize((side, side * 3 // 4), Image.Resampling.BICUBIC), np.int16)
        grain = rng.normal(0, 6, smooth.shape).astype(np.int16)
        picture = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
        picture.save(folder / f"{n:05}.jpg", quality=88)


def files_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))


# ---- the ways: each yields once when it is warm, and once when the table is written --------------------


def with_sensorium(model: Path, pictures: Path, table: Path) -> Iterator[None]:
    from sensorium import speed

    speed.apply()
    from sensorium.media import Source
    from sensorium.retrieval.index import Index
    from sensorium.systems.clip import clip

    embedder = Embedder(clip(pretrained=model))
    embedder.embed("image", [Source("image", path=p).decode() for p in files_in(pictures)[:BATCH]])
    yield
    Index.create(table, embedder).add(pictures, progress=False)
    yield


class Embedder:
    """The picture tower of a CLIP as an index wants it."""

    modalities = ("image",)
    identity = "CLIP ViT-B/32, random weights, seed 0"
    source = ""

    def __init__(self, system: Any) -> None:
        self.system, self.width = system, system.width

    def embed(self, modality: str, media: list[Any], progress: bool = False) -> np.ndarray:
        import torch

        features = self.system.encoders["image"].encode(media, BATCH, what="pooled")
        with torch.no_grad():
            vectors: np.ndarray = self.system.embed("image", features).numpy()
        return vectors


def with_transformers(model: Path, pictures: Path, table: Path) -> Iterator[None]:
    import torch
    from PIL import Image
    from transformers import AutoProcessor, CLIPModel

    clip, processor = CLIPModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)

    @torch.no_grad()
    def embed(files: list[Path]) -> np.ndarray:
        inputs = processor(images=[Image.open(file).convert("RGB") for file in files], return_tensors="pt")
        found = clip.get_image_features(**inputs)
        found = getattr(found, "pooler_output", found)
        return torch.nn.functional.normalize(found, dim=-1).numpy()

    files = files_in(pictures)
    embed(files[:BATCH])
    yield
    batches = [embed(files[n : n + BATCH]) for n in range(0, len(files), BATCH)]
    write(table, files, np.concatenate(batches))
    yield


def with_sentence_transformers(model: Path, pictures: Path, table: Path) -> Iterator[None]:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    clip = SentenceTransformer(str(model), device="cpu")

    def embed(files: list[Path]) -> np.ndarray:
        opened = [Image.open(file).convert("RGB") for file in files]
        return clip.encode(opened, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)

    files = files_in(pictures)
    embed(files[:BATCH])
    yield
    write(table, files, embed(files))
    yield


def write(table: Path, files: list[Path], vectors: np.ndarray) -> None:
    import lancedb

    rows = [{"path": str(file), "vector": vector} for file, vector in zip(files, vectors)]
    lancedb.connect(table).create_table("rows", rows)


# ---- measuring -----------------------------------------------------------------------------------------


def measure(way: str, model: Path, pictures: Path, table: Path) -> tuple[float, float]:
    """Seconds from the folder to the table, and processor seconds of all threads, in this process."""
    ways = {"transformers": with_transformers, "sentence-transformers": with_sentence_transformers}
    steps = ways.get(way, with_sensorium)(model, pictures, table)
    next(steps)
    started, worked = time.perf_counter(), time.process_time()
    next(steps)
    return time.perf_counter() - started, time.process_time() - worked


def vectors_of(table: Path) -> np.ndarray:
    """Unit vectors in the order of the files' paths."""
    import lancedb

    rows = (
        lancedb.connect(table).open_table("rows").search().select(["path", "vector"]).limit(None).to_arrow()
    )
    vectors = np.array(rows["vector"].to_pylist())[np.argsort(rows["path"].to_pylist())]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=256, help="how many to make")
    parser.add_argument("--side", type=int, default=640, help="their longer side, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="your own pictures instead (all of them, distinct)")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, *paths = options.measure
        print(json.dumps(measure(way, *map(Path, paths))))
        return

    with tempfile.TemporaryDirectory() as scratch:
        model, pictures = Path(scratch, "model"), options.folder or Path(scratch, "pictures")
        make_model(model)
        if options.folder is None:
            make_pictures(pictures, options.pictures, options.side)
        number = len(files_in(pictures))
        taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for turn in range(options.rounds):
            for n, way in enumerate(WAYS):
                table = Path(scratch, f"table-{turn}-{n}")
                environment = os.environ | {"SENSORIUM_FAST": "0" if way.endswith("fast off") else "1"}
                command = [sys.executable, __file__, "--measure", way, str(model), str(pictures), str(table)]
                done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
                taken[way].append(json.loads(done.stdout.splitlines()[-1]))
        vectors = {way: vectors_of(Path(scratch, f"table-0-{n}")) for n, way in enumerate(WAYS)}

    def ratio(of: str, to: str, clock: int) -> float:
        """Median over rounds: both runs of a round saw the same machine."""
        return statistics.median(b[clock] / a[clock] for a, b in zip(taken[of], taken[to]))

    print(f"{number} pictures, ViT-B/32, medians of {options.rounds} rounds")
    print(f"{'':22}{'pictures/s':>11}{'× transformers':>16}{'in CPU time':>13}{'least cosine':>14}")
    for way in WAYS:
        rate = statistics.median(number / seconds for seconds, _ in taken[way])
        faster, cheaper = (ratio(way, "transformers", clock) for clock in (0, 1))
        agree = (vectors[way] * vectors["transformers"]).sum(1).min()
        print(f"{way:22}{rate:11.1f}{faster:16.2f}{cheaper:13.2f}{agree:14.4f}")
    faster, cheaper = (ratio("sensorium", "sentence-transformers", clock) for clock in (0, 1))
    print(f"sensorium × sentence-transformers: {faster:.2f}, in CPU time {cheaper:.2f}")


if __name__ == "__main__":
    main()
