"""Of several reasons the gravest is told: every pair and every triple of independent defects, in the page's order."""

import re
from collections.abc import Iterator
from itertools import combinations

import pytest

from ledger.verdicts import REFUSALS, VerificationError
from tests.attacks.combining import DEFECTS, Defect, combined
from tests.attacks.forge import Shown
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "formats.md").read_text("utf-8")


def table() -> list[tuple[str, str]]:
    """Return the checks of the page, in its order: what is checked, and the code; two codes are two checks."""
    section = PAGE[PAGE.index("\n## Verification\n") : PAGE.index("**The trust path holds**")]
    rows = re.findall(r"^\| \w* ?\| (.+) \| ((?:`[\w-]+`(?:, )?)+) \|$", section, re.MULTILINE)
    return [(check, code) for check, codes in rows for code in re.findall(r"`([\w-]+)`", codes)]


def reason_of(shown: Shown) -> tuple[str, str]:
    with pytest.raises(VerificationError) as refused:
        shown.verify()
    return refused.value.step, refused.value.code


def check(defects: tuple[Defect, ...]) -> None:
    first = min(defects, key=DEFECTS.index)
    names = " and ".join(each.name for each in defects)
    assert reason_of(combined(defects)) == (first.step, first.code), names


def test_the_page_has_every_code_and_no_other() -> None:
    assert {code for _, code in table()} == set(REFUSALS)


def test_the_defects_stand_in_the_order_of_the_page_and_show_every_code() -> None:
    left: Iterator[str] = iter(code for _, code in table())
    assert all(each.code in left for each in DEFECTS), "a subsequence of the page's checks"
    assert {each.code for each in DEFECTS} == set(REFUSALS)
    assert all(REFUSALS[each.code].step == each.step for each in DEFECTS)


def test_what_has_no_defect_verifies() -> None:
    assert combined(()).verify()


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.name)
def test_each_defect_alone_is_told(defect: Defect) -> None:
    check((defect,))


@pytest.mark.slow
@pytest.mark.parametrize("first", DEFECTS, ids=lambda each: each.name)
def test_of_every_pair_and_triple_the_gravest_is_told(first: Defect) -> None:
    later = DEFECTS[DEFECTS.index(first) + 1 :]
    for count in (1, 2):
        for others in combinations(later, count):
            check((first, *others))


@pytest.mark.slow
def test_without_consent_and_presentation_the_order_is_the_same() -> None:
    kept = [each for each in DEFECTS if each.step not in ("consent", "presentation")]
    for defects in combinations(kept, 2):
        with pytest.raises(VerificationError) as refused:
            combined(defects).verify_anchor()
        assert refused.value.code == defects[0].code, [each.name for each in defects]


def test_everything_at_once_is_told_by_the_first() -> None:
    for place in range(len(DEFECTS)):
        check(DEFECTS[place:])
