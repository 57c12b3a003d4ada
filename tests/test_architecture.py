"""The house keeps its rules: imports run downwards, files and functions stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "equinet"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

# What each room may import of the house; everything may use errors and elements.
ROOMS = {
    "o3": set(),
    "lie": set(),
    "ops": {"o3", "lie"},
    "nn": {"ops", "o3", "lie"},
    "models": {"nn", "ops", "o3", "lie"},
    "data": {"o3"},
    "zoo": {"models"},
    "integrations": {"zoo", "models", "data"},
    "evaluation": {"models", "data", "ops", "o3"},
    "training": {"evaluation", "models", "data", "zoo", "nn", "ops", "o3"},
    "testing": {"ops", "o3", "lie"},
}
COMMON = {"errors", "elements", "files", "run_directory", "__version__"}
# Third parties that are confined to a few rooms.
CONFINED = {
    "lightning": {"training", "train.py", "evaluate.py"},
    "hydra": {"config.py", "train.py", "evaluate.py"},
    "omegaconf": {"config.py", "train.py", "evaluate.py"},
    "ase": {"data", "integrations"},
    "e3nn": {"o3", "bench.py", "bench"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def public_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    room = room_of(path)
    for name in imported(path):
        head, *rest = name.split(".")
        if head == "equinet" and rest and room in ROOMS:
            target = rest[0]
            assert target == room or target in ROOMS[room] | COMMON, f"{path} imports {name}"
        if head in CONFINED:
            assert room in CONFINED[head], f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 500, f"{path} wants splitting"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documentation = ast.get_docstring(node) or ""
            length = (node.end_lineno or 0) - node.lineno - len(documentation.splitlines())
            assert length <= 80, f"{path}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_functions_are_documented_and_nothing_is_asserted(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in public_functions(tree):
        assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"
        assert node.returns is not None, f"{path}: {node.name} does not say what it returns"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno} asserts in the library"


def test_every_room_of_the_package_is_installed() -> None:
    import tomllib

    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(PACKAGE.parent).parts)
        for path in PACKAGE.rglob("__init__.py")
    }
    assert found | {"equinet.configs"} == listed
    patterns = project["tool"]["setuptools"]["package-data"]["equinet.configs"]
    configs = PACKAGE.parent / "configs"
    packed = {path for pattern in patterns for path in configs.glob(pattern)}
    assert packed == set(configs.rglob("*.yaml")), "a wheel would lack some configurations"


def test_import_is_light() -> None:
    """Importing the package must load none of the heavy libraries."""
    script = (
        "import sys, equinet, equinet.lie, equinet.ops, equinet.nn, equinet.models\n"
        "heavy = {'lightning', 'hydra', 'ase', 'e3nn', 'matplotlib', 'torch_geometric'}\n"
        "loaded = heavy & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
