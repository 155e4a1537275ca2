"""Legal names: what a reader takes for one member is one member (docs/threats.md; Unicode UTS #39).

Verdicts, receipts and votes show names to people. A second member whose name looks the same would be believed to be
the first.

Rule 1: a name holds a letter, a number or a Chinese character. No space stands at its ends or beside another: a reader
would not see it.
Rule 2: no two members share a name in any language, as a reader sees it: whatever the capitals, marks, spaces and
punctuation, and with look-alikes for one another.
"""

from collections.abc import Iterable, Sequence

from ledger.encoding.lookalikes import skeleton


def find_unseen(names: Iterable[str]) -> str | None:
    """Return the first name with something that a reader would not see (rule 1); None where there is none."""
    return next((name for name in names if not skeleton(name) or " ".join(name.split()) != name), None)


def find_shared(names: Sequence[str], others: Iterable[str]) -> str | None:
    """Return the first of `others` that looks like one of `names` (rule 2); None where none does."""
    seen = {skeleton(name) for name in names}
    return next((other for other in others if skeleton(other) in seen), None)
