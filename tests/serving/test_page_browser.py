"""The page in a real Chromium: each tab used as a person would, with the mouse and by keyboard, wide and on a phone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, chromium
from live import live
from tiny_served import png, wav

from sensorium.serving.api import create_app
from sensorium.serving.keys import hashed
from sensorium.serving.served import Served, ServedAssistant, ServedSpace
from sensorium.serving.settings import Settings

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
CARDS = "[...document.querySelectorAll('#search .card')]"


@pytest.fixture(scope="module")
def address(made, tmp_path_factory) -> Iterator[str]:
    """Two that talk, a space with an index, a predictor, one report."""
    folder = tmp_path_factory.mktemp("page")
    served = made.served(folder / "squares")
    served.models["other"] = ServedAssistant("other", made.assistant)
    served.models["again"] = ServedSpace("again", made.space)
    run = folder / "run"
    run.mkdir()
    (run / "report.html").write_text("<title>A run</title><h1>What the run found</h1>")
    made.space.source = str(run)
    try:
        with live(create_app(served)) as url:
            yield url
    finally:
        made.space.source = ""


@pytest.fixture(scope="module")
def chromium_page(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def page(chromium_page, address) -> Iterator[Browser]:
    """Wide, in English, at the page, which leaves no error behind and asks nobody else."""
    chromium_page.said.clear()
    chromium_page.requested.clear()
    chromium_page.size(1280, 900)
    chromium_page.speak("en")
    chromium_page.go(address)
    chromium_page.until(f"{CARDS}.length")
    yield chromium_page
    assert chromium_page.said == []
    ours = (address, "data:", "blob:", "about:", "chrome:")  # the last: what a browser begins with
    assert [url for url in chromium_page.requested if not url.startswith(ours)] == []


def text(page: Browser, selector: str) -> str:
    return str(page.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))


def ids(page: Browser) -> list[str]:
    return list(page.run(f"{CARDS}.map(card => card.dataset.id)"))


# ---- search -----------------------------------------------------------------------------------------------


def test_words_are_searched_for(page):
    assert len(ids(page)) == 10  # some of the index, before anything was asked
    page.click("#query")
    page.write("green")
    page.press("Enter")
    page.until("document.querySelectorAll('#search .score').length === 10")
    assert {*ids(page)[:2]} == {"green-0", "green-1"}
    assert "“green”" in text(page, "#search .told")
    scores = page.run(
        "[...document.querySelectorAll('#search .score span')].map(one => Number(one.innerText))"
    )
    assert scores == sorted(scores, reverse=True)
    page.until("[...document.querySelectorAll('#search .card img')].every(one => one.naturalWidth > 0)")


def test_a_thing_of_the_index_is_searched_from_and_filters_hold(page):
    page.click("[data-id='blue-1']")
    page.until("document.querySelectorAll('#search .score').length === 9")
    assert ids(page)[0] == "blue-0"
    assert "blue-1" not in ids(page)
    page.run(
        "(() => { const one = document.querySelector('[data-column=colour]');"
        " one.value = [...one.options].find(o => o.text === 'red').value; one.dispatchEvent(new Event('change')); })()"
    )
    page.until("document.querySelectorAll('#search .score').length === 2")
    assert {*ids(page)} == {"red-0", "red-1"}


def test_a_picture_and_a_sound_are_searched_with(page, tmp_path):
    (tmp_path / "mine.png").write_bytes(png("yellow", 50))
    page.attach("[data-add=image] input", tmp_path / "mine.png")
    page.until("document.querySelectorAll('#search .score').length === 10")
    assert {*ids(page)[:2]} == {"yellow-0", "yellow-1"}
    assert "mine.png" in text(page, "#search .told")
    (tmp_path / "mine.wav").write_bytes(wav())
    page.attach("[data-add=audio] input", tmp_path / "mine.wav")
    page.until("document.querySelector('#search .told').innerText.includes('mine.wav')")
    page.until("document.querySelector('#search .held audio')")


def test_what_a_microphone_hears_is_searched_with(address, tmp_path):
    """Chromium's own stand-in for a microphone, which beeps, and for whoever allows it."""
    heard = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browser(tmp_path, *heard) as page:
        page.size(1280, 900)
        page.go(address)
        page.until(f"{CARDS}.length")
        button = "#search button[aria-label='Record with the microphone']"
        page.click(button)
        page.until(f"""document.querySelector("{button}").getAttribute("aria-pressed") === "true" """)
        page.run("new Promise(done => setTimeout(done, 700))")
        page.click(button)
        page.until("document.querySelectorAll('#search .score').length === 10")
        assert "recording" in text(page, "#search .told")
        assert page.run("document.querySelector('#search .held audio').src").startswith("data:audio/webm")
        page.until("document.querySelector('#search .held audio').readyState > 0")
        assert page.run(f"""document.querySelector("{button}").getAttribute("aria-pressed")""") == "false"
        assert page.said == []
    with browser(tmp_path / "without") as page:  # nobody allows it, and there is none
        page.size(1280, 900)
        page.go(address)
        page.until(f"{CARDS}.length")
        page.click(button)
        page.until("document.body.innerText.includes('The browser gave no microphone')")
        assert len(ids(page)) == 10


