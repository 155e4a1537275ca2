"""Files that somebody named: what is opened for whom, and what is refused before anything waits for it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

import pytest

from node.errors import SetupError
from node.files import reading
from node.files.reading import (
    DOCUMENT_SIZE_MAX,
    UnfitFile,
    open_listed,
    open_named,
    open_piped,
    open_within,
)

CONTENT = b"SAMPLE of a person who does not exist"
TEBIBYTE = 1024**4

Open = Callable[[Path], BinaryIO]

EVERY_WAY: dict[str, Open] = {
    "named": open_named,
    "piped": open_piped,
    "within": lambda path: open_within(path.parent, path.name),
    "listed": lambda path: open_listed(path, folder=path.parent),
    "listed elsewhere": lambda path: open_listed(path, folder=Path("/nowhere")),
}
# Those for which the user did not name the very file.
OTHERS = [way for way in EVERY_WAY if way not in ("named", "piped")]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with one of everything that can have a name."""
    (tmp_path / "file").write_bytes(CONTENT)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "absolute link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "inner").write_bytes(CONTENT)
    (tmp_path / "linked directory").symlink_to("directory")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to a pipe").symlink_to("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        # The name of a socket is short: from here it is.
        os.chdir(tmp_path)
        try:
            listener.bind("socket")
        finally:
            os.chdir(before)
        yield tmp_path


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_regular_file_is_read_whichever_way_it_is_opened(way: str, folder: Path) -> None:
    with EVERY_WAY[way](folder / "file") as file:
        assert file.read() == CONTENT
        assert file.seek(0) == 0 and file.read(6) == CONTENT[:6]
    assert file.closed


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pipe", "a named pipe"),
        ("link to a pipe", "a named pipe"),
        ("directory", "a directory"),
        ("linked directory", "a directory"),
        ("device", "a device"),
        ("socket", "a socket"),
    ],
)
@pytest.mark.parametrize("way", EVERY_WAY)
def test_what_is_no_regular_file_is_refused_at_once(way: str, name: str, found: str, folder: Path) -> None:
    with pytest.raises(UnfitFile) as refused:
        EVERY_WAY[way](folder / name)
    is_link = (folder / name).is_symlink() and way in OTHERS
    assert refused.value.found == ("a link" if is_link else found)
    assert refused.value.expected == "a regular file"
    assert refused.value.where == refused.value.filename == f"{folder / name}"
    assert f"expected a regular file, found {refused.value.found}; name" in f"{refused.value}"


def test_a_device_is_not_even_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: object, **_options: object) -> int:
        raise AssertionError(f"opened {arguments}")

    monkeypatch.setattr(os, "open", opened)
    for name in ("device", "pipe", "socket", "directory"):
        with pytest.raises(UnfitFile):
            open_named(folder / name)


@pytest.mark.parametrize("link", ["link", "absolute link"])
def test_a_link_is_followed_where_the_user_named_the_file(link: str, folder: Path) -> None:
    for way in ("named", "piped"):
        with EVERY_WAY[way](folder / link) as file:
            assert file.read() == CONTENT


@pytest.mark.parametrize("link", ["link", "absolute link", "dangling", "circle"])
@pytest.mark.parametrize("way", OTHERS)
def test_a_link_is_not_followed_in_a_folder_that_others_fill(way: str, link: str, folder: Path) -> None:
    with pytest.raises(UnfitFile, match="found a link; name the file itself"):
        EVERY_WAY[way](folder / link)


def test_no_step_below_the_folder_is_a_link(folder: Path) -> None:
    with open_within(folder, "directory/inner") as file:
        assert file.read() == CONTENT
    linked = folder / "linked directory" / "inner"
    with pytest.raises(UnfitFile, match="expected folders on the way to the file, found a link"):
        open_within(folder, "linked directory/inner")
    with pytest.raises(UnfitFile, match="expected folders on the way to the file, found a link"):
        open_listed(linked, folder=folder)
    with pytest.raises(UnfitFile, match="expected folders on the way to the file, found a regular file"):
        open_within(folder, "file/inner")


def test_the_folder_itself_may_be_reached_through_links(folder: Path) -> None:
    with open_within(folder / "linked directory", "inner") as file:
        assert file.read() == CONTENT
    with open_listed(folder / "linked directory" / "inner", folder=folder / "linked directory") as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("name", ["", ".", "..", "../file", "directory/../file", "/etc/passwd", "a\0b"])
def test_a_name_within_a_folder_leads_nowhere_else(name: str, folder: Path) -> None:
    with pytest.raises(UnfitFile):
        open_within(folder, name)


