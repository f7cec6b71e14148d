"""Where attention looked: over the patches of a picture, over the time of a sound.

PictureAttention(picture, {word: float[h, w]}) -> the picture, once a word, coloured by the word's weights
SoundAttention(sound, {word: float[T]})        -> a spectrogram, and below it a strip a word

The weights are `Fused.attention`'s, of one row: "text→image" has a line a token of the text (`words_of` says which
words they are, `by_word` takes them together), "fused→image" one line. Colours say how many times the even share a
place has, on one scale for the whole figure: attention that looks everywhere alike stays pale, and is not stretched
until it seems to look somewhere. Attention shows what was read, not what the answer was due to (Jain & Wallace 2019,
arXiv:1902.10186).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from sensorium.viewing.inline import Picture, Sound, opened, picture_uri
from sensorium.viewing.svg import esc, num

# From nothing to the most, multiplied onto the picture; lightness falls evenly, so that it also reads in grey.
RAMP = np.array([(255, 255, 255), (255, 224, 138), (250, 150, 60), (222, 60, 45), (138, 10, 62)], np.float32)
EVEN = 4.0  # the scale ends at least here, so that the even share is pale
PALE = 0.55  # of a picture's contrast and colour stay below the heat

SAYS = "times the even share; %: how much of its attention came here at all, where not all did"

LEAST = 680  # SVG units of a figure's width: what the words beside the colours take
SIDE = 224  # pixels of a drawn picture
WINDOW, HOP, RANGE = 0.025, 0.010, 70.0  # of the spectrogram: seconds, seconds, dB below its loudest
BANDS, BAND_PIXELS = 96, 2
COLUMNS = 3000  # drawn at most
MARKS = (100, 500, 1000, 2000, 4000, 8000, 16000)  # Hz, drawn beside a spectrogram that reaches so far


@dataclass(frozen=True)
class Word:
    """A word of a text and the places of its tokens."""

    text: str
    places: tuple[int, ...]


@dataclass(frozen=True)
class PictureAttention:
    """Attention of words (or of "fused") over one picture.

    maps:      by name float[h, w], or float[T] of a square grid read row by row; weights from 0, which sum to at most
               1 where the rest went elsewhere
    letterbox: the grid covers the smallest square around the picture, as in `EfficientNetLite`; False: the picture
               itself, as it was stretched to the encoder's size
    """

    title: str
    picture: Picture
    maps: Mapping[str, np.ndarray]
    note: str = ""
    letterbox: bool = True

    def __post_init__(self) -> None:
        checked(self.title, self.maps)
        for name, map_ in self.maps.items():
            if np.ndim(map_) != 2 and (np.ndim(map_) != 1 or math.isqrt(len(map_)) ** 2 != len(map_)):
                raise ValueError(
                    f"{self.title!r}: the map of {name!r} is {list(np.shape(map_))}; expected [h, w], or [T] of a "
                    "square grid"
                )

    def grids(self) -> dict[str, np.ndarray]:
        """By name float[h, w]."""
        sides = {name: math.isqrt(np.size(map_)) for name, map_ in self.maps.items()}
        return {
            name: np.asarray(map_, float).reshape(np.shape(map_) if np.ndim(map_) == 2 else (sides[name], -1))
            for name, map_ in self.maps.items()
        }


@dataclass(frozen=True)
class SoundAttention:
    """Attention of words (or of "fused") over the time of a sound.

    maps:          by name float[T], a weight a token
    token_seconds: how long a token is: 0.02 of `WhisperEncoder`; None: the tokens share the sound's length evenly
    """

    title: str
    sound: Sound
    maps: Mapping[str, np.ndarray]
    note: str = ""
    token_seconds: float | None = None

    def __post_init__(self) -> None:
        checked(self.title, self.maps)
        for name, map_ in self.maps.items():
            if np.ndim(map_) != 1:
                raise ValueError(
                    f"{self.title!r}: the map of {name!r} is {list(np.shape(map_))}; expected [T]"
                )
        if len(self.sound.samples) == 0:
            raise ValueError(f"{self.title!r}: got a sound without samples; expected at least one")

    @property
    def seconds(self) -> float:
        """Of the time axis: the sound's, or what its tokens cover where that is more."""
        own = len(self.sound.samples) / self.sound.rate
        return max(own, *(self.end_of(map_) for map_ in self.maps.values()))

    def end_of(self, map_: np.ndarray) -> float:
        """Where a map's last token ends, in seconds."""
        if self.token_seconds is None:
            return len(self.sound.samples) / self.sound.rate
        return len(map_) * self.token_seconds


