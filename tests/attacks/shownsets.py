"""Sets as a bank is shown them, honest and forged, each with what must be said of it (docs/sets.md).

Rule 1: a forgery is a change of something that verifies, by its holder, by who passes it on, or by an issuer that
anchors what it should not. The vectors (tests/vectors/make_sets.py) hold all of them.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from ledger.encoding.codec import Value, decode, encode
from ledger.sets import (
    FILES_MAX,
    MANIFEST_MAGIC,
    SET_MEDIA_TYPE,
    SHOWN_MAGIC,
    SetEntry,
    SetFile,
    ShownSet,
    issue_set,
    select_files,
)
from ledger.trees.merkle import Content, content_root
from tests.attacks.forge import Shown, make_scene, show

DICOM: Final = bytes(128) + b"DICM"
FILES: Final[dict[str, bytes]] = {
    "slice-1.dcm": DICOM + b" SAMPLE of a person who does not exist, first",
    "slice-2.dcm": DICOM + b" SAMPLE of a person who does not exist, second",
    "报告.pdf": b"%PDF-1.7 SAMPLE of a person who does not exist\n",
}
CHOSEN: Final = ("slice-1.dcm", "报告.pdf")
SCAN: Final = "application/dicom"

Named = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class AskedSet:
    """A set that is shown: its file, the files beside it, and the proof of a document with the bank's question.

    `refused` is the step and code that must be told, or None where it verifies.
    """

    name: str
    shown: bytes
    files: Named
    anchored: Shown
    refused: tuple[str, str] | None = None
    is_anchor_only: bool = False


def drawn(seed: int = 1) -> Callable[[int], bytes]:
    """Return a source of salts that is the same in each run."""
    return random.Random(seed).randbytes


def file_of(name: str, content: bytes, media_type: str = SCAN) -> SetFile:
    """Return a file that is to be one of a set."""
    return SetFile(name, media_type, Content(*content_root([content])))


@cache
def whole() -> ShownSet:
    """Return the set as its holder has it."""
    return issue_set([file_of(name, content) for name, content in FILES.items()], drawn())


def named(*names: str) -> Named:
    """Return files of the set with their names."""
    return tuple((name, FILES[name]) for name in names)


ALL: Final = named(*FILES)


@cache
def anchored(manifest: bytes, media_type: str = SET_MEDIA_TYPE, *, signed: bytes | None = None) -> Shown:
    """Return the proof of a document that an issuer anchored as a set, or as something else.

    `signed` is the hash of what its holder chose to show of it.
    """
    shown = show(make_scene(batch=(manifest, b"another document"), media_type=media_type))
    return shown if signed is None else shown.present(shown=signed)


def entry_of(name: bytes, content: bytes = b"SAMPLE", salt: int = 0) -> SetEntry:
    """Return what opens a digest, under a name that an issuer should not give."""
    size, root = content_root([content])
    return SetEntry(name, SCAN, size, root, bytes([salt]) * 32)


def issued(*entries: SetEntry) -> ShownSet:
    """Return a set of these entries as an issuer would make it that looks at no name."""
    ordered = sorted(entries, key=lambda entry: entry.digest())
    return ShownSet(MANIFEST_MAGIC + b"".join(entry.digest() for entry in ordered), tuple(ordered))


def more_digests(count: int) -> bytes:
    """Return digests of files that nobody shows: the highest numbers of 32 bytes, in order."""
    return b"".join((2**256 - count + at).to_bytes(32, "big") for at in range(count))


def padded(count: int) -> ShownSet:
    """Return the chosen files in a set of so many."""
    chosen = select_files(whole(), CHOSEN)
    return replace(chosen, manifest=whole().manifest + more_digests(count - len(FILES)))


def _of(name: str, shown: ShownSet, files: Named, code: str | None = None, step: str = "set") -> AskedSet:
    """Return the question about a set whose manifest its issuer anchored."""
    refused = None if code is None else (step, code)
    signed = anchored(shown.manifest, signed=shown.shown_hash)
    return AskedSet(name, shown.encode(), files, signed, refused)


def _named_badly(name: str, code: str, *names: str | bytes) -> AskedSet:
    raw = [each.encode() if isinstance(each, str) else each for each in names]
    contents = [b"SAMPLE %d" % at for at in range(len(raw))]
    entries = [
        entry_of(each, content, at) for at, (each, content) in enumerate(zip(raw, contents, strict=True))
    ]
    return _of(name, issued(*entries), tuple((f"{at}", each) for at, each in enumerate(contents)), code)


def _altered(title: str, **changes: object) -> AskedSet:
    """Return the set with a part of one entry changed by whoever shows it."""
    first, *others = whole().entries
    forged = replace(whole(), entries=(replace(first, **changes), *others))  # type: ignore[arg-type]
    return _of(title, forged, ALL, "set-unfit")


def _value_with(shown: bytes, edit: Callable[[list[Value]], Sequence[Value]]) -> bytes:
    """Return a shown set with its array edited."""
    value = decode(shown[len(SHOWN_MAGIC) :])
    assert isinstance(value, tuple)
    return SHOWN_MAGIC + encode(tuple(edit([*value])))


def honest_sets() -> list[AskedSet]:
    """Return what verifies."""
    chosen = select_files(whole(), CHOSEN)
    twins = issue_set([file_of("a.dcm", b"SAMPLE"), file_of("b.dcm", b"SAMPLE")], drawn(2))
    renamed = tuple((f"copy {at} of slice-2.dcm", content) for at, (_, content) in enumerate(ALL[::-1]))
    return [
        _of("set_shown_whole", whole(), ALL),
        _of("set_shown_in_part", chosen, named(*CHOSEN)),
        _of("set_told_by_content", whole(), renamed),
        _of("set_shown_to_no_file", select_files(whole(), ()), ()),
        _of("set_of_one_file", issue_set([file_of("only", b"")], drawn(3)), (("only", b""),)),
        _of("set_of_twins_shown_by_one", twins, (("a.dcm", b"SAMPLE"),)),
        _of("set_with_a_file_given_twice", chosen, (*named(*CHOSEN), ("again", FILES[CHOSEN[0]]))),
        _of("set_of_most_files", padded(FILES_MAX), named(*CHOSEN)),
        replace(_of("set_shown_whole_and_signed_whole", whole(), ALL), anchored=anchored(whole().manifest)),
        replace(_of("set_without_consent", whole(), ALL), is_anchor_only=True),
    ]


def forged_files() -> list[AskedSet]:
    """Return sets whose files are not those that are shown."""
    chosen = select_files(whole(), CHOSEN)
    first, second = named(*CHOSEN)
    bit = bytes([first[1][0] ^ 1]) + first[1][1:]
    unknown, missing = "set-file-unknown", "set-file-missing"
    return [
        _of("set_file_with_one_bit_changed", chosen, ((first[0], bit), second), unknown),
        _of("set_file_extended", chosen, ((first[0], first[1] + b"!"), second), unknown),
        _of("set_file_cut", chosen, ((first[0], first[1][:-1]), second), unknown),
        _of("set_file_withheld_but_there", chosen, ALL, unknown),
        _of("set_file_of_another_set", chosen, (first, second, ("slice-1.dcm", b"another")), unknown),
        _of("set_file_left_out", chosen, (first,), missing),
        _of("set_without_its_files", chosen, (), missing),
        _of("set_file_of_a_size_that_none_has", issued(_of_size(2**64 - 1)), (), missing),
    ]


def forged_choices() -> list[AskedSet]:
    """Return sets of which other files are shown than their holder signed."""
    one, both = select_files(whole(), CHOSEN[:1]), select_files(whole(), CHOSEN)
    signed = anchored(whole().manifest, signed=both.shown_hash)
    unsigned = anchored(whole().manifest)

    def of(name: str, shown: ShownSet, files: Named, presented: Shown) -> AskedSet:
        return AskedSet(name, shown.encode(), files, presented, ("set", "set-choice"))

    return [
        of("set_cut_by_whoever_passes_it_on", one, named(*CHOSEN[:1]), signed),
        of("set_completed_by_whoever_passes_it_on", whole(), ALL, signed),
        of("set_of_which_nothing_is_left", select_files(whole(), ()), (), signed),
        of("set_choice_that_nobody_signed", both, named(*CHOSEN), unsigned),
    ]


def _of_size(size: int) -> SetEntry:
    return replace(entry_of(b"huge"), size=size)


def forged_entries() -> list[AskedSet]:
    """Return sets of which something is shown that their issuer did not put there."""
    first, *others = whole().entries
    stranger = entry_of(b"stranger.dcm")
    with_stranger = sorted((*whole().entries, stranger), key=lambda entry: entry.digest())
    unfit = "set-unfit"
    return [
        _altered("set_file_renamed", name=b"another.dcm"),
        _altered("set_file_of_another_type", media_type="text/html"),
        _altered("set_file_of_another_size", size=first.size + 1),
        _altered("set_file_of_another_root", content_root=bytes(32)),
        _altered("set_file_under_another_salt", salt=bytes(32)),
        _of("set_with_a_file_added", replace(whole(), entries=tuple(with_stranger)), ALL, unfit),
        _of("set_shown_in_another_order", replace(whole(), entries=whole().entries[::-1]), ALL, unfit),
        _of("set_file_shown_twice", replace(whole(), entries=(first, first, *others)), ALL, unfit),
    ]


def forged_manifests() -> list[AskedSet]:
    """Return what an issuer anchored that is no set, and a set beside the proof of another."""
    digests = [entry.digest() for entry in whole().entries]
    malformed = "manifest-malformed"

    def listing(*parts: bytes) -> ShownSet:
        return replace(whole(), manifest=b"".join(parts))

    other = bytearray(whole().manifest)
    other[-1] ^= 1
    honest = anchored(whole().manifest)
    replaced = replace(whole(), manifest=bytes(other)).encode()
    as_pdf = anchored(whole().manifest, "application/pdf")
    empty = ShownSet(MANIFEST_MAGIC, ())
    return [
        _of("set_of_no_files", empty, (), "set-empty"),
        _of("set_of_one_file_too_many", padded(FILES_MAX + 1), named(*CHOSEN), "set-too-many"),
        _of("manifest_with_half_a_digest", listing(whole().manifest, b"\xff" * 16), ALL, malformed),
        _of("manifest_in_another_order", listing(MANIFEST_MAGIC, *digests[::-1]), ALL, malformed),
        _of("manifest_with_a_digest_twice", listing(MANIFEST_MAGIC, digests[0], *digests), ALL, malformed),
        _of("manifest_of_another_version", listing(MANIFEST_MAGIC[:-1], b"\2", *digests), ALL, malformed),
        _of("manifest_that_is_none", listing(b"x"), ALL, malformed),
        AskedSet("set_anchored_as_a_document", whole().encode(), ALL, as_pdf, ("set", "not-a-set")),
        AskedSet("set_beside_another_proof", replaced, ALL, honest, ("document", "document-altered")),
    ]


def forged_names() -> list[AskedSet]:
    """Return sets whose issuer gave names that it should not."""
    alike, name = "set-names-alike", "set-name"
    return [
        _named_badly("set_of_two_files_of_one_name", "set-names-equal", "a.dcm", "a.dcm"),
        _named_badly("set_of_names_that_differ_in_case", alike, "Scan.dcm", "scan.DCM"),
        _named_badly("set_of_names_in_two_normal_forms", alike, "caf\u00e9.dcm", "cafe\u0301.dcm"),
        _named_badly("set_of_names_that_look_alike", alike, "ill.dcm", "111.dcm"),
        _named_badly("set_of_names_of_two_widths", alike, "\uff11.dcm", "1.dcm"),
        _named_badly("set_of_a_name_in_nfd", name, "cafe\u0301.dcm"),
        _named_badly("set_of_a_name_that_reads_backwards", name, "a\u202emcd.exe"),
        _named_badly("set_of_a_name_with_an_escape", name, "a\x1b[2Jb"),
        _named_badly("set_of_a_name_in_a_folder", name, "a/b.dcm"),
        _named_badly("set_of_a_name_that_leads_up", name, ".."),
        _named_badly("set_of_a_hidden_name", name, ".DS_Store"),
        _named_badly("set_of_a_name_on_a_drive", name, "C\uff1ax.dcm"),
        _named_badly("set_of_a_name_of_a_device", name, "con.dcm"),
        _named_badly("set_of_a_name_like_a_formula", name, "=1+1.dcm"),
        _named_badly("set_of_a_name_in_another_script", name, "\u0430.dcm"),
        _named_badly("set_of_a_name_that_is_no_text", name, b"\xff\xfe.dcm"),
    ]


def forged_forms() -> list[AskedSet]:
    """Return files that show no set, for their form alone."""
    honest, encoded = anchored(whole().manifest), whole().encode()
    refused = ("files", "set-malformed")

    def made(name: str, shown: bytes) -> AskedSet:
        return AskedSet(name, shown, ALL, honest, refused)

    return [
        made("shown_set_that_is_the_manifest", whole().manifest),
        made("shown_set_of_another_version", SHOWN_MAGIC[:-1] + b"\2" + encoded[len(SHOWN_MAGIC) :]),
        made("shown_set_with_bytes_behind_it", encoded + b"\0"),
        made("shown_set_cut", encoded[:-1]),
        made("shown_set_of_nothing", b""),
        made("shown_set_with_an_item_more", _value_with(encoded, lambda value: [*value, None])),
        made("shown_set_without_files", _value_with(encoded, lambda value: value[:1])),
        made("shown_set_without_a_manifest", _value_with(encoded, lambda value: [b"", value[1]])),
        made("shown_set_with_a_short_salt", _value_with(encoded, lambda value: [value[0], _short(value[1])])),
    ]


def _short(entries: Value) -> Value:
    assert isinstance(entries, tuple) and isinstance(entries[0], tuple)
    *others, salt = entries[0]
    assert isinstance(salt, bytes)
    return ((*others, salt[:-1]), *entries[1:])


@cache
def asked_sets() -> tuple[AskedSet, ...]:
    """Return every set, honest ones first."""
    made = (
        honest_sets,
        forged_files,
        forged_choices,
        forged_entries,
        forged_manifests,
        forged_names,
        forged_forms,
    )
    return tuple(each for make in made for each in make())
