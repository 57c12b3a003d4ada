"""The house keeps its rules: imports run downwards and through doors, rooms stay small."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "equinet"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})

# What each room, and each module beside the rooms, may import of the house.
GROUND = {
    *("arguments", "errors", "elements", "files", "neighborhood", "names", "plugins", "plain_json"),
    "__version__",
}
ROOMS = {
    "o3": set(),
    "lie": set(),
    "ops": {"o3", "lie"},
    "nn": {"ops", "o3", "lie"},
    "diffusion": {"ops"},
    "models": {"data", "diffusion", "nn", "ops", "o3", "lie"},
    "data": {"o3"},
    "zoo": {"models", "ops", "data", "diffusion"},
    "integrations": {"zoo", "models", "data"},
    "testing": {"ops", "o3", "lie"},
    "bench": {"data", "models", "ops", "o3", "testing"},
    "configuration": {"zoo"},
    "evaluation": {"models", "data", "diffusion", "ops", "o3"},
    "training": {
        *("evaluation", "models", "data", "zoo", "diffusion", "nn", "ops", "o3", "lie"),
        "configuration",
    },
}
# The entries and what they are made of see every room.
ENTRIES = {
    *("command_line", "train.py", "evaluate.py", "sample.py"),
    *("__main__.py", "__init__.py"),
}
# Folders inside a room that are ways to do what the room does; the room may enter their modules.
INNER = {"equinet.ops.native", "equinet.ops.reference"}
# Third parties that are confined to a few rooms.
CONFINED = {
    "lightning": {"training", "train.py"},
    "hydra": {"configuration", "train.py"},
    "omegaconf": {"configuration"},
    "ase": {"bench", "data", "integrations"},
    "e3nn": {"o3", "bench"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def folder_of(path: Path) -> str:
    """Dotted name of the folder that a file lies in."""
    return ".".join(path.parent.relative_to(PACKAGE.parent).parts)


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_folder(module: str) -> bool:
    return (PACKAGE.parent.joinpath(*module.split(".")) / "__init__.py").is_file()


def is_file(module: str) -> bool:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py").is_file()


def exported(folder: str) -> set[str]:
    """Names in ``__all__`` of a folder."""
    tree = ast.parse((PACKAGE.parent.joinpath(*folder.split(".")) / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return {
                str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant)
            }
    return set()


def modules_entered(path: Path) -> set[str]:
    """Modules whose inside a file looks into: all but folders that export what is imported."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if is_file(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            if is_file(node.module):
                found.add(node.module)
            elif is_folder(node.module):
                names = {alias.name for alias in node.names} - exported(node.module)
                found |= {
                    f"{node.module}.{name}" for name in names if is_file(f"{node.module}.{name}")
                }
    return found


def public_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def test_every_room_is_in_the_table() -> None:
    rooms = {room_of(path) for path in FILES}
    ground = {f"{name}.py" for name in GROUND}
    assert rooms - set(ROOMS) - ENTRIES - ground == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    room = room_of(path)
    for name in imported(path):
        head, *rest = name.split(".")
        if head == "equinet" and rest and room not in ENTRIES:
            target = rest[0]
            allowed = ROOMS.get(room, set()) | GROUND | {room}
            assert target in allowed, f"{path} imports {name}"
        if head in CONFINED:
            assert room in CONFINED[head], f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_reaches_past_the_door_of_another_folder(path: Path) -> None:
    """A module may enter modules of its own folder and of those around it, else exported names."""
    own = folder_of(path)
    for module in modules_entered(path):
        folder = module.rpartition(".")[0]
        around = folder.rpartition(".")[0] if folder in INNER else folder
        is_inside = f"{own}.".startswith(f"{around}.")
        assert is_inside, f"{path} imports from {module}; export it from {folder} instead"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_imports_through_the_own_door(path: Path) -> None:
    """A folder's ``__init__`` imports its modules; the other way round would be a circle."""
    own = folder_of(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if path.name != "__init__.py" and isinstance(node, ast.ImportFrom):
            for name in (f"{own}.{alias.name}" for alias in node.names):
                is_place = is_file(name) or is_folder(name)
                assert node.module != own or own == "equinet" or is_place, f"{path} imports {name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_folders_stay_small(folder: Path) -> None:
    doors = {"__init__.py", "__main__.py"}
    modules = [path for path in folder.glob("*.py") if path.name not in doors]
    assert len(modules) <= 15, f"{folder} wants a wing"


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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_suppressed_type_checks_name_their_code_and_their_reason(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if "type: ignore" in line:
            is_argued = re.search(r"# type: ignore\[[a-z-]+\]  # \S+ \S+", line)
            assert is_argued, f"{path}:{number}: write '# type: ignore[code]  # reason'"


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


@pytest.mark.parametrize(
    ("modules", "heavy", "warnings"),
    [
        (
            "equinet, equinet.lie, equinet.ops, equinet.nn, equinet.models",
            "lightning hydra ase e3nn matplotlib torch_geometric",
            "error",
        ),
        (
            "equinet.evaluation.oc20, equinet.evaluation.report, equinet.command_line.oc20",
            "lightning",
            "ignore",
        ),
        ("equinet.__main__", "torch lightning hydra numpy", "error"),
    ],
)
def test_imports_are_light(modules: str, heavy: str, warnings: str) -> None:
    """A room loads none of the heavy libraries that it does not need."""
    script = (
        f"import sys, {modules}\n"
        f"loaded = set({heavy.split()!r}) & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    subprocess.run([sys.executable, "-W", warnings, "-c", script], check=True)


def test_the_picture_shows_todays_imports() -> None:
    path = PACKAGE.parent / "docs" / "draw_architecture.py"
    spec = importlib.util.spec_from_file_location("draw_architecture", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PICTURE.read_text() == module.draw(), "run python docs/draw_architecture.py"
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    rooms = {room for room in module.rooms() if (PACKAGE / room.replace(".", "/")).is_dir()}
    untold = {room for room in rooms if f"`{room.replace('.', '/')}`" not in text}
    assert not untold, f"docs/architecture.md has no row for {untold}"


def test_every_schema_says_what_its_operation_computes() -> None:
    text = (PACKAGE.parent / "csrc" / "schemas.cpp").read_text()
    body = text[text.index("{") + 1 :]
    paragraphs = [each.strip() for each in body.split("\n\n") if "m.def(" in each]
    assert paragraphs
    silent = [each for each in paragraphs if not each.startswith("//")]
    assert not silent, f"csrc/schemas.cpp does not say what these compute: {silent}"
