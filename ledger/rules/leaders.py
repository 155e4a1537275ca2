"""Which validator leads a view (docs/formats.md, Blocks; docs/consensus.md).

Rule 1: leaders rotate by one in each view, in the order of the epoch's set, and each epoch begins one further. So in
n consecutive views every validator leads once.
Rule 2: the core that proposes and votes and the rule that judges a header ask this one function.
"""


def leader_index(*, epoch: int, view: int, validators_count: int) -> int:
    """Return the index of the validator that may propose in a view."""
    return (view + epoch) % validators_count
