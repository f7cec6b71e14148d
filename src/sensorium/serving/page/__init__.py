"""The page: what a person sees who opens the server's address in a browser.

mount(app, served, settings): "/" the page, "/page/…" what its tabs need beside the API

    shell.py     the frame: HTML, style, scripts, the policy that lets nothing else in; what is served
    words.py     every word of it, in English and Chinese
    search.py    what Search shows before anybody asked
    ask.py       where an answer looked
    explore.py   an index seen from above
    reports.py   what runs wrote of themselves
    look/        index.html, style.css, and a script a tab

Search, Ask and Compare speak to the same /v1/… as every other client: keys, limits, queues and errors are the API's.
The page is HTML and JavaScript by hand, without a framework and without a build: it requests nothing from elsewhere.
Gradio was tried beside it, and docs/page.md says why it is not what stands here.
"""

from __future__ import annotations

from fastapi import FastAPI

from sensorium.serving.page import ask, explore, reports, shell
from sensorium.serving.served import Served
from sensorium.serving.settings import Settings

__all__ = ["mount"]


def mount(app: FastAPI, served: Served, settings: Settings) -> FastAPI:
    """Add the page to the application. Its routes are no part of the API's description."""
    for tab in (shell, ask, explore, reports):
        app.include_router(tab.routes(served, settings), include_in_schema=False)
    return app