def test_an_error_is_said_in_the_servers_words(page, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    page.attach("[data-add=image] input", tmp_path / "broken.png")
    page.until("!document.getElementById('trouble').hidden")
    assert "That did not work" in text(page, "#trouble")
    assert "Traceback" not in text(page, "#trouble")
    page.said.clear()  # the browser notes the status 400


# ---- ask --------------------------------------------------------------------------------------------------


def test_a_question_is_answered_and_where_it_looked_is_drawn(page, tmp_path):
    page.click("#tab-ask")
    (tmp_path / "red.png").write_bytes(png("red", 1))
    page.until("document.querySelector('#ask [data-add=image]')")
    page.attach("#ask [data-add=image] input", tmp_path / "red.png")
    page.until("document.querySelector('#ask .held img')")
    page.click("#question")
    page.write("who")
    page.press("Enter")
    page.until("document.querySelector('#ask .look')")
    answer = text(page, "#ask .turn.model .said")
    assert len(answer) > 1
    assert "tokens read" in text(page, "#ask .under")
    page.click("#ask .look")
    page.until("document.querySelector('#ask canvas.heat')?.width > 0")
    assert "with all of it hidden" in text(page, "#ask .likely")
    page.click("#ask-clear")
    assert text(page, "#ask .log") == ""


def test_an_answer_is_stopped(page):
    page.click("#tab-ask")
    page.until("document.getElementById('question')")
    # Our own stream, which never ends: only the button ends it.
    page.run(
        "(() => { const real = window.fetch; window.fetch = (path, how) => { if (!String(path).includes('chat')) return"
        " real(path, how); const body = new ReadableStream({ start(c) { c.enqueue(new TextEncoder().encode("
        '\'data: {"choices":[{"delta":{"content":"so far"}}]}\\n\\n\'));'
        " how.signal.addEventListener('abort', () => c.error(new DOMException('', 'AbortError'))); } });"
        " return Promise.resolve(new Response(body)); }; })()"
    )
    page.click("#question")
    page.write("go on")
    page.press("Enter")
    page.until("document.querySelector('#ask .turn.model .said')?.innerText === 'so far'")
    page.click("#ask-stop")
    page.until("document.querySelector('#ask .under')?.innerText.includes('stopped')")
    assert page.run("document.getElementById('ask-stop').hidden && !document.getElementById('ask-go').hidden")


# ---- compare, explore, reports ----------------------------------------------------------------------------


def test_two_models_answer_side_by_side(page):
    page.click("#tab-compare")
    page.click("#both")
    page.write("who are you")
    page.press("Enter")
    page.until("document.querySelectorAll('#compare .side').length === 2")
    page.until("document.querySelector('#compare .told').innerText")
    assert text(page, "#compare .told") == "Both say the same."  # it is the same model twice
    sides = page.run("[...document.querySelectorAll('#compare .side .said')].map(one => one.innerText)")
    assert sides[0] == sides[1] != ""


def test_two_spaces_are_compared_by_labels_and_by_what_is_near(page):
    page.click("#tab-compare")
    page.until("document.querySelector('#compare select')")
    page.run(
        "(() => { const one = document.querySelector('#compare select'); one.value = 'embedding';"
        " one.dispatchEvent(new Event('change')); document.getElementById('labels').value = 'red\\ngreen\\nblue'; })()"
    )
    page.click("#both")
    page.write("blue")
    page.press("Enter")
    page.until("document.querySelector('#compare .told').innerText === 'Both say the same.'")
    best = page.run(
        "[...document.querySelectorAll('#compare .bars')].map(one => one.querySelector('dt').innerText)"
    )
    assert best == ["blue", "blue"]
    near = page.run(
        "[...document.querySelectorAll('#compare .side')].map(one => one.querySelectorAll('.card').length)"
    )
    assert near == [6, 0]  # the second has no index
    assert "No index of this model" in text(page, "#compare .side:last-child")


def test_the_map_shows_things_and_is_walked_by_keys(page):
    page.click("#tab-explore")
    page.until("document.querySelector('#explore canvas').width > 300")
    assert "10 of 10 things by PCA" in text(page, "#explore")
    page.run("document.querySelector('#explore canvas').focus()")
    page.press("ArrowRight")
    first = page.until("document.querySelector('#explore .chosen span')?.innerText")
    for _ in range(4):
        page.press("ArrowDown")
        page.press("ArrowRight")
    assert first.startswith("a ")
    page.until("document.querySelector('#explore .hover img')?.naturalWidth > 0")
    page.press("Enter")
    page.until("document.querySelectorAll('#search .score').length === 9")
    assert page.run("location.hash") == "#search"


def test_the_gap_is_measured(page):
    page.click("#tab-explore")
    page.click("#measure-gap")
    page.until("document.querySelector('#explore .facts')")
    assert "Cosine of pairs that belong together" in text(page, "#explore .facts")
    assert (
        page.run("document.querySelectorAll('#explore .plot .dot').length") == 15
    )  # ten pictures, five captions


def test_reports_stand_in_a_frame_that_may_do_nothing_here(page):
    page.click("#tab-reports")
    page.until("document.querySelector('#reports iframe')")
    frame = page.run(
        "(() => { const one = document.querySelector('#reports iframe'); return [one.getAttribute('sandbox'),"
        " new URL(one.src).pathname, one.contentDocument === null] })()"
    )
    assert frame[:2] == ["allow-scripts", "/page/reports/colours"]
    page.until(
        "document.querySelector('#reports iframe').contentDocument === null"
    )  # it has an origin of its own


# ---- everybody --------------------------------------------------------------------------------------------


def test_keys_alone_reach_every_tab(page):
    page.run("document.getElementById('tab-search').focus()")
    opened = []
    for _ in range(5):
        page.press("ArrowRight")
        opened.append(page.run("document.querySelector('[role=tab][aria-selected=true]').id"))
        panel = opened[-1].removeprefix("tab-")
        page.until(f"!document.getElementById('{panel}').innerText.includes('Loading')")
        assert page.run("document.activeElement.id") == opened[-1]
        assert (
            page.run("[...document.querySelectorAll('[role=tabpanel]')].filter(one => !one.hidden).length")
            == 1
        )
    assert opened == ["tab-ask", "tab-compare", "tab-explore", "tab-reports", "tab-search"]
    page.press("Tab")
    assert page.run("document.activeElement.id") == "query"
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"  # who walks by keys sees where they are


def test_everything_that_acts_has_a_name(page):
    for tab in ("search", "ask", "compare", "explore", "reports"):
        page.click(f"#tab-{tab}")
        page.until(f"document.querySelector('#{tab} h1')")
        nameless = page.run(
            "[...document.querySelectorAll('button, select, textarea, input:not([aria-hidden]), iframe, canvas, a')]"
            ".filter(one => one.offsetParent && !(one.innerText?.trim() && one.tagName !== 'SELECT') &&"
            " !one.getAttribute('aria-label') && !one.title && !one.closest('label')).map(one => one.outerHTML)"
        )
        assert nameless == []


def test_the_language_is_the_browsers_and_can_be_changed(page, address):
    page.speak("zh-CN")
    page.go(address)
    page.until(f"{CARDS}.length")
    assert text(page, "#tab-search") == "搜索"
    assert page.run("document.documentElement.lang") == "zh"
    page.click("#language")
    assert text(page, "#tab-search") == "Search"
    assert "Some of 10 things" in text(page, "#search")
    page.go(address)
    page.until(f"{CARDS}.length")
    assert text(page, "#tab-search") == "Search"  # it is remembered
    page.run("localStorage.clear()")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_wider_than_a_phone(page, address, language):
    page.size(390, 844, phone=True, dark=True)
    page.speak(language)
    page.go(address)
    page.until(f"{CARDS}.length")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 25)"
    for tab in ("search", "ask", "compare", "explore", "reports"):
        page.click(f"#tab-{tab}")
        page.until(f"document.querySelector('#{tab} h1')")
        assert page.run("document.documentElement.scrollWidth") == 390, tab


