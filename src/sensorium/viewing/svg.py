"""Axes and marks: the few shapes that our plots are made of. Colours come from the page's style.

numbers -> SVG text
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def esc(text: object) -> str:
    """Any text, safe inside an element or an attribute."""
    return html.escape(str(text), quote=True)


def num(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def brief(value: float) -> str:
    """An axis label: 0.05, 1.5, 200, 12k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between low and high, in steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda step: abs(math.log(step / rough)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


@dataclass(frozen=True)
class Frame:
    """A plot's place on paper and its two scales. Sizes in SVG units."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: float = 540
    height: float = 260
    left: float = 44
    right: float = 14
    top: float = 12
    bottom: float = 36

    def x(self, value: float | np.ndarray) -> float | np.ndarray:
        span = max(self.x_high - self.x_low, 1e-12)
        return self.left + (value - self.x_low) / span * (self.width - self.left - self.right)

    def y(self, value: float | np.ndarray) -> float | np.ndarray:
        span = max(self.y_high - self.y_low, 1e-12)
        return (
            self.height - self.bottom - (value - self.y_low) / span * (self.height - self.top - self.bottom)
        )

    def axes(self, x_label: str, percent: bool = False) -> str:
        """Horizontal grid lines with their numbers, numbers below, and what they count."""
        left, right, foot = num(self.left), num(self.width - self.right), num(self.height - self.bottom + 17)
        parts = []
        for tick in ticks(self.y_low, self.y_high, 4):
            y = num(float(self.y(tick)))
            label = f"{100 * tick:g} %" if percent else brief(tick)
            parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
            parts.append(_tick(num(self.left - 7), y, label, "end", ' dy=".32em"'))
        parts += [
            _tick(num(float(self.x(tick))), foot, brief(tick), "middle")
            for tick in ticks(self.x_low, self.x_high, 6)
        ]
        parts.append(_tick(right, num(self.height - 1), x_label, "end"))
        return "".join(parts)

    def line(self, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, kind: str) -> str:
        points = " ".join(f"{num(float(self.x(a)))},{num(float(self.y(b)))}" for a, b in zip(x, y))
        return f'<polyline class="line {kind}" points="{points}"/>'

    def band(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, kind: str) -> str:
        """The area between two curves."""
        ahead = [f"{num(float(self.x(a)))},{num(float(self.y(b)))}" for a, b in zip(x, high)]
        back = [f"{num(float(self.x(a)))},{num(float(self.y(b)))}" for a, b in zip(x[::-1], low[::-1])]
        return f'<polygon class="area {kind}" points="{" ".join(ahead + back)}"/>'

    def svg(self, *content: str, label: str) -> str:
        return (
            f'<svg class="plot" viewBox="0 0 {num(self.width)} {num(self.height)}" role="img" '
            f'aria-label="{esc(label)}">{"".join(content)}</svg>'
        )


def _tick(x: str, y: str, text: str, anchor: str, more: str = "") -> str:
    return f'<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}"{more}>{esc(text)}</text>'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Names of the curves or clouds, each with its mark: [(class, name), …]."""
    keys = (f'<span class="key"><i class="swatch {kind}"></i>{esc(name)}</span>' for kind, name in entries)
    return f'<p class="legend">{"".join(keys)}</p>'
