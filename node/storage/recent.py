"""What was read or written last of a table, so that it is not asked of the database again.

Rule 1: what is remembered is what the table holds: whoever writes it says so here, and forgets all where another table
takes its place.
Rule 2: there is a bound; what was used longest ago goes first.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping


class Recent:
    """The records that were used last, None for one that is not there."""

    def __init__(self, size_max: int) -> None:
        self._records: OrderedDict[bytes, bytes | None] = OrderedDict()
        self._size_max = size_max

    def __len__(self) -> int:
        return len(self._records)

    def get(self, name: bytes, read: Callable[[bytes], bytes | None]) -> bytes | None:
        """Return a record, read only where it is not remembered."""
        records = self._records
        if name in records:
            records.move_to_end(name)
            return records[name]
        found = records[name] = read(name)
        if len(records) > self._size_max:
            records.popitem(last=False)
        return found

    def put(self, records: Mapping[bytes, bytes | None]) -> None:
        """Remember what was written."""
        self._records.update(records)
        while len(self._records) > self._size_max:
            self._records.popitem(last=False)

    def replace(self, records: Mapping[bytes, bytes | None]) -> None:
        """Take over what was written, where something else is remembered."""
        for name in records.keys() & self._records.keys():
            self._records[name] = records[name]

    def clear(self) -> None:
        """Forget all."""
        self._records.clear()
