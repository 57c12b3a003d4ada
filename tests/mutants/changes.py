"""Small faults that are put into source text, each of which some test should find."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
NAMES = {
    "min": "max",
    "max": "min",
    "amin": "amax",
    "amax": "amin",
    "sum": "mean",
    "mean": "sum",
    "sin": "cos",
    "cos": "sin",
    "floor": "ceil",
    "ceil": "floor",
    "any": "all",
    "all": "any",
}
"""Names of functions and methods that are exchanged."""

_UNSWAPPED = {
    *("isinstance", "issubclass", "getattr", "hasattr"),  # fail at once
    *("min", "max", "math.hypot", "torch.maximum", "torch.minimum", "torch.mul", "torch.add"),
}

_LINES = (
    (re.compile(r" \+ "), " - "),
    (re.compile(r" - "), " + "),
    (re.compile(r" \* "), " + "),
    (re.compile(r" < "), " <= "),
    (re.compile(r" \+= "), " -= "),
    (re.compile(r"(?<=[ (])2 \* "), ""),
    (re.compile(r"std::min"), "std::max"),
    (re.compile(r"std::max"), "std::min"),
)


@dataclass(frozen=True)
class Change:
    """A replacement of one stretch of a file.

    Attributes:
        line: Number of the line, from 1.
        start: Place of the stretch in the text.
        end: Place after the stretch.
        text: Text that replaces it.
        before: Text that is replaced.
    """

    line: int
    start: int
    end: int
    text: str
    before: str

    def applied_to(self, text: str) -> str:
        """Return a text with the stretch replaced."""
        return text[: self.start] + self.text + text[self.end :]

    def __str__(self) -> str:
        return f"{' '.join(self.before.split())}  ->  {' '.join(self.text.split())}"


def python_changes(text: str) -> list[Change]:
    """List the changes of a Python module, in the order of its lines."""
    # Columns of the parser count bytes.
    starts = [0]
    for line in text.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    content = text.encode()
    found = []
    for node, changed in _changed_nodes(ast.parse(text)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        before, after = content[:start].decode(), content[start:end].decode()
        new = ast.unparse(changed)
        if isinstance(node, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp):
            new = f"({new})"
        change = Change(node.lineno, len(before), len(before) + len(after), new, after)
        if ast.unparse(node) != ast.unparse(changed) and _parses(change.applied_to(text)):
            found.append(change)
    return sorted(found, key=lambda change: (change.start, change.end, change.text))


def native_changes(text: str) -> list[Change]:
    """List the changes of a C++ file, outside of comments and of the preprocessor."""
    found, place = [], 0
    for number, line in enumerate(text.split("\n"), start=1):
        code = line.split("//")[0]
        if not code.lstrip().startswith("#"):
            for pattern, new in _LINES:
                for match in pattern.finditer(code):
                    start, end = place + match.start(), place + match.end()
                    found.append(Change(number, start, end, new, match.group()))
        place += len(line) + 1
    return found


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _changed_nodes(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Walk over expressions that run, with a changed copy of each."""
    for name, value in ast.iter_fields(tree):
        if name in {"annotation", "returns", "decorator_list", "bases", "type_comment"}:
            continue
        if isinstance(tree, ast.Assign) and "__all__" in ast.unparse(tree.targets[0]):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr):
                continue
            if isinstance(child, ast.Call) and ast.unparse(child.func).startswith("_log."):
                continue
            if isinstance(child, ast.expr):
                yield from ((child, changed) for changed in _changes_of(child))
            if isinstance(child, ast.AST):
                yield from _changed_nodes(child)


def _changes_of(node: ast.expr) -> Iterator[ast.expr]:
    """Yield faulty versions of one expression."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        is_text = any(
            isinstance(each, ast.JoinedStr)
            or (isinstance(each, ast.Constant) and isinstance(each.value, str))
            for each in ast.walk(node)
        )
        if not is_text:
            yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
            yield node.left
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        yield ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.Constant) and type(node.value) in {int, float}:
        yield ast.Constant(node.value + 1 if isinstance(node.value, int) else 2 * node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Call):
        yield from _changed_calls(node)


def _changed_calls(node: ast.Call) -> Iterator[ast.expr]:
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in NAMES:
        other: ast.expr = ast.Attribute(function.value, NAMES[function.attr], ast.Load())
        yield ast.Call(other, node.args, node.keywords)
    if isinstance(function, ast.Name) and function.id in NAMES:
        yield ast.Call(ast.Name(NAMES[function.id], ast.Load()), node.args, node.keywords)
    if len(node.args) >= 2 and ast.unparse(function) not in _UNSWAPPED:
        first, second, *rest = node.args
        if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
            yield ast.Call(function, [second, first, *rest], node.keywords)