def test_a_list_may_name_a_file_that_lies_elsewhere_but_no_link(folder: Path) -> None:
    inbox = folder / "directory"
    for elsewhere in (folder / "file", inbox / ".." / "file"):
        with open_listed(elsewhere, folder=inbox) as file:
            assert file.read() == CONTENT
    for elsewhere in (folder / "link", inbox / ".." / "link"):
        with pytest.raises(UnfitFile, match="found a link"):
            open_listed(elsewhere, folder=inbox)
    for nothing in (Path("/"), inbox, inbox / ".."):
        with pytest.raises(UnfitFile):
            open_listed(nothing, folder=inbox)


def test_a_list_in_the_present_folder_names_files_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with open_listed(Path("file"), folder=Path()) as file:
        assert file.read() == CONTENT
    with open_listed(folder / "file", folder=Path()) as file:
        assert file.read() == CONTENT
    with pytest.raises(UnfitFile, match="found a link"):
        open_listed(Path("linked directory/inner"), folder=Path())


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_file_that_is_not_there_is_an_error_of_the_system_with_its_whole_path(
    way: str, folder: Path
) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        EVERY_WAY[way](folder / "missing")
    assert missing.value.filename == f"{folder / 'missing'}"


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_name_that_no_file_can_have_is_refused_as_a_path(way: str, folder: Path) -> None:
    with pytest.raises(UnfitFile, match="expected a usable path, found embedded null byte"):
        EVERY_WAY[way](folder / "a\0b")


def test_the_same_holds_where_no_file_can_be_opened_relative_to_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_OPENS_IN_FOLDERS", False)
    monkeypatch.setattr(reading, "NOFOLLOW", 0)
    for name in ("file", "directory/inner"):
        with open_within(folder, name) as file:
            assert file.read() == CONTENT
    for name in ("link", "dangling", "link to a pipe", "pipe", "device", "linked directory/inner", "../file"):
        with pytest.raises(UnfitFile):
            open_within(folder, name)
    with pytest.raises(FileNotFoundError):
        open_within(folder, "missing")


def test_a_junction_of_windows_is_a_link_on_the_way(folder: Path) -> None:
    plain = (folder / "directory").stat()
    reading._check_folder(folder, plain)
    for tag, is_link in ((0xA0000003, True), (0, False), (0x9000001A, False)):
        # A folder that some cloud keeps has a tag of its own, and leads nowhere else.
        shown = SimpleNamespace(st_mode=plain.st_mode, st_reparse_tag=tag)
        if is_link:
            with pytest.raises(UnfitFile, match="found a link"):
                reading._check_folder(folder, cast(os.stat_result, shown))
        else:
            reading._check_folder(folder, cast(os.stat_result, shown))


@pytest.mark.parametrize("has_folders", [True, False])
def test_a_file_exchanged_for_a_link_while_it_is_opened_is_not_read(
    has_folders: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "secret").write_bytes(b"secret")
    opens = os.open

    def exchanging(path: str | Path, flags: int, *, dir_fd: int | None = None) -> int:
        if f"{path}".endswith("file"):
            (folder / "file").unlink()
            (folder / "file").symlink_to("secret")
        return opens(path, flags, dir_fd=dir_fd)

    if not has_folders:
        monkeypatch.setattr(reading, "_OPENS_IN_FOLDERS", False)
        monkeypatch.setattr(reading, "NOFOLLOW", 0)
    monkeypatch.setattr(os, "open", exchanging)
    with pytest.raises(OSError, match=r"symbolic links|expected the file that was looked at, found another"):
        open_within(folder, "file")


def test_a_file_exchanged_for_a_pipe_while_it_is_opened_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = os.open

    def exchanging(path: str | Path, flags: int) -> int:
        (folder / "file").unlink()
        os.mkfifo(folder / "file")
        return opens(path, flags)

    monkeypatch.setattr(os, "open", exchanging)
    before = descriptors()
    with pytest.raises(UnfitFile, match="found a named pipe"):
        open_named(folder / "file")
    assert descriptors() == before


# -- what is piped ------------------------------------------------------------------------------------


def piped(content: bytes) -> int:
    """Return a descriptor from which a content can be read, through a pipe."""
    out, into = os.pipe()

    def give() -> None:
        # Whoever reads may have had enough.
        with suppress(BrokenPipeError), os.fdopen(into, "wb") as end:
            end.write(content)

    threading.Thread(target=give, daemon=True).start()
    return out


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_what_was_piped_in_is_read_under_the_name_of_its_descriptor(name: str) -> None:
    descriptor = piped(CONTENT)
    try:
        with open_piped(Path(name.format(descriptor))) as file:
            assert file.read() == CONTENT
    finally:
        os.close(descriptor)


def test_only_who_takes_what_is_piped_reads_a_descriptor(folder: Path) -> None:
    descriptor = piped(CONTENT)
    path = Path(f"/dev/fd/{descriptor}")
    (folder / "alias").symlink_to(path)
    try:
        for refusing in (open_named, lambda path: open_within(path.parent, path.name)):
            with pytest.raises(OSError, match=r"found a named pipe|found a link"):
                refusing(path)
        with pytest.raises(UnfitFile, match="found a named pipe"):
            open_piped(folder / "alias")
    finally:
        os.close(descriptor)


