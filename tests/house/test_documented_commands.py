"""What README and docs tell people to type exists: commands and their options, make's targets, Python's modules."""

import importlib.util
import re
from collections.abc import Iterator

import click
import pytest

from cli.program import COMMANDS, program
from cli.serve import serve
from tests.support.sources import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
GUIDES = (ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md")
# A command goes up to the end of its code span, of its line, or to the remark behind it.
TYPED = re.compile(r"(?<![\w/.-])luohu ((?:[^`\n\\]|\\\n)+)")
REMARK = re.compile(r"(?<! ) {3,}")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def typed() -> Iterator[tuple[str, str]]:
    """Yield each command that a page names, with the page's name."""
    for page in PAGES:
        for found in TYPED.finditer(page.read_text("utf-8")):
            for part in found.group(1).replace("\\\n", " ").split(", luohu "):
                yield page.name, REMARK.split(part.strip())[0] if "\\\n" not in found.group(1) else part


def resolved(line: str) -> tuple[click.Command, list[str]]:
    """Return the command that a line begins with, and the words behind its name."""
    words, command = line.split(), program
    current: click.Command = command
    while words and isinstance(current, click.Group):
        following = current.get_command(click.Context(current), words[0].strip(".,;:()'\""))
        if following is None:
            break
        current = following
        words = words[1:]
    if words[:1] == ["serve"] and current.name == "verify":
        return serve, words[1:]
    return current, words


def option_names(command: click.Command) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return names | {"--help", "--json"}


@pytest.mark.parametrize(("page", "line"), list(typed()))
def test_a_command_that_a_page_names_exists_with_its_options(page: str, line: str) -> None:
    command, words = resolved(line)
    assert command is not program or words in (["--help"], ["COMMAND", "--help"]), f"{page}: luohu {line}"
    if isinstance(command, click.Group) and words:
        # A group named by itself, in a sentence or with its commands left to the reader.
        assert not OPTION.match(words[0]) or words[0] in option_names(command), f"{page}: luohu {line}"
        return
    unknown = set(OPTION.findall(" ".join(words))) - option_names(command)
    assert not unknown, f"{page}: luohu {line}: no {', '.join(sorted(unknown))}"


def test_every_command_is_named_in_a_page() -> None:
    named = {line.split()[0].strip(".,;:") for _, line in typed()}
    named |= {"demo"} if "make demo" in PAGES[0].read_text("utf-8") else set()
    assert set(COMMANDS) <= named, sorted(set(COMMANDS) - named)


def test_every_target_and_module_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in (*PAGES, *GUIDES):
        text = page.read_text("utf-8")
        for target in re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text, re.MULTILINE):
            assert "".join(target) in targets, f"{page.name}: make {''.join(target)}"
        for module in re.findall(r"python -m ([a-z_.]+[a-z])", text):
            assert importlib.util.find_spec(module) is not None, f"{page.name}: python -m {module}"


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert resolved("verify serve --port 1")[0] is serve
    assert resolved("nothing at all")[0] is program
    command, words = resolved("verify report.pdf --trusted x")
    assert set(OPTION.findall(" ".join(words))) - option_names(command) == {"--trusted"}
