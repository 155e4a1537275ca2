"""Mutants: a module's source with one small fault in it.

Rule 1: a mutant differs from the module in one place: a check left out, a condition negated or off by one, an
operator or two operands exchanged, a number changed by one.
Rule 2: what an error says is not mutated, and no assertion: neither judges input.
"""

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
SHIFTED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OTHER_OPERATOR: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
    ast.Pow: ast.Mult,
}
# A hash is over operands in this order; elsewhere sums are of numbers, which commute.
HASH_BYTES = {"_LEAF", "_INNER", "_VALUE", "_KEY", "sibling", "current", "PROOF_MAGIC"}
COMMUTING = {"max", "min", "shared_bits_count", "TypeVar", "zip"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutant: where it differs from its module, and how."""

    module: str
    number: int
    line: int
    change: str
    place: str
    source: str
    is_in_function: bool


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module's source."""
    count = len(list(_changes(ast.parse(source))))
    for number in range(count):
        tree = ast.parse(source)
        node, change, apply = list(_changes(tree))[number]
        before, is_in_function = ast.unparse(node).splitlines()[0][:90], _is_in_function(tree, node)
        place = f"{source.splitlines()[node.lineno - 1].strip()} @ {node.col_offset}"
        apply()
        ast.fix_missing_locations(tree)
        change = f"{change}: {before}"
        yield Mutant(module, number, node.lineno, change, place, ast.unparse(tree), is_in_function)


def _is_in_function(tree: ast.Module, wanted: ast.AST) -> bool:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return any(wanted is node for function in functions for part in function.body for node in ast.walk(part))


Change = tuple[ast.stmt | ast.expr, str, Callable[[], None]]


def _changes(tree: ast.Module) -> Iterator[Change]:
    """Yield each place with what to do there, always in the same order."""
    for statement in _statements(tree.body):
        yield from _statement_changes(statement)
    for node in _judging(tree):
        yield from _expression_changes(node)


def _statements(body: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int]]:
    for index, statement in enumerate(body):
        yield body, index
        for field in ("body", "orelse", "finalbody"):
            inner = getattr(statement, field, None)
            if isinstance(inner, list):
                yield from _statements(inner)
        for handler in getattr(statement, "handlers", []):
            yield from _statements(handler.body)


def _statement_changes(place: tuple[list[ast.stmt], int]) -> Iterator[Change]:
    body, index = place
    statement = body[index]
    is_docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    left_out = isinstance(statement, ast.Raise | ast.AugAssign) or (
        isinstance(statement, ast.Expr) and not is_docstring
    )
    if left_out or (isinstance(statement, ast.Return) and statement.value is None):
        yield statement, "left out", lambda: body.__setitem__(index, ast.Pass())
    if isinstance(statement, ast.If | ast.While) and not isinstance(statement.test, ast.Compare):
        test = statement.test
        negated = ast.UnaryOp(ast.Not(), deepcopy(test))
        yield test, "negated", lambda: setattr(statement, "test", negated)


def _judging(tree: ast.Module) -> Iterator[ast.expr]:
    """Yield the expressions that decide something: not what an error says, nor what we assert of ourselves."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_refused":
            continue
        if isinstance(node, ast.expr):
            yield node
        pending.extend(ast.iter_child_nodes(node))


def _expression_changes(node: ast.expr) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=ops):
            for place, operator in enumerate(ops):
                for change, table in (("negated", NEGATED), ("shifted", SHIFTED)):
                    other = table.get(type(operator))
                    if other is not None:
                        yield node, change, _setter(ops, place, other())
        case ast.BoolOp(op=ast.And()):
            yield node, "or for and", lambda: setattr(node, "op", ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield node, "and for or", lambda: setattr(node, "op", ast.And())
        case ast.IfExp(test=test) if not isinstance(test, ast.Compare):
            yield node, "negated", lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.BinOp(left=left, op=operator, right=right):
            names = {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}
            if isinstance(operator, ast.Add) and names & HASH_BYTES:

                def exchange() -> None:
                    node.left, node.right = right, left

                yield node, "operands exchanged", exchange
            elif type(operator) in OTHER_OPERATOR:
                exchanged = OTHER_OPERATOR[type(operator)]()
                yield node, "other operator", lambda: setattr(node, "op", exchanged)
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            yield node, "one more", lambda: setattr(node, "value", number + 1)
            if number > 0:
                yield node, "one less", lambda: setattr(node, "value", number - 1)
        case ast.Call(func=function, args=[ast.expr(), ast.expr(), *_]) if not _commutes(function):
            yield node, "arguments exchanged", lambda: _exchange_first(node.args)
        case _:
            return


def _commutes(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id in COMMUTING


def _setter(ops: list[ast.cmpop], place: int, other: ast.cmpop) -> Callable[[], None]:
    return lambda: ops.__setitem__(place, other)


def _exchange_first(arguments: list[ast.expr]) -> None:
    arguments[0], arguments[1] = arguments[1], arguments[0]
