"""Text of strangers leaves through its guard, for each kind of reader (docs/threats.md, Texts of strangers).

Rule 1: one module prints and asks at a terminal, one gives a log its form, one writes CSV, one writes HTML. Nothing
else of the program does, so no call can leave its guard out.
Rule 2: JSON that leaves as JSON is ASCII, or goes into a file for a program to read.
Rule 3: the page's table names each reader, its guard and the test; the modules that it names are those of rule 1.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.sources import ROOT, nodes_of, tree_of

TERMINAL = "cli/output.py"
LOG = "node/logform.py"
SHEET = "cli/csvfile.py"
PAGE = "node/consent/receipttext.py"
GUARDS = {TERMINAL, LOG, SHEET, PAGE, "node/visibletext.py"}

# Where a call stands that would be another's, with the reason why no stranger's text is in it.
ELSEWHERE = {
    (
        "cli/main.py",
        "sys.stderr.write",
    ): "names a package of a closed list, where the library that prints is missing",
    ("node/files/system.py", "os.write"): "content of a file, where the system cannot write at a place",
    ("node/lifeline.py", "os.write"): "bytes that let processes go, on a pipe of theirs",
    (
        "node/workers.py",
        "traceback.format_exc",
    ): "a worker's fault, raised where it was asked and printed there",
    ("node/sync/checker.py", "sys.stdout.buffer"): "bytes of the answers to the parent process, on a pipe",
}
# What may be done with a stream outside of its guard: nothing is written.
HARMLESS = {"flush", "isatty", "fileno", "reconfigure"}

PRINTS = {"print", "input", "breakpoint"}
CLICK = {
    "echo",
    "secho",
    "prompt",
    "confirm",
    "pause",
    "edit",
    "echo_via_pager",
    "progressbar",
    "style",
    "launch",
}
LOGS = {
    "basicConfig",
    "StreamHandler",
    "FileHandler",
    "Formatter",
    "LogRecord",
    "setFormatter",
    "setLogRecordFactory",
    "lastResort",
    "dictConfig",
    "fileConfig",
}
TRACES = {"print_exc", "print_exception", "print_tb", "print_stack", "print_last", "format_exc"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("ledger", "node", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), tree_of(path)


def find_unguarded(tree: ast.AST) -> list[tuple[str, str]]:
    """Return what writes for a reader, as (the reader's guard, what was written)."""
    found: list[tuple[str, str]] = []
    for node in nodes_of(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in PRINTS:
                found.append((TERMINAL, name))
            case ast.Attribute(value=ast.Name(id="click"), attr=name) if name in CLICK:
                found.append((TERMINAL, f"click.{name}"))
            case ast.ImportFrom(module="click", names=names) if {each.name for each in names} & CLICK:
                found.append((TERMINAL, "from click import"))
            case ast.ImportFrom(module="sys" | "builtins", names=names) if {each.name for each in names} & {
                "stdout",
                "stderr",
                "__stdout__",
                "__stderr__",
                "print",
            }:
                found.append((TERMINAL, "from sys import"))
            case ast.Attribute(
                value=ast.Attribute(
                    value=ast.Name(id="sys"), attr="stdout" | "stderr" | "__stdout__" | "__stderr__" as stream
                ),
                attr=name,
            ) if name not in HARMLESS:
                found.append((TERMINAL, f"sys.{stream}.{name}"))
            case ast.Attribute(value=ast.Name(id="traceback"), attr=name) if name in TRACES:
                found.append((TERMINAL, f"traceback.{name}"))
            case (
                ast.Call(func=ast.Attribute(attr="show"), args=[])
                | ast.Attribute(value=ast.Name(id="warnings"), attr="warn")
            ):
                found.append((TERMINAL, ast.unparse(node)))
            case ast.Attribute(value=ast.Name(id="os"), attr="write" | "writev" | "system"):
                found.append((TERMINAL, ast.unparse(node)))
            case ast.Attribute(attr=name) if name in LOGS:
                found.append((LOG, name))
            case ast.Attribute(value=ast.Name(id="csv"), attr="writer" | "DictWriter" as name):
                found.append((SHEET, f"csv.{name}"))
            case ast.ImportFrom(module="csv"):
                found.append((SHEET, "from csv import"))
            case ast.Attribute(value=ast.Name(id="html"), attr="escape"):
                found.append((PAGE, "html.escape"))
            case ast.Constant(value=str(text)) if re.search(
                r"<(!DOCTYPE|html|body|script|svg|table)\b", text
            ):
                found.append((PAGE, "markup"))
            case _:
                pass
    return found


def test_each_kind_of_reader_has_one_module_that_writes_for_it() -> None:
    wrong = [
        (path, guard, what)
        for path, tree in sources()
        for guard, what in find_unguarded(tree)
        if path != guard and (path, what) not in ELSEWHERE
    ]
    assert wrong == []
    written = {guard for _, tree in sources() for guard, _ in find_unguarded(tree)}
    assert written == {TERMINAL, LOG, SHEET, PAGE}, "each guard is one, and is in use"


def test_what_is_excepted_is_still_there() -> None:
    found = {(path, what) for path, tree in sources() for _, what in find_unguarded(tree)}
    assert ELSEWHERE.keys() <= found


@pytest.mark.parametrize(
    "source",
    [
        "print(x)",
        "click.echo(x)",
        "click.secho(x, err=True)",
        "click.confirm(x)",
        "click.prompt(x)",
        "from click import echo",
        "sys.stdout.write(x)",
        "sys.stderr.buffer.write(x)",
        "from sys import stderr",
        "traceback.print_exc()",
        "error.show()",
        "os.write(2, x)",
        "logging.basicConfig(format=x)",
        "logging.StreamHandler()",
        "handler.setFormatter(x)",
        "csv.writer(file)",
        "from csv import writer",
        "html.escape(x)",
        'x = f"<table>{name}</table>"',
        "warnings.warn(x)",
    ],
)
def test_the_search_for_what_is_unguarded_would_notice(source: str) -> None:
    assert find_unguarded(ast.parse(source))
    assert (
        find_unguarded(ast.parse("sys.stdout.flush(); logger.info('a.b c=%s', c); tell([x]); fingerprint(x)"))
        == []
    )


def find_unescaped_lines(tree: ast.Module) -> list[str]:
    """Return the functions of the terminal's guard that print something else than visible text or JSON."""
    wrong = []
    for function in (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)):
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if (
                isinstance(call.func, ast.Attribute)
                and ast.unparse(call.func).startswith("click.")
                and call.func.attr in CLICK
            ):
                shown = ast.unparse(call.args[0])
                is_ours = function.name == "Progress"
                if not (shown.startswith(("visible(", "ascii_json(")) or is_ours):
                    wrong.append(f"{function.name}: {shown}")
    return wrong


def test_the_terminals_guard_prints_visible_text_or_json() -> None:
    assert find_unescaped_lines(tree_of(ROOT / TERMINAL)) == []
    assert find_unescaped_lines(ast.parse("def f(x):\n    click.echo(x)\n")) == ["f: x"]


# Whoever else writes JSON, and what for.
JSON = {
    "cli/journal.py": "a journal of its own, in ASCII",
    "cli/demo.py": "a sample document",
    "cli/processes.py": "a record of its own, in ASCII",
    "node/client/client.py": "the body of a question to a node",
    "node/home/reached.py": "a record of its own, in ASCII",
    "node/home/settings.py": "strings of TOML, which a shape has checked",
    "node/visibletext.py": "what is printed or answered",
}
# Files that a program reads, and Chinese text in them that a person may look at.
JSON_FILES = {
    "cli/disclose.py": "fields as they are shown, in lines that the terminal's guard prints",
    "cli/network.py": "trust.json",
    "cli/receipt.py": "a receipt",
    "cli/trust.py": "trust.json",
    "ledger/sdjwt.py": "the bytes of disclosures, which are hashed",
    "node/home/home.py": "genesis.json",
}


def test_json_that_is_printed_or_answered_is_ascii() -> None:
    found = {
        path
        for path, tree in sources()
        for node in nodes_of(tree)
        if isinstance(node, ast.keyword) and node.arg == "ensure_ascii"
    }
    assert found == JSON_FILES.keys()
    writing = {
        path
        for path, tree in sources()
        for node in nodes_of(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("dumps", "dump")
        if ast.unparse(node) in ("json.dumps", "json.dump")
    }
    assert writing == JSON.keys() | JSON_FILES.keys()


def test_the_page_names_each_reader_with_its_guard_and_its_test() -> None:
    text = (ROOT / "docs" / "threats.md").read_text("utf-8")
    section = text.partition("## Texts of strangers")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "---" not in line][1:]
    named = set(re.findall(r"`((?:cli|node|ledger|web)/[a-z_/]+\.(?:py|html))`", section))
    assert named >= GUARDS
    assert len(rows) >= 8
    for row in rows:
        tests = re.findall(r"`(tests/[a-z_/]+\.py)`", row)
        assert tests and all((ROOT / test).is_file() for test in tests), row
    assert all((ROOT / path).is_file() for path in named)
