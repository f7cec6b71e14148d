"""The frame of a page: its style, its one script, and the policy that lets nothing else in.

title, sections -> HTML
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from sensorium.viewing.svg import esc


@dataclass(frozen=True)
class Section:
    """A heading and the HTML below it."""

    title: str
    html: str
    note: str = ""


def page(title: str, lead: str, opening: str, sections: Sequence[Section]) -> str:
    """A whole page. `opening` is HTML that stands above the sections."""
    style, script = (
        files("sensorium.viewing").joinpath(f"page.{kind}").read_text() for kind in ("css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Nothing from outside, and of scripts only ours: a text that got through unescaped still could not act.
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<a href="#section-{n}">{esc(s.title)}</a>' for n, s in enumerate(sections))
    body = "".join(_section(n, section) for n, section in enumerate(sections))
    said = f'<p class="lead">{esc(lead)}</p>' if lead else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{esc(title)}</title>
<style>{style}</style>
</head>
<body>
<header class="top"><h1>{esc(title)}</h1>{said}<nav>{links}</nav></header>
<main>{opening}{body}</main>
<footer>Written by Sensorium. This page holds all that it shows and requests nothing.</footer>
<script>{script}</script>
</body>
</html>
"""


def _section(n: int, section: Section) -> str:
    note = f'<p class="note">{esc(section.note)}</p>' if section.note else ""
    return f'<section id="section-{n}"><h2>{esc(section.title)}</h2>{note}{section.html}</section>'
