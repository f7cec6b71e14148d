"""What happens: which way something moves, and what is heard meanwhile.

Four motions times two kinds of sound, all as frequent: one who sees tells the motion and guesses the sound,
right half of the time; one who hears is right once in four times. Frames in random order do not tell up
from down nor left from right: the strip that the thing sweeps is laid out first, and a coin says where it
starts.

video   a drawn thing that crosses a coloured ground in FRAMES frames
audio   a voice that describes some thing in one of four languages, or the sound of an animal, an instrument or a tool

train, validation   things drawn by four artists, sounds and voices of the training things; validation has other things
test                the unseen artist, sounds and voices of test things
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np

from sensorium.data import bundled
from sensorium.data.puzzles.definition import VALIDATION_FOLD, Puzzle, balanced
from sensorium.data.puzzles.drawings import artists_of, drawings, things_of
from sensorium.data.sample import Sample
from sensorium.data.scenes.motion import DIRECTIONS
from sensorium.data.scenes.scene import GROUNDS, Placed, Scene
from sensorium.media import Audio, Source, Video
from sensorium.tasks import OneOf

VERBS = {"left": "goes left", "right": "goes right", "up": "rises", "down": "sinks"}
SOUNDS = ("noise", "voice")
CELLS = tuple(product(VERBS, SOUNDS))
SIZE, FRAMES, SECONDS = 96, 4, 1.5  # pixels, pictures, and time from the first to the last
SIDE = (0.30, 0.45)  # of the thing's longer side, in shares of the picture's
WAY = (0.30, 0.50)  # that it goes
LANGUAGES = ("fr", "es", "ca", "ru")
LONGEST = 3.0  # seconds of sound; the rest is cut

# Categories of stamps whose effects are sounds, not words.
NOISES = ("animals/", "hobbies/", "household", "naturalforces", "vehicles/")


def label(motion: str, sound: str) -> str:
    """ "rises to a voice"."""
    return f"{VERBS[motion]} to a {sound}"


def rows(split: str, seed: int) -> Callable[[int], Sample]:
    heard = _sounds(split)

    def row(i: int) -> Sample:
        id = f"actions/{split}/{seed}/{i}"
        motion, sound = balanced(CELLS, f"actions/{split}/{seed}", i)
        draw = random.Random(id)
        scene = _scene(draw, split, motion, id)
        source = draw.choice(heard[sound])
        return Sample(
            id=id,
            columns={"video": _video(scene), "audio": _clip(source)},
            modality=PUZZLE.modality,
            fields={
                "action": label(motion, sound),
                "hidden": {"video": motion, "audio": sound},
                "thing": scene.names[0],
                "sound": source.name,
            },
        )

    return row


def _scene(draw: random.Random, split: str, motion: str, id: str) -> Scene:
    """One thing that crosses the picture; its box is that of the first frame."""
    thing, artist = draw.choice(things_of(split)), draw.choice(artists_of(split))
    x, y = DIRECTIONS[motion]
    width, height = drawings().fitting(thing.code, artist, round(draw.uniform(*SIDE) * SIZE))
    way = round(draw.uniform(*WAY) * SIZE)
    # The strip that it sweeps; to the right or down it starts at the near end, to the left or up at the far one.
    x0 = draw.randint(0, SIZE - width - way * abs(x)) + way * (x < 0)
    y0 = draw.randint(0, SIZE - height - way * abs(y)) + way * (y < 0)
    box = (x0, y0, x0 + width, y0 + height)
    velocity = (x * way / SECONDS, y * way / SECONDS)
    return Scene(id, SIZE, draw.choice(list(GROUNDS)), (Placed(thing, artist, box, velocity),))


def _video(scene: Scene) -> Video:
    times = np.linspace(0.0, SECONDS, FRAMES)
    return Video(np.stack([drawings().picture(scene, float(time)) for time in times]), times)


@lru_cache(maxsize=4096)
def _clip(source: Source) -> Audio:
    audio = source.decode()
    assert isinstance(audio, Audio)
    return Audio(audio.samples[: round(LONGEST * audio.rate)], audio.rate)


@lru_cache(maxsize=4)
def _sounds(split: str) -> dict[str, list[Source]]:
    """By kind of sound, those of the split's things. Some things share a sound: it stays on one side."""
    found: dict[str, list[Source]] = {}
    for sound, sources in _all_sounds().items():
        sides: dict[str, str] = {}
        for side in ("train", "validation", "test"):  # a later one takes it from an earlier one
            sides |= {source.key(): side for where, source in sources if where == side}
        own = {source.key(): source for where, source in sources if where == split}
        found[sound] = [source for key, source in own.items() if sides[key] == split]
    return found


@lru_cache(maxsize=1)
def _all_sounds() -> dict[str, list[tuple[str, Source]]]:
    """By kind of sound, all of them with the split of their thing."""
    side = {}
    for stamp in bundled.stamps(language=None):
        validates = stamp.fields["split"] == "train" and stamp.fields["fold"] == VALIDATION_FOLD
        side[stamp.fields["thing"]] = "validation" if validates else stamp.fields["split"]
    noises = []
    for effect in bundled.effects():
        sound = effect.columns["audio"]
        if effect.fields["category"].startswith(NOISES) and isinstance(sound, Source):
            noises.append((side[effect.fields["thing"]], sound))
    voices = [
        (side[thing], clip) for clips in bundled.speech(LANGUAGES).values() for thing, clip in clips.items()
    ]
    return {"noise": noises, "voice": voices}


PUZZLE = Puzzle(
    name="actions",
    tasks=(OneOf("action", [label(*cell) for cell in CELLS]),),
    modality={"video": "video", "audio": "audio"},
    alone={"video": 1 / len(SOUNDS), "audio": 1 / len(VERBS)},
    metric="accuracy",
    about="Which way something moves in a video, and whether a voice or a noise is heard.",
    rows=rows,
)
