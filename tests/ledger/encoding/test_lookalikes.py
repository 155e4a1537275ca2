"""Look-alikes: a closed table in which what is shown stands for itself, and no listed character is forgotten."""

import pytest

from ledger.encoding.lookalikes import ALIKE, skeleton
from ledger.encoding.textcharacters import RANGES, find_foreign


def test_the_table_names_listed_characters_once_each() -> None:
    named = [character for _, alike in ALIKE for character in alike]
    assert len(named) == len(set(named)) > 800
    assert find_foreign("".join(named)) is None
    assert find_foreign("".join(shown for shown, _ in ALIKE)) is None


def test_what_is_shown_is_shown_as_it_is() -> None:
    for first, last in RANGES:
        for code in range(first, last + 1):
            shown = skeleton(chr(code))
            assert skeleton(shown) == shown, f"U+{code:04X}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HSBC International", "HSBC lnternational"),
        ("modern", "rnodern"),
        ("Bank 0f Ōsaka", "BANK OF OSAKA"),
        ("ＨＳＢＣ", "hsbc"),
        ("Ping An", "Ping-An"),
        ("土地銀行", "士地銀行"),
        ("口岸", "囗岸"),
    ],
)
def test_what_looks_the_same_has_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Fun Bank", "Sun Bank"), ("Gold", "Cold"), ("一", "二"), ("Bank A", "Bank B")]
)
def test_what_a_reader_tells_apart_has_two(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)
