"""Files of every release are read as they were written."""

import json
import shutil
from pathlib import Path

import pytest
from damage import digest
from versions.contents import KINDS, MODELS, answer, resume

import equinet
from equinet import zoo
from equinet.data.datasets import nbody
from equinet.data.digits import superpixels
from equinet.models.catalog import all_models

HERE = Path(__file__).parent
RELEASES = sorted(path.parent for path in HERE.glob("*/expected.json"))


def expected(release: Path) -> dict:
    return json.loads((release / "expected.json").read_text())


CASES = [(release, kind) for release in RELEASES for kind in expected(release)]


@pytest.fixture
def folder(request, tmp_path) -> Path:
    release, kind = request.param
    return Path(shutil.copytree(release / kind.replace(" ", "_"), tmp_path / "copy"))


@pytest.mark.parametrize(
    ("folder", "case"), [(c, c) for c in CASES], indirect=["folder"],
    ids=[f"{release.name} {kind}" for release, kind in CASES],
)  # fmt: skip
def test_the_content_is_what_was_written(folder, case, monkeypatch):
    for module, name in ((superpixels, "make_superpixels"), (nbody, "regenerate")):
        monkeypatch.setattr(module, name, getattr(module, name))  # the reader replaces it
    _, read = KINDS[case[1]]
    assert digest(read(folder)) == expected(case[0])[case[1]]["digest"]


OF_MODELS = [case for case in CASES if case[1].startswith("model ")]


@pytest.mark.parametrize("case", OF_MODELS, ids=[f"{r.name} {kind}" for r, kind in OF_MODELS])
def test_models_say_what_they_said(case):
    release, kind = case
    found = answer(zoo.load(release / kind.replace(" ", "_")))
    wanted = expected(release)[kind]["answer"]
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=2e-5, abs=2e-6), name


RUNS = [(release, "run") for release in RELEASES]


@pytest.mark.parametrize("folder", RUNS, indirect=True, ids=[r.name for r, _ in RUNS])
def test_a_run_goes_on(folder):
    before = (folder / "run" / "metrics.csv").read_text()
    rows = resume(folder, 8)
    assert rows[-1]["step"] == 8
    assert (folder / "run" / "metrics.csv").read_text().startswith(before.strip())
    assert zoo.load(folder / "run").elements == (1, 8)


def test_every_model_of_this_release_is_among_them():
    assert set(MODELS) == set(all_models())
    assert set(expected(HERE / equinet.__version__)) == set(KINDS)


def test_the_files_are_small():
    size = sum(path.stat().st_size for path in HERE.glob("*/**/*") if path.is_file())
    assert size <= 200_000 * len(RELEASES)