def words_of(tokenizer: Any, text: str, limit: int | None = None) -> list[Word]:
    """The words of a text and which tokens each became; special tokens by their own names, [CLS], [SEP].

    tokenizer: a fast one of `transformers` (a `SentenceEncoder`'s `.tokenizer`), which knows where its tokens stand
    limit:     tokens at most, as the encoder's `.limit`
    """
    encoded = tokenizer(
        text, return_offsets_mapping=True, truncation=limit is not None, max_length=limit, verbose=False
    )
    spans, ids = encoded["offset_mapping"], encoded["input_ids"]
    places: dict[Any, list[int]] = {}
    for place, word in enumerate(encoded.word_ids()):
        places.setdefault(("special", place) if word is None else word, []).append(place)
    return [
        Word(
            tokenizer.convert_ids_to_tokens(ids[own[0]])
            if isinstance(key, tuple)
            else text[spans[own[0]][0] : spans[own[-1]][1]],
            tuple(own),
        )
        for key, own in places.items()
    ]


def by_word(attention: Any, words: Sequence[Word]) -> dict[str, np.ndarray]:
    """float[S, T] of S tokens -> by word float[T], the mean over its tokens; a word's second time is "the (2)"."""
    weights = np.asarray(attention, float)
    needed = 1 + max((place for word in words for place in word.places), default=-1)
    if needed > len(weights):
        raise ValueError(f"attention of {len(weights)} tokens, words of {needed}; expected those of one text")
    found: dict[str, np.ndarray] = {}
    for word in words:
        times = 1
        name = word.text
        while name in found:
            times += 1
            name = f"{word.text} ({times})"
        found[name] = weights[list(word.places)].mean(0)
    return found


def attention_html(shown: PictureAttention | SoundAttention) -> str:
    """A figure of the report."""
    drawing = picture_svg(shown) if isinstance(shown, PictureAttention) else sound_svg(shown)
    note = f'<p class="note">{esc(shown.note)}</p>' if shown.note else ""
    return f'<figure class="panel wide"><figcaption>{esc(shown.title)}</figcaption>{drawing}{note}</figure>'


