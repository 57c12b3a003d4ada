"""Draw the rooms of the package and who imports whom: ``python docs/draw_architecture.py``.

The picture is made of the imports alone. A room is a folder of the package, or a file beside the
folders. It stands one floor above the highest room that it imports. An arrow is left out where a
chain of other arrows says the same.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "equinet"
PICTURE = ROOT / "docs" / "architecture.svg"

# They would add an arrow to nearly every room.
_LEFT_OUT = {"__init__", "__main__", "errors", "elements"}
# Inner folders that are a way to do what the folder around them does, not a room of their own.
_INNER = {"ops.native", "ops.reference"}
_WIDTH, _BOX, _HEIGHT, _FLOOR = 1180, 128, 30, 74
_SVG = "http://www.w3.org/2000/svg"
_FONT = 'font-family="sans-serif" font-size="12"'
_FRAME = f'width="{_BOX}" height="{_HEIGHT}" rx="5" fill="#eef3f7" stroke="#1f5f8b"'


def rooms() -> dict[str, set[str]]:
    """Return the rooms that each room imports, by the dotted name without ``equinet.``."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        targets = found.setdefault(_room(_dotted(path)), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [_origin(node.module, alias.name) for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            targets |= {_room(name) for name in names if name.startswith("equinet.")}
    kept = set(found) - _LEFT_OUT
    return {room: _others(room, found[room] & kept) for room in sorted(kept)}


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _others(room: str, targets: set[str]) -> set[str]:
    """Targets without the room itself and without its own wings, whose names it hands on."""
    return {name for name in targets if name != room and not name.startswith(f"{room}.")}


def _origin(module: str, name: str) -> str:
    """Follow a name through the ``__init__`` that exports it to where it is defined."""
    door = ROOT.joinpath(*module.split("."), "__init__.py")
    if module.startswith("equinet.") and door.is_file():
        for node in ast.parse(door.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module != module:
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return _origin(node.module, alias.name)
    return f"{module}.{name}"


def _room(name: str) -> str:
    """The innermost folder of a dotted name, or the file if it lies beside the folders."""
    parts = name.split(".")
    for length in range(len(parts), 1, -1):
        room = ".".join(parts[1:length])
        if room not in _INNER and (ROOT.joinpath(*parts[:length]) / "__init__.py").is_file():
            return room
    return parts[1]


def floors(imports: dict[str, set[str]]) -> dict[str, int]:
    """Return the floor of each room: 0 where it imports none, else one above the highest.

    Raises:
        ValueError: Rooms import each other in a circle.
    """
    floor: dict[str, int] = {}
    while len(floor) < len(imports):
        ready = [r for r, below in imports.items() if r not in floor and below <= set(floor)]
        if not ready:
            raise ValueError(f"a circle among {sorted(set(imports) - set(floor))}")
        floor |= {r: 1 + max((floor[below] for below in imports[r]), default=-1) for r in ready}
    return floor


def arrows(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that no chain of others implies, as pairs of importing and imported."""

    def reach(room: str) -> set[str]:
        return imports[room].union(*(reach(below) for below in imports[room]))

    return [
        (room, below)
        for room, targets in imports.items()
        for below in sorted(targets)
        if not any(below in reach(other) for other in targets - {below})
    ]


def draw() -> str:
    """Return the picture as SVG."""
    imports = rooms()
    floor = floors(imports)
    top = max(floor.values())
    place: dict[str, tuple[float, float]] = {}
    for level in range(top + 1):
        row = [room for room in imports if floor[room] == level]
        gap = _WIDTH / len(row)
        for index, room in enumerate(row):
            place[room] = (gap * (index + 0.5), (top - level) * _FLOOR + 10)
    height = top * _FLOOR + _HEIGHT + 20
    lines = [
        f'<svg xmlns="{_SVG}" viewBox="0 0 {_WIDTH} {height}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
    ]
    for room, below in arrows(imports):
        (x1, y1), (x2, y2) = place[room], place[below]
        start, end = y1 + _HEIGHT, y2
        middle = (start + end) / 2
        lines.append(
            f'<path d="M{x1:.0f} {start:.0f} C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} '
            f'{x2:.0f} {end:.0f}" fill="none" stroke="#9aa5b1"/>'
        )
    for room, (x, y) in place.items():
        lines += [
            f'<rect x="{x - _BOX / 2:.0f}" y="{y:.0f}" {_FRAME}/>',
            f'<text x="{x:.0f}" y="{y + 19:.0f}" text-anchor="middle">{room}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
