"""The figure and the table of ways of fusing, from made numbers."""

import io

import pytest
from rich.console import Console

from sensorium.evaluation.repeats import Estimate
from sensorium.viewing.comparison import Compared, Way, draw, save, short
from sensorium.viewing.comparison_table import headings, html, markdown, rows, show

COLUMNS = ("text", "audio")


def near(value: float) -> Estimate:
    return Estimate(value, value - 0.02, value + 0.02)


def way(name: str, score: float, gain: float = 0.1) -> Way:
    missing = {"text": near(0.6), "audio": near(0.55), "half": near(0.7)}
    costs = {name: near(score - one.value) for name, one in missing.items()}
    shares = {"text": near(0.3), "audio": near(score - 0.8)}
    return Way(name, near(score), 48_128, 1.25, near(gain), missing, costs, shares)


def compared(**changes: object) -> Compared:
    given = {
        "task": "mood",
        "metric": "accuracy",
        "columns": COLUMNS,
        "kinds": [way("mean", 0.8, 0.01), way("gated", 0.9)],
        "dropped": [way("gated", 0.88)],
        "singles": [Way("text", near(0.74), 900, 0.5), Way("audio", near(0.7), 900, 0.5)],
        "majority": 0.5,
        "ceiling": 0.75,
    }
    return Compared(**{**given, **changes})


def test_rows_stand_in_the_order_of_the_scores_and_say_them() -> None:
    table = rows(compared())
    assert [(group, cells[0]) for group, cells in table] == [
        ("fusion", "gated"),
        ("dropout", "+ modality dropout"),
        ("fusion", "mean"),
        ("single", "text alone"),
        ("single", "audio alone"),
    ]
    first = dict(zip(headings(compared()), table[0][1]))
    assert first == {
        "fusion": "gated",
        "accuracy": "90.0",
        "95 % interval": "88.0 … 92.0",
        "over best column": "+10.0 (8.0 … 12.0)",
        "parameters": "48.1 k",
        "step": "×1.25",
        "no text": "60.0",
        "no audio": "55.0",
        "half missing": "70.0",
        "Shapley text": "30.0",
        "Shapley audio": "10.0",
    }
    by_chance = table[2][1][3]
    assert by_chance == "= +1.0 (−1.0 … 3.0)"  # not shown to be better than the best column


def test_markdown_page_and_screen_hold_the_same_cells() -> None:
    given = compared(kinds=[way("a|b", 0.8), way("<b>", 0.9)], dropped=())
    lines = markdown(given).splitlines()
    assert all(line.replace("\\|", "").count("|") == len(headings(given)) + 1 for line in lines[:6])
    assert "a\\|b" in lines[3]
    assert "&lt;b&gt;" in html(given)
    assert "<b>" not in html(given)
    screen = io.StringIO()
    show(compared(), Console(file=screen))
    assert "+10.0 (8.0 … 12.0)" in screen.getvalue()
    assert "majority answer 50.0" in screen.getvalue()


def test_where_less_is_better_the_lowest_is_first_and_numbers_are_plain() -> None:
    given = compared(unit="distance", metric="mae")
    assert [one.name for one in given.ranked()] == ["mean", "gated"]
    assert given.best_single.name == "audio"
    assert "mae ↓" in headings(given)
    assert rows(given)[0][1][1] == "0.80"


def test_the_figure_draws_every_way_where_its_numbers_are() -> None:
    figure = draw(compared())
    scores, costs, shares = figure.axes
    drawn = {(round(float(line.get_xdata()[0]), 3)) for line in scores.lines if line.get_marker() == "o"}
    assert drawn == {90.0, 88.0, 80.0, 74.0, 70.0}
    assert [label.get_text() for label in scores.get_yticklabels()][:2] == ["gated", "mean"]
    assert len(costs.patches) == 2 * 3  # text, audio and half, of two kinds
    assert [round(bar.get_width(), 6) for bar in shares.patches[:2]] == [30.0, 10.0]
    assert shares.patches[1].get_x() == pytest.approx(30.0)  # stacked


def test_negative_shares_go_the_other_way() -> None:
    worse = Way(
        "late",
        near(0.6),
        10,
        None,
        near(0),
        {},
        {"text": near(0.1)},
        {"text": near(0.2), "audio": near(-0.1)},
    )
    shares = draw(compared(kinds=[worse], dropped=())).axes[2]
    assert [(bar.get_x(), bar.get_width()) for bar in shares.patches] == [
        pytest.approx((0, 20.0)),
        pytest.approx((0, -10.0)),
    ]


def test_files_are_written_and_the_svg_keeps_its_letters(tmp_path) -> None:
    png, svg = save(tmp_path / "made", compared(), dpi=50)
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    assert "cost of a column missing at test time" in text
    assert svg.read_bytes() == save(tmp_path / "again", compared(), dpi=50)[1].read_bytes()


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(ValueError, match="no kinds of fusion"):
        draw(compared(kinds=[], dropped=()))


def test_counts_of_parameters_are_short() -> None:
    assert [short(n) for n in (512, 1_200, 48_128, 999_600, 1_234_567, 52_000_000)] == [
        "512",
        "1.20 k",
        "48.1 k",
        "1.00 M",
        "1.23 M",
        "52.0 M",
    ]
