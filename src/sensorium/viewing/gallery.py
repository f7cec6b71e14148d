"""Queries and what they found.

Search(query, answers) -> a row: the words, picture or sound that was asked with, and the nearest pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sensorium.viewing.inline import Picture, Sound, loudness, picture_uri, sound_uri
from sensorium.viewing.svg import esc, num

WAVE_BARS = 44


@dataclass(frozen=True)
class Shown:
    """One item on show, with whichever of these it has.

    text:    words; a caption when there is a picture or a sound
    picture: uint8[H, W, 3], or JPEG bytes (an index's thumbnail)
    sound:   what `Audio` has, samples and rate
    right:   whether it answers the query; None where that is unknown, as in a search of one's own pictures
    score:   cosine to the query
    """

    text: str = ""
    picture: Picture | None = None
    sound: Sound | None = None
    right: bool | None = None
    score: float | None = None


@dataclass(frozen=True)
class Search:
    """A query and its answers, best first. note: a word below the query ("right answer at rank 17")."""

    query: Shown
    answers: Sequence[Shown]
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Searches under one heading. note: how they were chosen; the honest word is "at random"."""

    title: str
    searches: Sequence[Search]
    note: str = ""


def gallery_html(gallery: Gallery) -> str:
    rows = "".join(_search(search) for search in gallery.searches)
    note = f'<p class="note">{esc(gallery.note)}</p>' if gallery.note else ""
    return f'<div class="gallery"><h3>{esc(gallery.title)}</h3>{note}{rows}</div>'


def _search(search: Search) -> str:
    note = f'<p class="soft">{esc(search.note)}</p>' if search.note else ""
    answers = "".join(_answer(answer) for answer in search.answers)
    return (
        f'<div class="search"><div class="query">{query_html(search.query)}{note}</div>'
        f'<ol class="answers">{answers}</ol></div>'
    )


def query_html(query: Shown) -> str:
    """A picture, a sound to play, or words, as they are shown where something is asked."""
    if query.sound is not None:
        return _player(query)
    if query.picture is not None:
        words = f'<p class="words small">{esc(query.text)}</p>' if query.text else ""
        seen = picture_uri(query.picture)
        return f'<img class="asked" alt="{esc(query.text or "query picture")}" src="{seen}">{words}'
    return f'<p class="words">{esc(query.text)}</p>'


def _player(query: Shown) -> str:
    """A play button and the sound's shape; plain controls where scripts are off."""
    assert query.sound is not None
    heights = loudness(query.sound, WAVE_BARS)
    bars = "".join(
        f'<rect x="{3 * n}" y="{num(16 - 15 * h)}" width="2" height="{num(max(30 * h, 1.5))}" rx="1"/>'
        for n, h in enumerate(heights)
    )
    wave = f'<svg class="wave" viewBox="0 0 {3 * WAVE_BARS} 32" aria-hidden="true">{bars}</svg>'
    words = f'<p class="words small">{esc(query.text)}</p>' if query.text else ""
    return (
        '<div class="player">'
        f'<button type="button" class="play" aria-label="play {esc(query.text or "the sound")}">'
        f'<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M8 5.5v13l11-6.5z"/></svg></button>{wave}'
        f'<audio controls preload="metadata" src="{sound_uri(query.sound)}"></audio></div>{words}'
    )


def _answer(answer: Shown) -> str:
    kind = {True: "right", False: "wrong", None: ""}[answer.right]
    badge = '<span class="badge" title="right">✓</span>' if answer.right else ""
    if answer.picture is not None:
        seen = f'<img alt="{esc(answer.text)}" src="{picture_uri(answer.picture)}">'
        words = esc(answer.text)
    else:
        seen, words = f'<span class="only-words">{esc(answer.text)}</span>', ""
    score = f'<span class="score">{answer.score:.2f}</span>' if answer.score is not None else ""
    return (
        f'<li class="{kind}"><div class="picture">{seen}{badge}</div>'
        f'<p class="caption" title="{esc(answer.text)}"><span>{words}</span>{score}</p></li>'
    )
