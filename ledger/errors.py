"""The error family of the rules.

Rule 1: every refusal of an input is a `LedgerError` with a stable code, what was expected and what was found.
Rule 2: a broken invariant of our own is an `assert`, never one of these.
"""


class LedgerError(Exception):
    """An input was refused. `code` is stable; `where` names the place in the input."""

    code = "invalid"

    def __init__(self, where: str, expected: str, found: str) -> None:
        super().__init__(f"{where or 'value'}: expected {expected}, found {found}")
        self.where = where
        self.expected = expected
        self.found = found


class EncodingError(LedgerError):
    """Bytes or JSON that are not the one canonical encoding of a value of the expected shape."""

    code = "encoding"


class SignatureError(LedgerError):
    """A signature or key that does not verify."""

    code = "signature"


class ProofError(LedgerError):
    """A Merkle or state proof that does not lead to the expected root."""

    code = "proof"
