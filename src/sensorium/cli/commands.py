"""The command line: every command is a typed function, and its arguments are the options.

    sensorium quickstart | train | evaluate | predict | compare | gains | capfilt | index | search | ask | chat
        | systems | doctor

Only this file and the standard library are imported until a command runs, so `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, UseAppendAction, arg

QUICKSTART = Path("runs/quickstart")


def quickstart(folder: Path = QUICKSTART, seed: int = 0, fresh: bool = False, answers: bool = True) -> None:
    """Train a space to search in and a language model that sees, on the bundled data; score both, draw the report.

    First pictures, words and speech into one space (about five minutes on two cores), then a small language model that
    answers questions about pictures (about ten more, with one that comes along naming and describing unseen pictures);
    seconds when it has run before. Writes report.html, metrics.json, an index over the test pictures and two
    checkpoints: FOLDER to search with, FOLDER/answers to ask.

    Args:
        folder: Where the run is written.
        seed: Of the weights' start, the order of the data and the augmentation.
        fresh: Train again although the folder holds a finished run.
        answers: Also train, score and ask the language model.
    """
    from sensorium.recipes.quickstart import quickstart as run

    run(folder, seed=seed, fresh=fresh, answers=answers)


def train(recipe: Positional[str] = "", options: Positional[tuple[str, ...]] = ()) -> None:
    """Run a recipe: `sensorium train RECIPE --help` lists its options, `sensorium train` the recipes.

    Training goes on where it stopped; in an empty --folder it begins anew.

    Args:
        recipe: Name of the recipe.
        options: Options of the recipe.
    """
    from sensorium.cli.listing import list_recipes
    from sensorium.recipes import recipe_function

    if not recipe:
        list_recipes()
        return
    run = tyro.cli(recipe_function(recipe), args=list(options), prog=f"sensorium train {recipe}")

    from sensorium.cli.trained import told
    from sensorium.training.loop import fit

    trained = fit(run)
    if run.progress:
        told(trained)
    if run.report is not None:
        page = run.report(trained)
        if run.progress:
            print(f"report: {page}")


def evaluate(
    checkpoint: Positional[Path],
    data: Positional[str],
    out: Path | None = None,
    limit: int | None = None,
) -> None:
    """Score a checkpoint beside its blind baselines, with intervals.

    A joint embedding: retrieval between every pair of modalities, both ways. A language model: its answers. A fusion
    network: its answers, also without each of its columns.

    Args:
        checkpoint: Folder of a checkpoint, such as runs/quickstart or runs/quickstart/answers.
        data: To search: "emoji" or "stamps" (the bundled test splits), or your own folder, .jsonl, .csv, .parquet or
            .tar. To answer: "scenes" (by an artist never seen), or a .json or .jsonl file of conversations. To predict:
            a puzzle such as "sentiment", or your own folder or table with the right answers.
        out: Also write the scores to this JSON file.
        limit: Use at most so many records.
    """
    from sensorium.cli.scoring import evaluate_checkpoint

    evaluate_checkpoint(checkpoint, data, out=out, limit=limit)


def predict(
    checkpoint: Positional[Path],
    source: Positional[Path],
    out: Path = Path("predictions.csv"),
    columns: tuple[str, ...] = (),
    limit: int | None = None,
) -> None:
    """Let a fusion network answer its tasks about all records of a folder or table, with probabilities.

    A row may lack any of the columns. Media that cannot be decoded are listed in OUT's .quarantine.jsonl, and their
    rows are answered from what else they have.

    Example: sensorium predict runs/fusion my/photos --out predictions.csv

    Args:
        checkpoint: Folder of a checkpoint, or of a run of sensorium train fusion.
        source: Folder of media, .csv, .tsv, .jsonl, .json, .parquet or .tar.
        out: File to write, .csv or .parquet.
        columns: Which of your columns the model is to read as which of its own, such as image=photo text=title.
            Guessed where only one column is of that modality.
        limit: Use at most so many records.
    """
    from sensorium.cli.predicting import predict_source

    predict_source(checkpoint, source, out, columns, limit)


def index(
    folder: Positional[Path],
    sources: Positional[list[Path]],
    model: Path = QUICKSTART,
    delete: Annotated[str | None, arg(metavar="WHERE")] = None,
) -> None:
    """Make or extend a searchable index of your media. What it already holds is not encoded again.

    Example: sensorium index my-index ~/Pictures && sensorium search my-index --text "a red fish"

    Args:
        folder: Where the index is (made when it is not there).
        sources: Files and folders to add.
        model: Checkpoint that encodes them.
        delete: Delete the rows that match this filter, such as "path LIKE '%draft%'", before adding.
    """
    from sensorium.facade import load_space
    from sensorium.retrieval.index import Index

    found = Index.create(folder, load_space(model), exist_ok=True)
    if delete is not None:
        found.delete(where=delete)
    for source in sources:
        done = found.add(source)
        print(f"{source}: {done}" + (f", see {folder / 'quarantine.jsonl'}" if done.bad else ""))
    print(f"{folder}: {len(found)} rows")


def search(
    folder: Positional[Path],
    text: str | None = None,
    image: Path | None = None,
    audio: Path | None = None,
    video: Path | None = None,
    where: str | None = None,
    top: int = 10,
    model: Path | None = None,
    picture: Path | None = None,
) -> None:
    """Search an index by words, a picture, a recording or a clip.

    Example: sensorium search runs/quickstart/index --text "a red fish" --top 5

    Args:
        folder: The index.
        text: Words to search by.
        image: A picture to search by.
        audio: A recording to search by.
        video: A clip to search by.
        where: Only rows that match this filter, such as "modality = 'image'".
        top: How many results.
        model: Checkpoint, when it is no longer where the index was made from.
        picture: Also draw the results into this PNG file.
    """
    from sensorium.cli.searching import search_index

    query: dict[str, Any] = {"text": text, "image": image, "audio": audio, "video": video}
    search_index(folder, query, where=where, top=top, model=model, picture=picture)


def ask(
    checkpoint: Positional[Path],
    question: Positional[str],
    image: UseAppendAction[tuple[Path, ...]] = (),
    audio: UseAppendAction[tuple[Path, ...]] = (),
    video: UseAppendAction[tuple[Path, ...]] = (),
    state: tuple[float, ...] = (),
    system: str | None = None,
    max_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    beams: int = 1,
    stop: UseAppendAction[tuple[str, ...]] = (),
    precision: str = "auto",
    complete: bool = False,
) -> None:
    """Ask a multimodal language model one question, about files or without; the answer appears as it is written.

    Example: sensorium ask runs/scenes "What is left of the rocket?" --image scene.png

    Args:
        checkpoint: Folder of a checkpoint, or of a run.
        question: What you want to know.
        image: A picture. Give it again for more: --image a.png --image b.png
        audio: A recording; again for more.
        video: A clip; again for more.
        state: Readings of sensors: --state 0.1 0.7
        system: How the model is to behave.
        max_tokens: Write at most so many tokens.
        temperature: 0 takes the likeliest words; up to about 1, others too.
        top_p: Draw from the likeliest words that make up this share.
        seed: Draw the same words again.
        beams: Search for the likeliest answer over so many at once.
        stop: End before this string.
        precision: auto, fp32, bf16, int8 or int4 (Llamas on the CPU).
        complete: Write on from the words as they stand, for a language model that never learnt to answer (GPT).
    """
    from sensorium.cli.answering import ask_once, complete_once

    media = {"image": list(image), "audio": list(audio), "video": list(video), "state": list(state) or None}
    drawing = {"temperature": temperature, "top_p": top_p, "seed": seed, "beams": beams, "stop": stop}
    if complete:
        given = [name for name, one in {**media, "system": system}.items() if one]
        complete_once(checkpoint, question, given, precision, {"max_tokens": max_tokens, **drawing})
        return
    ask_once(
        checkpoint, question, {**media, "system": system}, precision, {"max_tokens": max_tokens, **drawing}
    )


def chat(
    checkpoint: Positional[Path],
    system: str | None = None,
    max_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
    precision: str = "auto",
) -> None:
    """Talk with a multimodal language model about your files.

    Type questions; name a file in the line, or drop it there, to show it. /help lists the rest. Lines can be piped in.

    Example: sensorium chat runs/scenes

    Args:
        checkpoint: Folder of a checkpoint, or of a run.
        system: How the model is to behave.
        max_tokens: Write at most so many tokens an answer.
        temperature: 0 takes the likeliest words; up to about 1, others too.
        top_p: Draw from the likeliest words that make up this share.
        seed: Draw the same words again.
        precision: auto, fp32, bf16, int8 or int4 (Llamas on the CPU).
    """
    from sensorium.cli.answering import chat_loop

    drawing = {"temperature": temperature, "top_p": top_p, "seed": seed}
    chat_loop(checkpoint, precision, {"system": system, "max_tokens": max_tokens, **drawing})


def systems() -> None:
    """List the systems and recipes, with their paper and where to read them."""
    from sensorium.cli.listing import list_systems

    list_systems()


def doctor(fetch: bool = False) -> None:
    """Say what this machine and installation offer: versions, CPU features, weights, data.

    Args:
        fetch: Also fetch and verify the weights that the quickstart and the tests use.
    """
    from sensorium.cli.doctor import report

    sys.exit(report(fetch=fetch))
