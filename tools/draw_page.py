"""Draw docs/page-search.png and docs/page-ask.png: the page as a real Chromium shows it.

    python tools/draw_page.py runs/quickstart weights/smol_llava

Serves the checkpoints, uses the page as its browser tests do, and takes pictures of it. Needs Chromium.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "serving"))

from browser import Browser, browser  # noqa: E402 (it lives beside the tests)
from live import live  # noqa: E402

from sensorium.serving.api import create_app  # noqa: E402
from sensorium.serving.served import Served  # noqa: E402

COLOURS = 256  # of a PNG: drawings and words need no more


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--query", default="a red fruit")
    parser.add_argument("--scene", type=int, default=49)
    parser.add_argument("--question", default="Describe the picture.")
    parser.add_argument(
        "--word", default="owl", help="of the answer, whose heat is drawn; the whole answer's without it"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    chosen = parser.parse_args()
    with (
        live(create_app(Served.open(chosen.checkpoints))) as address,
        tempfile.TemporaryDirectory() as profile,
        browser(Path(profile)) as page,
    ):
        page.speak("en")
        page.size(1200, 800)
        page.go(address)
        searched(page, chosen.query)
        wide = shot(page)
        page.size(390, 800, phone=True, dark=True)
        page.speak("zh")
        page.go(address)
        page.until("document.querySelectorAll('#search .card').length > 5")
        page.click("#tab-explore")
        page.until("document.querySelector('#explore canvas')?.width > 300")
        page.until(
            "performance.getEntriesByType('resource').some(one => one.name.includes('sprites') && one.responseEnd)"
        )
        page.run("new Promise(done => setTimeout(done, 800))")
        beside(chosen.out / "page-search.png", wide, shot(page))
        page.speak("en")
        page.size(980, 860)
        page.go(address)
        asked(page, chosen)
        beside(chosen.out / "page-ask.png", shot(page))


def searched(page: Browser, query: str) -> None:
    page.until("document.querySelectorAll('#search .card').length > 5")
    page.click("#query")
    page.write(query)
    page.press("Enter")
    page.until("document.querySelectorAll('#search .score').length > 5")
    page.run("document.activeElement.blur()")
    page.until(
        "[...document.querySelectorAll('#search .card img')].slice(0, 12).every(one => one.naturalWidth)"
    )


def asked(page: Browser, chosen: argparse.Namespace) -> None:
    page.click("#tab-ask")
    page.until("document.getElementById('scene')")
    name = Path(chosen.checkpoints[-1]).name
    page.run(
        f"(() => {{ const one = document.querySelector('#ask select'); one.value = '{name}';"
        " one.dispatchEvent(new Event('change')); })()"
    )
    address = f"/page/scene?number={chosen.scene}"
    page.run(
        "(async () => { const real = window.fetch; window.fetch = (path, how) => real(String(path).includes("
        f"'/page/scene') ? '{address}' : path, how); }})()"
    )
    page.click("#scene")
    page.until("document.querySelector('#ask .held img')?.naturalWidth > 0")
    page.click("#question")
    page.write(chosen.question)
    page.press("Enter")
    page.click("#ask .look")
    page.until("document.querySelector('#ask canvas.heat')?.width > 0")
    page.run(
        "[...document.querySelectorAll('.word')].find(one => one.innerText.trim() === "
        f"{json.dumps(chosen.word)})?.querySelector('input').click()"
    )
    page.run(
        "document.activeElement.blur(); document.querySelector('.looked').scrollIntoView({ block: 'end' })"
    )
    page.run("new Promise(done => setTimeout(done, 300))")


def shot(page: Browser) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        return Image.open(io.BytesIO(page.picture(Path(folder) / "page.png").read_bytes())).convert("RGB")


def beside(path: Path, *shots: Image.Image) -> None:
    """Pictures of one height side by side, as a PNG of few colours."""
    high = min(one.height for one in shots)
    sized = [
        one.resize((round(one.width * high / one.height), high), Image.Resampling.LANCZOS) for one in shots
    ]
    sheet = Image.new("RGB", (sum(one.width for one in sized) + 16 * (len(sized) - 1), high), "white")
    left = 0
    for one in sized:
        sheet.paste(one, (left, 0))
        left += one.width + 16
    sheet.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
