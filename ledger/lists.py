"""What is presented together: one list of documents that answers one request (docs/presenting.md, A list).

Rule 1: a list is whole. Its documents have one root, one consent and one signature of its key; each place is filled,
once, and no commitment stands twice.
Rule 2: an item is answered as often as it asks, by distinct contents: one statement that was issued twice is one.
Rule 3: a listed document that fails makes the whole not verified, whether or not its item had to be answered. Of
several reasons the gravest is told, with its document.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.requests import Asked, Item
from ledger.verdicts import (
    REFUSALS,
    STEP_PRESENTATION,
    TOGETHER,
    Refusal,
    Sentence,
    Verdict,
    VerificationError,
)

LIST_REFUSALS: Final[dict[str, Refusal]] = {
    "list-mixed": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "The documents were not presented together.",
            "这些文件并非一并出示。",
            "這些文件並非一併出示。",
        ),
        TOGETHER,
    ),
    "document-twice": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "One document is given more than once.",
            "同一份文件重复提供。",
            "同一份文件重複提供。",
        ),
        TOGETHER,
    ),
    "list-incomplete": Refusal(
        STEP_PRESENTATION,
        Sentence(
            "Documents that were presented together with these are missing here.",
            "与这些文件一并出示的其他文件未在此提供。",
            "與這些文件一併出示的其他文件未在此提供。",
        ),
        TOGETHER,
    ),
}
"""What refuses a list whose documents hold, each by itself; `item-missing` beside these."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A document of a list that holds by itself: what is compared with the others. Size in bytes, hashes 32 bytes."""

    verdict: Verdict
    place: int
    size: int
    content_root: bytes
    consent_signature: bytes


@dataclass(frozen=True, slots=True)
class ItemAnswered:
    """How often an item of the request was answered, by distinct contents."""

    item: Item
    count: int

    @property
    def is_answered(self) -> bool:
        """Whether it was answered as often as it asks."""
        return self.count >= self.item.count


@dataclass(frozen=True, slots=True)
class ListVerdict:
    """What holds of a whole list: of each document, in the order in which they were given, and of each item.

    That all documents are of one person is not shown; neither is that what is no set is complete.
    """

    documents: tuple[Verdict, ...]
    items: tuple[ItemAnswered, ...]


class ListError(VerificationError):
    """Documents that were not presented together, or not all of them."""

    @staticmethod
    def _refusals() -> dict[str, Refusal]:
        return LIST_REFUSALS


class ListRefused(VerificationError):
    """A list that was refused. `outcomes` has a verdict or an error for each document, in the order given.

    `number` is that of the document whose reason is told, counted from 0; None where it is one of the whole list.
    """

    def __init__(
        self,
        *,
        reason: VerificationError,
        outcomes: Sequence[Verdict | VerificationError],
        number: int | None,
    ) -> None:
        where = reason.where if number is None else f"document {number}: {reason.where}"
        super().__init__(
            code=reason.code, where=where, expected=reason.expected, found=reason.found, cause=reason.cause
        )
        self.outcomes = tuple(outcomes)
        self.number = number

    @staticmethod
    def _refusals() -> dict[str, Refusal]:
        return REFUSALS | LIST_REFUSALS


def gravest(outcomes: Sequence[object]) -> tuple[int, VerificationError] | None:
    """Return the gravest error among outcomes, with its number: the first in the order of the checks."""
    errors = [(number, each) for number, each in enumerate(outcomes) if isinstance(each, VerificationError)]
    return min(errors, key=lambda each: _ORDER[each[1].code], default=None)


def check_list(listed: Sequence[Listed]) -> None:
    """Check that documents are one list, all of it (rule 1). Raises ListError."""
    first = listed[0]
    root, size = first.verdict.presented.list_root, first.verdict.presented.list_size
    for each in listed[1:]:
        presented = each.verdict.presented
        is_same = (presented.list_root, presented.list_size) == (root, size)
        if not is_same or each.consent_signature != first.consent_signature:
            raise ListError(
                code="list-mixed",
                where="list",
                expected=f"documents of one list, {root.hex()}",
                found=f"one of another, {presented.list_root.hex()}",
            )
    commitments = {each.verdict.integrity.commitment for each in listed}
    places = {each.place for each in listed}
    if len(commitments) < len(listed) or len(places) < len(listed):
        raise ListError(
            code="document-twice",
            where="list",
            expected="each document once",
            found=f"{len(commitments)} documents at {len(places)} places, given {len(listed)} times",
        )
    if len(listed) < size:
        raise ListError(
            code="list-incomplete",
            where="list",
            expected=f"all {size} documents that were presented together",
            found=f"{len(listed)} of {size}",
        )


def count_contents(listed: Iterable[Listed], asked: Asked) -> list[int]:
    """Return how many distinct contents were presented for each item (rule 2)."""
    contents: list[set[tuple[int, bytes]]] = [set() for _ in asked.items]
    for each in listed:
        contents[each.verdict.presented.item].add((each.size, each.content_root))
    return [len(found) for found in contents]


def check_items(counts: Sequence[int], asked: Asked) -> tuple[ItemAnswered, ...]:
    """Return how each item was answered. Raises VerificationError where one that is needed was not."""
    answered = tuple(ItemAnswered(item, count) for item, count in zip(asked.items, counts, strict=True))
    for number, standing in enumerate(answered):
        if standing.item.needed and not standing.is_answered:
            raise VerificationError(
                code="item-missing",
                where=f"item {number}",
                expected=f"at least {standing.item.count} of {', '.join(standing.item.schemas)}",
                found=f"{standing.count}",
            )
    return answered


_ORDER = {code: place for place, code in enumerate(REFUSALS)}
