"""Forms have one reading: what other readers skip or guess at is refused here (docs/decisions/0020)."""

import asyncio

import pytest

from node.recipient.multipart import FormError, FormReader

HEAD = b'Content-Disposition: form-data; name="proof"\r\n'
FORM = b"--B\r\n" + HEAD + b"\r\ncontent\r\n--B--\r\n"


class Sent:
    """The bytes of a form, so many at once."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size

    async def read(self, _n: int = -1) -> bytes:
        piece, self._data = self._data[: self._size], self._data[self._size :]
        return piece


async def read(data: bytes, size: int) -> list[tuple[str, bytes]]:
    reader = FormReader(Sent(data, size), "multipart/form-data; boundary=B", stall_s=60)
    parts = []
    while (head := await reader.next_part()) is not None:
        parts.append((head.name, b"".join([piece async for piece in reader.pieces()])))
    return parts


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_plain_form_is_read_however_it_is_cut(size: int) -> None:
    assert asyncio.run(read(FORM, size)) == [("proof", b"content")]
    assert asyncio.run(read(FORM.removesuffix(b"\r\n"), size)) == [("proof", b"content")]


def test_a_part_that_is_a_form_itself_is_bytes() -> None:
    inner = b"--C\r\n\r\nx\r\n--C--\r\n"
    nested = HEAD + b"Content-Type: multipart/mixed; boundary=C\r\n"
    assert asyncio.run(read(FORM.replace(HEAD, nested).replace(b"content", inner), 9)) == [("proof", inner)]


def test_a_first_part_that_would_change_how_others_are_read_is_a_part() -> None:
    charset = b'--B\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\nutf-16\r\n'
    assert asyncio.run(read(charset + FORM, 9)) == [("_charset_", b"utf-16"), ("proof", b"content")]


@pytest.mark.parametrize("size", [1, 1_000])
@pytest.mark.parametrize(
    "data",
    [
        b"before\r\n" + FORM,
        b"\r\n" + FORM,
        FORM + b"after",
        FORM.replace(b"--B\r\n", b"--B \r\n"),
        FORM.replace(b"\r\n", b"\n"),
        b"--B\n" + HEAD.replace(b"\r\n", b"\n") + b"\ncontent\r\n--B--\r\n",
        FORM.replace(HEAD, HEAD + HEAD.replace(b"proof", b"other")),
        FORM.replace(HEAD, b"Content-Type: text/plain\r\n"),
        FORM.replace(b'name="proof"', b'name="proof"; name="document"'),
        FORM.replace(b"form-data", b"attachment"),
        FORM.replace(b"; name", b";\r\n name"),
        FORM[:-4],
        FORM[:-9],
    ],
)
def test_what_has_two_readings_is_refused(data: bytes, size: int) -> None:
    with pytest.raises(FormError):
        asyncio.run(read(data, size))
