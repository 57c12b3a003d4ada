"""The tutorials run as they are printed, and save the pictures that they show."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load():
    specification = importlib.util.spec_from_file_location(
        "run_tutorials", ROOT / "docs" / "run_tutorials.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tutorials = load()
NAMES = sorted(path.stem for path in tutorials.FOLDER.glob("*.md") if path.stem != "index")
QUICK = {"own_network"}  # no commands, which import for seconds


def test_blocks_are_joined_in_their_order():
    page = "```bash\necho 1\n```\n```text\nno\n```\n```python\nx = 2\n```\n"
    assert tutorials.program(page).splitlines() == [
        "import subprocess",
        "subprocess.run(['bash', '-ec', 'echo 1\\n'], check=True)",
        "x = 2",
    ]


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in NAMES],
)
def test_a_tutorial_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "tutorial"
    folder.mkdir()
    tutorials.run(name, folder)
    shown = tutorials.pictures((tutorials.FOLDER / f"{name}.md").read_text())
    assert shown, "a tutorial shows a picture of its own result"
    assert all((folder / picture).stat().st_size > 1000 for picture in shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_is_listed_and_its_pictures_are_there(name):
    assert f"({name}.md)" in (tutorials.FOLDER / "index.md").read_text()
    for picture in tutorials.pictures((tutorials.FOLDER / f"{name}.md").read_text()):
        assert 0 < (tutorials.FOLDER / picture).stat().st_size < 100_000


def test_the_examples_of_porting_run():
    exec(tutorials.program((ROOT / "docs" / "port.md").read_text()), {})  # noqa: S102 - our own page


def test_a_step_that_fails_ends_the_tutorial(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tutorials, "FOLDER", tmp_path)
    (tmp_path / "bad.md").write_text("```bash\nfalse\n```\n```python\nprint('on')\n```\n")
    (tmp_path / "run").mkdir()
    with pytest.raises(tutorials.subprocess.CalledProcessError, match="the tutorial bad"):
        tutorials.run("bad", tmp_path / "run")
    assert "on\n" not in capsys.readouterr().out
