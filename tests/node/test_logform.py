"""The form of a log: one event is one line, and its values cannot leave their place."""

import io
import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.logform import Fields, LogForm, guard_unset_log, log_value
from tests.support.strangers import FORGED_LINE, TEXTS, raw_in, raw_in_output

ANYTHING = st.text(st.characters(exclude_categories=()))
# Half characters of UTF-16 that stand side by side are one character where JSON is read.
_TORN = re.compile("[\ud800-\udbff][\udc00-\udfff]")
HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [a-z.]+ ")


def line_of(text: str, *arguments: object, exc_info: BaseException | None = None) -> str:
    information = None if exc_info is None else (type(exc_info), exc_info, exc_info.__traceback__)
    record = logging.LogRecord("node.run", logging.INFO, "x.py", 1, text, arguments, information)
    return LogForm().format(record)


def fields_of(line: str) -> dict[str, str]:
    """Read a line as the operators' page says that it may be read."""
    found: dict[str, str] = {}
    rest = HEAD.sub("", line, count=1).partition(" ")[2]
    while rest:
        name, _, rest = rest.partition("=")
        if rest.startswith('"'):
            value, end = json.JSONDecoder().raw_decode(rest)
            rest = rest[end:]
        else:
            value, _, tail = rest.partition(" ")
            rest = f" {tail}" if tail else ""
        assert not rest or rest.startswith(" "), rest
        found[name], rest = value, rest[1:]
    return found


@given(ANYTHING.filter(lambda text: _TORN.search(text) is None))
def test_a_value_stays_in_its_place_and_leads_back(text: str) -> None:
    line = line_of("peer.gone peer=%s reason=%s", text, "end")
    assert raw_in(line) == [] and HEAD.match(line)
    assert fields_of(line) == {"peer": text, "reason": "end"}


@pytest.mark.slow
def test_no_character_of_unicode_leaves_its_value() -> None:
    size = 512
    for first in range(0, sys.maxunicode + 1, size):
        text = "".join(map(chr, range(first, first + size)))
        value = log_value(text)
        assert raw_in(value) == [] and len(value.splitlines()) == 1, f"U+{first:04X}"
        assert (json.loads(value) if value.startswith('"') else value) == text, f"U+{first:04X}"


@pytest.mark.parametrize("name", TEXTS)
def test_no_stranger_forges_a_line_or_a_field(name: str) -> None:
    line = line_of("peer.refused address=%s reason=%s", TEXTS[name], TEXTS[name])
    assert raw_in(line) == [] and len(line.splitlines()) == 1
    assert fields_of(line) == {"address": TEXTS[name], "reason": TEXTS[name]}


@pytest.mark.parametrize(
    "text", ["", "a b", 'a"b', "a=b", "a\\b", "a\nb", "a\tb", "a\u3000b", "\x1b", "\x7f"]
)
def test_what_could_end_a_value_is_quoted(text: str) -> None:
    assert json.loads(log_value(text)) == text


@pytest.mark.parametrize("text", ["hk-bureau", "127.0.0.1:7000", "王小明", "a,b", "none", "a:b", "-"])
def test_what_is_plain_stands_as_it_is(text: str) -> None:
    assert log_value(text) == text


def test_numbers_and_conversions_keep_their_form() -> None:
    line = line_of(
        "block.finalized height=%d seconds=%.1f is_last=%s error=%r", 812, 1.25, True, ValueError("a")
    )
    assert fields_of(line) == {
        "height": "812",
        "seconds": "1.2",
        "is_last": "True",
        "error": "ValueError('a')",
    }


def test_a_traceback_is_a_field() -> None:
    try:
        raise ValueError(FORGED_LINE)
    except ValueError as error:
        line = line_of("api.failure path=%s", "/v1/x", exc_info=error)
    assert len(line.splitlines()) == 1 and raw_in(line) == []
    assert FORGED_LINE in fields_of(line)["trace"]


def test_fields_that_are_named_late_have_the_same_form() -> None:
    line = line_of("%s %s", "consensus.nullify", Fields([("view", 3), ("reason", "no way")]))
    assert fields_of(line) == {"view": "3", "reason": "no way"}


def test_what_a_library_says_in_one_piece_is_one_line() -> None:
    line = line_of(f"Task exception was never retrieved\nfuture: {FORGED_LINE}")
    assert len(line.splitlines()) == 1 and raw_in(line) == []


def test_a_process_without_a_log_writes_warnings_in_this_form(monkeypatch: pytest.MonkeyPatch) -> None:
    unset = logging.lastResort
    assert isinstance(unset, logging.StreamHandler)
    monkeypatch.setattr(unset, "formatter", None)
    guard_unset_log()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    unset.handle(logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, FORGED_LINE, (), None))
    assert raw_in_output(stream.getvalue()) == [] and stream.getvalue().count("\n") == 1
    logging.captureWarnings(capture=False)