def picture_svg(shown: PictureAttention) -> str:
    grids = shown.grids()
    most = scale_of(grids.values())
    tiles = [("", "", framed(shown))]
    tiles += [(name, share_of(grid), heated(shown, grid, most)) for name, grid in grids.items()]
    step, row, across = 180, 212, min(6, len(tiles))
    parts = []
    for n, (name, share, pixels) in enumerate(tiles):
        x, y = step * (n % across), row * (n // across)
        place = f'x="{x}" y="{y}" width="{step - 12}" height="{step - 12}"'
        parts.append(
            f'<image {place} clip-path="inset(0 round 8px)" href="{picture_uri(pixels, SIDE)}">'
            f"<title>{esc(name or shown.title)}</title></image>"
        )
        parts.append(_label(x, y + step + 4, name, share))
    high = row * -(-len(tiles) // across)
    return _svg(max(step * across - 12, LEAST), high + 34, shown.title, *parts, _scale(0, high + 4, most))


def sound_svg(shown: SoundAttention, width: int = 1080, left: int = 150) -> str:
    most = scale_of(shown.maps.values())
    across, seconds = width - left, shown.seconds
    bands, top = spectrogram(shown.sound)
    high = BANDS * BAND_PIXELS
    own = across * len(shown.sound.samples) / shown.sound.rate / seconds
    parts = [_stretched(left, 0, own, high, np.repeat(bands, BAND_PIXELS, 0))]
    for mark in (mark for mark in MARKS if mark <= top):
        y = num(high * (1 - mel(mark) / mel(top)))
        name = f"{mark / 1000:g} kHz" if mark >= 1000 else f"{mark} Hz"
        parts.append(f'<text class="tick" x="{left - 8}" y="{y}" dy=".32em" text-anchor="end">{name}</text>')
    below = high + 8
    for name, map_ in shown.maps.items():
        long = across * shown.end_of(map_) / seconds
        parts.append(
            _stretched(left, below, long, 22, np.repeat(coloured(times_even(map_) / most)[None], 22, 0))
        )
        share = f' <tspan class="soft">{esc(share_of(map_))}</tspan>'
        parts.append(
            f'<text x="{left - 8}" y="{below + 11}" dy=".32em" text-anchor="end">'
            f'<tspan style="fill:var(--ink);font-weight:600">{esc(name)}</tspan>{share}</text>'
        )
        below += 27
    for second in seconds_marked(seconds):
        x = num(left + across * second / seconds)
        parts.append(f'<text class="tick" x="{x}" y="{below + 12}" text-anchor="middle">{second:g} s</text>')
    return _svg(width, below + 54, shown.title, *parts, _scale(left, below + 26, most))


def _label(x: int, y: int, name: str, share: str) -> str:
    named = f'<tspan style="fill:var(--ink);font-weight:600">{esc(name)}</tspan>' if name else ""
    return f'<text x="{x + 2}" y="{y}">{named} {esc(share)}</text>'


def _stretched(x: float, y: float, width: float, height: float, pixels: np.ndarray) -> str:
    """An image over the whole of a rectangle, uint8[h, w, 3]."""
    if pixels.shape[1] > COLUMNS:
        pixels = np.asarray(Image.fromarray(pixels).resize((COLUMNS, len(pixels)), Image.Resampling.BOX))
    wide = np.repeat(pixels, max(1, -(-700 // pixels.shape[1])), 1)  # smoothed by no browser, hardly by WebP
    return (
        f'<image x="{num(x)}" y="{num(y)}" width="{num(width)}" height="{num(height)}" '
        f'preserveAspectRatio="none" href="{picture_uri(wide, max(wide.shape))}"/>'
    )


def _scale(x: int, y: int, most: float) -> str:
    """The colours and what they say."""
    pixels = np.repeat(coloured(np.linspace(0, 1, 120))[None], 10, 0)
    marks = "".join(
        f'<text class="tick" x="{num(x + 160 * at / most)}" y="{y + 26}" text-anchor="middle">{label}</text>'
        for at, label in ((0, "0"), (1, "1"), (most, f"{most:.2g}"))
        if at in (0, most) or 0.08 * most < at < 0.85 * most
    )
    words = f'<text class="tick" x="{x + 172}" y="{y + 11}">{SAYS}</text>'
    return f"{_stretched(x, y, 160, 11, pixels)}{marks}{words}"


def _svg(width: float, height: float, label: str, *content: str) -> str:
    return (
        f'<svg class="map" viewBox="-8 0 {num(width + 16)} {num(height)}" style="max-width:{num(width + 16)}px" '
        f'role="img" aria-label="{esc(label)}">{"".join(content)}</svg>'
    )


def checked(title: str, maps: Mapping[str, np.ndarray]) -> None:
    """ValueError for maps that are none."""
    if not maps:
        raise ValueError(f"{title!r}: got no maps; expected at least one, by the word that looks")
    for name, map_ in maps.items():
        values = np.asarray(map_, float)
        if values.size == 0 or not np.isfinite(values).all() or values.min() < 0 or values.sum() > 1.001:
            got = f"{values.min()} to {values.max()}, sum {values.sum()}" if values.size else "nothing"
            raise ValueError(
                f"{title!r}: the map of {name!r} has {got}; expected weights from 0 that sum to at most 1"
            )


def times_even(map_: np.ndarray) -> np.ndarray:
    """Weights -> how many times the even share each place has; zeros where nothing was looked at."""
    values = np.asarray(map_, np.float64)
    return values / max(values.mean(), 1e-12)


def scale_of(maps: Any) -> float:
    """Where a figure's colours end, in times the even share."""
    return float(max(EVEN, *(times_even(map_).max() for map_ in maps)))


def share_of(map_: np.ndarray) -> str:
    """How much of its attention came here at all: "62 %"; "" for all of it."""
    share = float(np.sum(map_))
    return "" if share > 0.995 else f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "< 1 %"


def coloured(values: np.ndarray) -> np.ndarray:
    """float[…] from 0 to 1 -> uint8[…, 3] along `RAMP`."""
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(values, stops, channel) for channel in RAMP.T], -1).astype(np.uint8)


def framed(shown: PictureAttention) -> np.ndarray:
    """The picture as the grid sees it: uint8[SIDE, SIDE, 3], in the middle of a white square or stretched."""
    picture = opened(shown.picture)
    if not shown.letterbox:
        return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    scale = SIDE / max(picture.size)
    w, h = (max(1, round(side * scale)) for side in picture.size)
    square = np.full((SIDE, SIDE, 3), 255, np.uint8)
    top, left = (SIDE - h) // 2, (SIDE - w) // 2
    square[top : top + h, left : left + w] = np.asarray(picture.resize((w, h), Image.Resampling.BICUBIC))
    return square


def heated(shown: PictureAttention, grid: np.ndarray, most: float) -> np.ndarray:
    """The picture in pale, each patch of the grid in its colour: uint8[SIDE, SIDE, 3]."""
    ratios = (times_even(grid) / most).astype(np.float32)
    rows, columns = (np.arange(SIDE) * n // SIDE for n in grid.shape)
    heat = coloured(ratios[rows[:, None], columns[None, :]]).astype(np.float32) / 255
    picture = framed(shown).astype(np.float32)
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    pale = 255 - PALE * (255 - (PALE * picture + (1 - PALE) * grey[..., None]))
    return (pale * heat).round().astype(np.uint8)


def spectrogram(sound: Sound) -> tuple[np.ndarray, float]:
    """uint8[BANDS, N, 3], highest band first, dark where it is loud; the highest frequency in Hz.

    A column every 10 ms, of a long sound COLUMNS in all.
    Power of Hann windows of 25 ms, in dB below the loudest, read at bands evenly spaced in mel up to 8 kHz.
    """
    rate = sound.rate
    samples = np.asarray(sound.samples, np.float32)
    window, hop = max(2, round(WINDOW * rate)), max(1, round(HOP * rate), -(-len(samples) // COLUMNS))
    count = -(-len(samples) // hop)
    padded = np.pad(samples, (window // 2, window + count * hop - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: count * hop : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    decibels = 10 * np.log10(power + 1e-10 * max(float(power.max()), 1e-12))
    top = min(8000.0, rate / 2)
    centres = unmel(np.linspace(0, mel(top), BANDS))
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    bands = np.stack([np.interp(centres, frequencies, frame) for frame in decibels], 1)
    loud = np.clip(1 + (bands - bands.max()) / RANGE, 0, 1)[::-1]
    quiet, dark = np.array([246, 246, 247]), np.array([27, 29, 34])  # the page's paper and ink
    return (quiet + loud[..., None] ** 1.5 * (dark - quiet)).astype(np.uint8), top


def mel(hertz: float) -> float:
    """O'Shaughnessy 1987: 1000 Hz are 1000 mel."""
    return 2595 * math.log10(1 + hertz / 700)


def unmel(mels: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mels / 2595) - 1)


def seconds_marked(seconds: float) -> list[float]:
    """Places of the time axis, at most nine."""
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1e9) if seconds / step <= 8)
    return [round(n * step, 1) for n in range(int(seconds / step + 1e-9) + 1)]
