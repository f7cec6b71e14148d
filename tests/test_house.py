"""The house of docs/design: a room imports only rooms on floors below its own, never sideways between rooms."""

import ast
from pathlib import Path

import sensorium

SRC = Path(sensorium.__file__).parent

FLOOR = {
    "tasks": 0, "client": 0,
    "features": 1, "weights": 1, "speed": 1, "media": 1, "layers": 1, "objectives": 1, "evaluation": 1, "viewing": 1,
    "encoders": 2, "projectors": 2, "fusion": 2, "backbones": 2, "generators": 2, "models": 2, "data": 2,
    "retrieval": 2,
    "systems": 3, "training": 3, "prompting": 3,
    "recipes": 4, "facade": 4,
    "serving": 5,
    "cli": 6,
}  # fmt: skip

WITHIN_A_FLOOR = {("recipes", "facade")}


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            names = [
                f"{node.module}.{alias.name}" if node.module == "sensorium" else str(node.module)
                for alias in node.names
            ]
        rooms |= {name.split(".")[1] for name in names if name.startswith("sensorium.")}
    return rooms


def offences(files: list[Path]) -> list[str]:
    found = []
    for path in files:
        here = room_of(path)
        if here == "__init__":
            continue
        for there in imported_rooms(path) - {here, "__version__"}:
            allowed = FLOOR[there] < FLOOR[here] or (here, there) in WITHIN_A_FLOOR
            if not allowed:
                found.append(
                    f"{path.relative_to(SRC)} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[there]})"
                )
    return found


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in SRC.rglob("*.py")} - {"__init__"}
    assert rooms <= set(FLOOR), f"rooms that the design lacks: {sorted(rooms - set(FLOOR))}"


def test_imports_go_down():
    assert offences(sorted(SRC.rglob("*.py"))) == []


def test_an_upward_import_would_be_found(tmp_path, monkeypatch):
    file = tmp_path / "media" / "wrong.py"
    file.parent.mkdir()
    file.write_text("from sensorium.training.loop import fit\nimport sensorium.features\n")
    monkeypatch.setitem(globals(), "SRC", tmp_path)
    found = offences([file])
    assert "media/wrong.py (floor 1) imports training (floor 3)" in found
