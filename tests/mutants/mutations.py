"""Finds the faults that can be put into a file. A fault replaces a piece of the file's text by another one.

Not changed are what only mypy reads, docstrings and other text, `__slots__`, and numbers that are constants of a
module, since another number would be as right.
"""

from __future__ import annotations

import ast
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPARED: Final[dict[type[ast.cmpop], tuple[str, ...]]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
COMPUTED: Final[dict[type[ast.operator], str]] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "//",
    ast.FloorDiv: "*",
    ast.BitOr: "&",
    ast.BitAnd: "|",
}
# Functions whose arguments may have any order, or make no sense in another one.
UNORDERED: Final = {"min", "max", "isinstance", "cast"}
OTHER_NAME: Final = {"min": "max", "max": "min", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """A fault in a file.

    Attributes:
        file: The file.
        start: The index of the first byte that is replaced.
        end: The index after the last byte that is replaced.
        text: The new text.
        first: The first line of the statement that is changed. If the statement contains others, only its head counts.
        last: The last line of this statement or head.
        is_import: Whether the line runs when the module is imported.
    """

    file: Path
    start: int
    end: int
    text: bytes
    first: int
    last: int
    is_import: bool

    @property
    def source(self) -> bytes:
        """Return the content of the file with the fault."""
        whole = self.file.read_bytes()
        return whole[: self.start] + self.text + whole[self.end :]

    @property
    def line(self) -> int:
        """Return the number of the line in which the fault begins."""
        return self.file.read_bytes()[: self.start].count(b"\n") + 1

    @property
    def change(self) -> tuple[str, str]:
        """Return the changed lines, before and after, as one line each and without indentation."""
        whole = self.file.read_bytes()
        begin = whole.rfind(b"\n", 0, self.start) + 1
        end = whole.find(b"\n", self.end)
        before, after = whole[begin:end], whole[begin : self.start] + self.text + whole[self.end : end]
        return " ".join(before.decode().split()), " ".join(after.decode().split())


def mutants_of(file: Path) -> list[Mutant]:
    """Return all faults of a file, in order."""
    found = {(each.start, each.end, each.text): each for each in _Finder(file).find()}
    return [found[key] for key in sorted(found)]


class _Finder:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._source = file.read_bytes()
        self._starts = [0]
        for line in self._source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._where = (0, 0, True)

    def find(self) -> Iterator[Mutant]:
        yield from self._body(ast.parse(self._source).body, is_import=True)

    # ---- statements ----

    def _body(self, statements: list[ast.stmt], *, is_import: bool) -> Iterator[Mutant]:
        for statement in statements:
            yield from self._statement(statement, is_import=is_import)

    def _statement(self, node: ast.stmt, *, is_import: bool) -> Iterator[Mutant]:
        inner = [part for part in ("body", "orelse", "finalbody") if getattr(node, part, None)]
        handlers = getattr(node, "handlers", []) or getattr(node, "cases", [])
        blocks = [*(getattr(node, part) for part in inner), *(each.body for each in handlers)]
        last = min((block[0].lineno - 1 for block in blocks), default=node.end_lineno or 0)
        self._where = (node.lineno, max(node.lineno, last), is_import)
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.Import() | ast.ImportFrom():
                return
            case ast.Expr(ast.Constant()) | ast.Expr(ast.Call(ast.Name("assert_never"))):
                return
            case ast.Assign(targets=[ast.Name("__slots__")]):
                return
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if is_import and _is_number(value):
                return
            case ast.ClassDef():
                yield from self._body(node.body, is_import=True)
                return
            case ast.FunctionDef():
                for default in [*node.args.defaults, *node.args.kw_defaults]:
                    if default is not None:
                        yield from self._expression(default)
                yield from self._body(node.body, is_import=False)
                return
            case ast.Return(ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
                yield self._replace(value, "None")
                if isinstance(value, ast.Tuple) and len(value.elts) > 1:
                    yield self._swap(value.elts[0], value.elts[1])
            case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise() if not is_import:
                yield self._replace(node, "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) if not is_import:
                yield self._replace(node, "pass")
            case ast.Continue():
                yield self._replace(node, "break")
            case ast.Break():
                yield self._replace(node, "continue")
            case ast.If(test=test) | ast.While(test=test):
                yield self._negate(test)
            case _:
                pass
        if isinstance(node, ast.AugAssign) and type(node.op) in COMPUTED:
            yield self._between(node.target, node.value, COMPUTED[type(node.op)] + "=")
        for name, field in ast.iter_fields(node):
            if name not in ("body", "orelse", "finalbody", "handlers", "annotation"):
                for part in field if isinstance(field, list) else [field]:
                    if isinstance(part, ast.expr | ast.withitem):
                        yield from self._expression(part)
                    elif isinstance(part, ast.match_case) and part.guard is not None:
                        yield self._negate(part.guard)
                        yield from self._expression(part.guard)
        for block in blocks:
            yield from self._body(block, is_import=is_import)

    # ---- expressions ----

    def _expression(self, root: ast.AST) -> Iterator[Mutant]:
        for node in ast.walk(root):
            match node:
                case ast.Compare(left, ops, comparators):
                    for (before, after), operator in zip(pairwise([left, *comparators]), ops, strict=True):
                        for text in COMPARED[type(operator)]:
                            yield self._between(before, after, text)
                case ast.BoolOp(ast.Or(), [_, ast.Constant("")]):
                    pass  # this is for mypy only: the job's id is never None here
                case ast.BoolOp(operator, values):
                    for before, after in pairwise(values):
                        yield self._between(before, after, "or" if isinstance(operator, ast.And) else "and")
                    for number, value in enumerate(values):
                        neighbour = values[number - 1] if number else values[1]
                        yield self._drop(value, neighbour)
                case ast.UnaryOp(ast.Not(), operand):
                    yield self._replace(node, f"({self._text(operand)})")
                case ast.BinOp(left, operator, right) if type(operator) in COMPUTED:
                    yield self._between(left, right, COMPUTED[type(operator)])
                case ast.IfExp(test):
                    yield self._negate(test)
                case ast.comprehension(ifs=ifs):
                    for test in ifs:
                        yield self._negate(test)
                case ast.Constant(bool() as value):
                    yield self._replace(node, str(not value))
                case ast.Constant(int() as value):
                    yield self._replace(node, str(value + 1))
                case ast.Call(function, [first, second, *_]) if not _is_starred(first, second):
                    if not (isinstance(function, ast.Name) and function.id in UNORDERED):
                        yield self._swap(first, second)
                case ast.Name(name) if name in OTHER_NAME:
                    yield self._replace(node, OTHER_NAME[name])
                case _:
                    pass

    # ---- text ----

    def _at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _make(self, start: int, end: int, text: str) -> Mutant:
        first, last, is_import = self._where
        return Mutant(self._file, start, end, text.encode(), first, last, is_import)

    def _replace(self, node: ast.expr | ast.stmt, text: str) -> Mutant:
        return self._make(*self._span(node), text)

    def _negate(self, test: ast.expr) -> Mutant:
        return self._replace(test, f"(not ({self._text(test)}))")

    def _swap(self, first: ast.expr, second: ast.expr) -> Mutant:
        (start, middle), (again, end) = self._span(first), self._span(second)
        between = self._source[middle:again].decode()
        return self._make(start, end, self._text(second) + between + self._text(first))

    def _drop(self, value: ast.expr, neighbour: ast.expr) -> Mutant:
        """Replace an operand by its neighbour."""
        return self._replace(value, f"({self._text(neighbour)})")

    def _between(self, before: ast.expr, after: ast.expr, text: str) -> Mutant:
        """Replace an operator. Parentheses beside it stay."""
        start, end = self._span(before)[1], self._span(after)[0]
        middle = self._source[start:end].decode()
        operator = middle.strip("() \n\\").strip()
        at = start + len(middle[: middle.index(operator)].encode())
        return self._make(at, at + len(operator.encode()), text)


def _is_number(value: ast.expr | None) -> bool:
    """Whether an expression consists of numbers only, such as `1 << 20`."""
    return value is not None and all(
        isinstance(node, ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop)
        or (isinstance(node, ast.Constant) and isinstance(node.value, int | float))
        for node in ast.walk(value)
    )


def _is_starred(*values: ast.expr) -> bool:
    return any(isinstance(value, ast.Starred) for value in values)
