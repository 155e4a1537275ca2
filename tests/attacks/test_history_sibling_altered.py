"""A bit of a sibling in the history path."""

from dataclasses import replace

from tests.attacks.forge import Forgery, Shown, flipped, honest_under_history


def forge(shown: Shown) -> Shown:
    history = shown.proof.evidence.trust_path.history
    assert history is not None
    first, *others = history.path.siblings
    path = replace(history.path, siblings=(flipped(first), *others))
    return shown.path_with(history=replace(history, path=path))


FORGERY = Forgery(honest_under_history, forge, step="trust", code="untrusted-header")


def test_history_sibling_altered_is_refused() -> None:
    FORGERY.check()
