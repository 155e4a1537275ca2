"""Exit codes follow from the family of an error (cli/exits.py)."""

import pytest

from cli.exits import ERROR_FAMILIES, NO, UNREACHABLE, USAGE, explain, own_configuration, wrong_usage
from cli.output import print_error
from cli.times import in_words
from ledger.errors import EncodingError, LuohuError, UnfitEnvironment
from ledger.verdicts import VerificationError
from node.errors import BadAnswer, NodeStopped, NotReady, RefusedByNode, SetupError, Unreachable, VoteLogError

SETUP = SetupError(where="node.toml", expected="a port", found="none", cure="add one")
VOTES = VoteLogError(where="votes", expected="room", found="none", cure="compact it")
UNFIT = UnfitEnvironment(where="PyNaCl", expected="refused", found="accepted", cure="install another")
REFUSED = EncodingError(where="", expected="an array", found="text")


def of_client(kind: type[Unreachable] | type[RefusedByNode] | type[BadAnswer]) -> LuohuError:
    return kind(code="busy", where="transaction", expected="room", found="none", cure="Wait.")


@pytest.mark.parametrize(
    ("error", "exit_code", "code"),
    [
        (of_client(Unreachable), UNREACHABLE, "busy"),
        (of_client(BadAnswer), UNREACHABLE, "busy"),
        (NotReady(found="no block is final yet"), UNREACHABLE, "not-ready"),
        (ConnectionRefusedError("refused"), UNREACHABLE, "unreachable"),
        (of_client(RefusedByNode), NO, "busy"),
        (REFUSED, NO, "encoding"),
        (UNFIT, USAGE, "unfit-environment"),
        (SETUP, USAGE, "configuration"),
        (VOTES, USAGE, "configuration"),
        (FileNotFoundError(2, "No such file", "a.pdf"), USAGE, "path"),
        (wrong_usage("--url", expected="a URL", found="none", cure="Give one."), USAGE, "usage"),
    ],
)
def test_the_family_of_an_error_gives_the_exit_code(error: Exception, exit_code: int, code: str) -> None:
    assert isinstance(error, ERROR_FAMILIES)
    explained = explain(error)
    assert (explained.exit_code, explained.code) == (exit_code, code)
    assert explained.where and explained.expected and explained.found and explained.cure


def test_a_fault_of_ours_is_of_no_family() -> None:
    assert not isinstance(NodeStopped("a broken invariant"), ERROR_FAMILIES)
    assert not isinstance(LuohuError(where="a", expected="b", found="c"), ERROR_FAMILIES)


def test_an_error_keeps_its_own_cure_and_place() -> None:
    explained = explain(SETUP)
    parts = (explained.where, explained.expected, explained.found, explained.cure)
    assert parts == ("node.toml", "a port", "none", "add one")


def test_one_without_a_cure_gets_that_of_its_code() -> None:
    assert explain(REFUSED).cure.startswith("Use the file as it was handed over")
    assert explain(REFUSED).where == "input"
    refusal = VerificationError(code="document-altered", where="document", expected="a", found="b")
    assert explain(refusal).cure == refusal.refusal.next_step.en


def test_a_refusal_inside_the_users_own_set_up_is_wrong_usage() -> None:
    with pytest.raises(LuohuError) as raised, own_configuration("Fetch it again."):
        raise REFUSED
    explained = explain(raised.value)
    assert (explained.exit_code, explained.cure) == (USAGE, "Fetch it again.")


@pytest.mark.parametrize(
    ("code", "cure", "said"),
    [
        ("encoding", "Correct it; GET /v1/openapi.json describes every route.", "Use the file as it was"),
        ("other", "Correct it; GET /v1/openapi.json describes every route.", "`--help` on the command"),
        ("expired", "Sign it again with a later valid_until_ms.", "Give the command again"),
        ("wrong-chain", "Sign it for this node's chain; GET /v1/genesis shows it.", "of one network"),
        ("suspended", "Ask the governors.", "Ask the governors."),
    ],
)
def test_what_a_node_says_to_programs_is_said_to_people(code: str, cure: str, said: str) -> None:
    explained = explain(RefusedByNode(code=code, where="a", expected="b", found="c", cure=cure))
    assert said in explained.cure and "/v1/" not in explained.cure and "_ms" not in explained.cure


def test_times_of_errors_are_dates_for_people_and_milliseconds_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = explain(
        RefusedByNode(
            code="expired", where="valid_until_ms", expected="at least 1796054399999", found="5", cure="x"
        )
    )
    print_error(error, as_json=False)
    said = capsys.readouterr().err
    assert "at least 2026-11-30 23:59:59 UTC+8" in said and "1796054399999" not in said
    print_error(error, as_json=True)
    assert "at least 1796054399999" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code", "shown"),
    [
        ("at most 86400000 ms", "stale-proof", "at most 24 h"),
        ("86400001 ms (block 5)", "stale-proof", "24 h 1 ms (block 5)"),
        ("259200000 ms", "stale-proof", "3 d"),
        ("a time from 1796054399999 to 1796054399999", "consent-period", None),
        ("1796054399999 bytes", "document-altered", "1796054399999 bytes"),
        ("0 ms", "stale-proof", "0 s"),
    ],
)
def test_times_are_written_in_words_where_an_error_is_about_times(
    text: str, code: str, shown: str | None
) -> None:
    day = "2026-11-30 23:59:59 UTC+8"
    assert in_words(text, code=code, where="x") == (shown or f"a time from {day} to {day}")
