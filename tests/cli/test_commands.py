"""The command line: what it lists, what it refuses and how, and how fast its help is not slowed."""

import subprocess
import sys

import pytest

from sensorium.cli import COMMANDS, main
from sensorium.recipes import RECIPES, recipe_function
from sensorium.systems import SYSTEMS


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "Traceback" not in line
    return line


def test_an_unknown_command_lists_the_commands(capsys):
    line = refused(capsys, "serch", "x")
    assert all(name in line for name in COMMANDS)
    assert "Did you mean 'sensorium search'?" in line


def test_an_unknown_recipe_lists_the_recipes(capsys):
    line = refused(capsys, "train", "joint_embeding")
    assert all(name in line for name in RECIPES)
    assert "Did you mean 'joint_embedding'?" in line


def test_a_missing_folder_says_what_was_expected(capsys):
    assert "no index here" in refused(capsys, "search", "nowhere", "--text", "x")
    assert "is not a checkpoint" in refused(capsys, "evaluate", "nowhere", "emoji")
    assert "--text" in refused(capsys, "search", "nowhere")


def test_every_recipe_can_be_imported_and_explains_itself():
    for name in RECIPES:
        documentation = recipe_function(name).__doc__ or ""
        assert "Command: sensorium train " in documentation, name
        assert "Expected" in documentation, name


def test_systems_names_each_file_to_read(capsys):
    main(["systems"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in [*SYSTEMS, *RECIPES])


@pytest.mark.parametrize("argv", [["--help"], ["search", "--help"], ["compare", "--help"]])
def test_help_imports_nothing_heavy(argv):
    code = (
        "import sys\nfrom sensorium.cli import main\n"
        f"try: main({argv!r})\nexcept SystemExit: pass\n"
        "print('HEAVY', sorted({'torch', 'numpy', 'transformers', 'lancedb', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []")


def test_import_sensorium_is_lazy_and_lists_its_names():
    code = (
        "import sys, sensorium\nassert not {'torch', 'numpy'} & set(sys.modules)\n"
        "names = [getattr(sensorium, name) for name in sensorium.__all__]\nprint(len(names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 12