def test_a_descriptor_of_a_file_is_that_file_and_one_of_a_device_is_refused(folder: Path) -> None:
    with (folder / "file").open("rb") as file, open_piped(Path(f"/dev/fd/{file.fileno()}")) as again:
        assert again.read() == CONTENT
    with Path("/dev/zero").open("rb") as zero, pytest.raises(UnfitFile, match="found a device"):
        open_piped(Path(f"/dev/fd/{zero.fileno()}"))
    with pytest.raises(FileNotFoundError):
        open_piped(Path("/dev/fd/987654321"))


def test_a_pipe_that_never_ends_has_a_largest_size_too() -> None:
    descriptor = piped(bytes(3_000_000))
    try:
        with (
            open_piped(Path(f"/dev/fd/{descriptor}"), size_max=100_000) as file,
            pytest.raises(UnfitFile, match="expected at most 100000 bytes, found more"),
        ):
            while file.read(4_096):
                continue
    finally:
        os.close(descriptor)


# -- sizes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [open_named, open_piped])
def test_the_largest_file_is_read_and_one_byte_more_is_refused(
    way: Callable[..., BinaryIO], folder: Path
) -> None:
    with way(folder / "file", size_max=len(CONTENT)) as file:
        assert file.read() == CONTENT
    with pytest.raises(UnfitFile, match=f"expected at most {len(CONTENT) - 1} bytes, found {len(CONTENT)}"):
        way(folder / "file", size_max=len(CONTENT) - 1)


def test_a_tebibyte_of_nothing_is_refused_before_it_is_read(folder: Path) -> None:
    os.truncate(folder / "file", TEBIBYTE)
    ways: list[Callable[[], BinaryIO]] = [
        lambda: open_named(folder / "file", size_max=DOCUMENT_SIZE_MAX),
        lambda: open_within(folder, "file", size_max=DOCUMENT_SIZE_MAX),
        lambda: open_listed(folder / "file", folder=folder, size_max=DOCUMENT_SIZE_MAX),
    ]
    for opened in ways:
        with pytest.raises(UnfitFile, match=f"at most {DOCUMENT_SIZE_MAX} bytes, found {TEBIBYTE}"):
            opened()


def test_a_file_that_grows_while_it_is_read_is_refused_past_the_largest_size(folder: Path) -> None:
    with (
        open_named(folder / "file", size_max=10_000) as file,
        (folder / "file").open("ab") as growing,
        pytest.raises(UnfitFile, match="at most 10000 bytes, found more"),
    ):
        while file.read(1_000):
            growing.write(bytes(2_000))
            growing.flush()


def test_reading_again_from_the_start_does_not_count_twice(folder: Path) -> None:
    with open_named(folder / "file", size_max=len(CONTENT)) as file:
        for _ in range(3):
            file.seek(0)
            assert file.read() == CONTENT


def test_a_file_with_nothing_to_give_for_now_is_an_error_and_not_its_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As some files of the kernel: regular by their status, and waiting for what happens next.
    out, into = os.pipe()
    os.set_blocking(out, False)
    status = (folder / "file").stat()
    monkeypatch.setattr(os, "open", lambda *_arguments, **_options: out)
    monkeypatch.setattr(os, "fstat", lambda _descriptor: status)
    file = open_named(folder / "file")
    monkeypatch.undo()
    with file, pytest.raises(BlockingIOError, match="nothing to give for now"):
        file.read(10)
    os.close(into)


# -- what errors are, and what stays ------------------------------------------------------------------


def test_who_expects_an_error_of_the_system_or_of_the_set_up_gets_this_one(folder: Path) -> None:
    with pytest.raises(OSError, match="a directory") as refused:
        open_named(folder / "directory")
    assert isinstance(refused.value, SetupError)
    assert (refused.value.code, refused.value.strerror) == ("path", "a directory")


def descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))  # noqa: PTH208 - names are compared


@pytest.mark.parametrize("way", EVERY_WAY)
def test_no_descriptor_is_left_open_whatever_is_refused(way: str, folder: Path) -> None:
    before = len(descriptors())
    for name in ("pipe", "directory", "device", "socket", "dangling", "missing", "linked directory/inner"):
        try:
            EVERY_WAY[way](folder / name).close()
        except OSError:
            continue
    with EVERY_WAY[way](folder / "file"):
        assert len(descriptors()) == before + 1
    assert len(descriptors()) == before


def test_what_is_opened_is_not_inherited(folder: Path) -> None:
    with open_named(folder / "file") as file:
        assert not os.get_inheritable(file.fileno())