def test_who_serves_nothing_yet_learns_what_to_type(chromium_page):
    with live(create_app(Served({}))) as url:
        chromium_page.size(1280, 900)
        chromium_page.speak("en")
        chromium_page.go(url)
        chromium_page.until("document.querySelector('#search .teach')")
        assert "sensorium serve runs/quickstart" in text(chromium_page, "#search .teach")
        for tab in ("ask", "compare", "explore", "reports"):
            chromium_page.click(f"#tab-{tab}")
            chromium_page.until(f"document.querySelector('#{tab} .teach code')")
            assert "sensorium " in text(chromium_page, f"#{tab} .teach code")


def test_a_key_is_asked_for_once_by_the_browser(chromium_page, made, tmp_path):
    settings = Settings(key_hashes=frozenset({hashed("open sesame")}))
    with live(create_app(made.served(tmp_path / "locked", settings), settings)) as url:
        chromium_page.size(1280, 900)
        chromium_page.go(url.replace("http://", "http://me:open%20sesame@"))
        chromium_page.until(f"{CARDS}.length")
        chromium_page.click("#query")
        chromium_page.write("red")
        chromium_page.press("Enter")
        chromium_page.until("document.querySelectorAll('#search .score').length === 10")
        assert {*ids(chromium_page)[:2]} == {"red-0", "red-1"}
        chromium_page.until(
            "[...document.querySelectorAll('#search .card img')].every(one => one.naturalWidth > 0)"
        )


def test_pictures_of_the_page_can_be_taken(page, tmp_path: Path):
    from PIL import Image

    assert Image.open(page.picture(tmp_path / "page.png")).size == (1280, 900)
