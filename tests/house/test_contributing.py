"""What meets a contributor holds: pages whose links lead somewhere, hooks and a workflow that run the same gate."""

import re
import subprocess
import tomllib

import pytest

from tests.support.sources import ROOT

PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
WIDTH_MAX = 100
MARK = re.compile(r"^\s*(?:[-*]|\d+\.) ")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def find_broken_links(page: str, text: str) -> list[str]:
    return [target for target in LINK.findall(text) if not (ROOT / page).parent.joinpath(target).exists()]


def find_sizes(text: str) -> list[int]:
    """Return how many words each sentence has, in order of size. Code, tables and headings are none."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.) )", prose)
    sentences = [
        sentence
        for block in blocks
        if not block.lstrip().startswith(("#", "|"))
        for sentence in re.split(r"(?<=[.!?:])\s+", " ".join(MARK.sub("", block).split()))
    ]
    return sorted(size for size in (len(sentence.split()) for sentence in sentences) if size > 1)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_and_lines_fit(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert find_broken_links(page, text) == []
    assert [line for line in text.splitlines() if len(line) > WIDTH_MAX] == []


def test_links_of_the_page_about_tests_lead_somewhere() -> None:
    page = "tests/README.md"
    assert find_broken_links(page, (ROOT / page).read_text("utf-8")) == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_sentences_are_short(page: str) -> None:
    sizes = find_sizes((ROOT / page).read_text("utf-8"))
    assert sizes[len(sizes) // 2] <= 15
    assert sizes[len(sizes) * 9 // 10] <= 26


def test_the_files_that_a_change_goes_through_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    text = page.partition("\n## How to add…\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`((?:ledger|node|cli|tests|docs)/[\w/.]+)`", text))
    assert "ledger/rules/operations.py" in named
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_searches_would_notice() -> None:
    assert find_broken_links("SECURITY.md", "[a](docs/none.md#b) [c](README.md) [d](https://x)") == [
        "docs/none.md"
    ]
    assert find_sizes("# A heading\n\nOne two three. Four\nfive.\n\n- six seven\n- eight nine\n") == [
        2,
        2,
        2,
        3,
    ]


def test_a_commit_runs_the_tools_of_the_gate_and_fetches_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"repo: *(.+)", text) == ["local"]
    assert set(re.findall(r"language: *(.+)", text)) == {"system"}
    hooks = re.findall(r"entry: \.venv/bin/(.+)", text)
    command = ["make", "--dry-run", "--always-make", "check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    for tool in ("ruff format --check", "ruff check", "mypy"):
        assert f".venv/bin/{tool}" in done.stdout
        assert any(hook.startswith(tool) for hook in hooks), tool


def test_the_workflow_runs_what_ci_runs_on_every_promised_python() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    promise = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", promise)
    assert bounds is not None, "the promise has another form"
    versions = [f"3.{minor}" for minor in range(int(bounds[1]), int(bounds[2]))]
    assert re.findall(r'"(3\.\d+)"', text) == versions
    assert re.findall(r"- run: (.+)", text) == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, "it can be run"
    actions = re.findall(r"uses: (.+)", text)
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
