"""What a proposed change does, in words for whoever votes on it."""

from ledger.encoding.records import Json, to_json
from ledger.rules.proposals import Change


def change_title(change: Change) -> str:
    """Return what kind of change it is."""
    return change.TAG.replace("_", " ")


def change_rows(change: Change) -> list[tuple[str, str]]:
    """Return every field of a change, by name."""
    return [(name, _show(value)) for name, value in to_json(change).items() if name != "type"]


def _show(value: Json) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_show(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_show(each) for each in value)
    return "none" if value is None else f"{value}"
