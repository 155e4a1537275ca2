"""Which question has which number, and whether both witnesses give it the same answer."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding.records import Json
from tests.campaigns.witness.answers import Page, answer_of_library
from tests.campaigns.witness.questions import CHANGES, Question
from tests.campaigns.witness.scenes import scene

DRAWN: Final = (*CHANGES, scene, scene)


@dataclass(frozen=True, slots=True)
class Compared:
    """How often the library gave each answer, and a line for each question on which the page differs."""

    answers: Counter[str]
    differences: list[str]


def question(number: int) -> Question:
    """Return the question of a number: the same in every run."""
    return DRAWN[number % len(DRAWN)](random.Random(f"question {number}"))


def compare(page: Page, numbers: Sequence[int]) -> Compared:
    """Ask both the questions of these numbers."""
    questions = [question(number) for number in numbers]
    expected = [answer_of_library(asked) for asked in questions]
    found = page.answer(questions)
    differences = [
        f"question {number}, {DRAWN[number % len(DRAWN)].__name__}: the library says {ours}, the page {theirs}"
        for number, ours, theirs in zip(numbers, expected, found, strict=True)
        if ours != theirs
    ]
    return Compared(Counter(map(_name, expected)), differences)


def _name(answer: Json) -> str:
    if isinstance(answer, dict):
        return str(answer.get("code", "verdict"))
    return f"unusable-{answer}"
