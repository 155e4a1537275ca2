"""Verifying a set of which all or some files are shown (docs/sets.md).

Rule 1: the document is the manifest, byte for byte: it verifies like every other document, with its proof, its consent
and its presentation, before anything of its files is believed. It was anchored as a set, by its media type.
Rule 2: what is shown fits the manifest: each shown file has its digest there, and names nobody takes for another's.
Rule 3: files are matched by content. What a file is called here, whoever sent it chose; the verdict has the name that
the issuer gave. Each file is one that is shown, and each that is shown is here.
Rule 4: that nothing is missing from the set is the issuer's word. The verdict says how many of how many are shown.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.documents import Document, content_of, open_document
from ledger.encoding.arguments import describe, find_view, require_bytes, require_instance
from ledger.errors import LedgerError, WrongCall
from ledger.proofs import Proof
from ledger.requests import Request
from ledger.sets import SET_MEDIA_TYPE, SetEntry, ShownSet
from ledger.verdicts import STEP_FILES, AnchorVerdict, Refusal, Sentence, Verdict, VerificationError
from ledger.verifier import MAX_AGE_MS, Verifier

STEP_SET: Final = "set"

_Content: TypeAlias = tuple[int, bytes]
"""A size in bytes, and the root over the chunks."""

_AGAIN: Final = Sentence(
    "Ask the holder to choose the files again, from the set that the issuer handed over.",
    "请持有人从签发机构交付的文件集中重新选择要出示的文件。",
    "請持有人從簽發機構交付的文件集中重新選擇要出示的檔案。",
)
_ISSUER: Final = Sentence(
    "Do not rely on the document; ask the issuer.",
    "请勿采信该文件，并向签发机构查询。",
    "請勿採信該文件，並向簽發機構查詢。",
)
_EACH: Final = Sentence(
    "Put exactly the files that the holder shows into one folder, as they came, and verify again.",
    "请将持有人出示的文件原样放入同一文件夹，不多不少，然后重新验证。",
    "請將持有人出示的檔案原樣放入同一資料夾，不多不少，然後重新驗證。",
)

SET_REFUSALS: Final[dict[str, Refusal]] = {
    "set-malformed": Refusal(
        STEP_FILES,
        Sentence(
            "The file does not show files of a set.",
            "该文件未载有文件集的出示内容。",
            "該檔案未載有文件集的出示內容。",
        ),
        _AGAIN,
    ),
    "not-a-set": Refusal(
        STEP_SET,
        Sentence(
            "The document was not anchored as a set of files.",
            "该文件存证时并非文件集。",
            "該文件存證時並非文件集。",
        ),
        _ISSUER,
    ),
    "manifest-malformed": Refusal(
        STEP_SET,
        Sentence(
            "What was anchored is not the list of a set.",
            "存证的内容并非文件集的清单。",
            "存證的內容並非文件集的清單。",
        ),
        _ISSUER,
    ),
    "set-empty": Refusal(
        STEP_SET,
        Sentence("The set has no files.", "该文件集不含任何文件。", "該文件集不含任何檔案。"),
        _ISSUER,
    ),
    "set-too-many": Refusal(
        STEP_SET,
        Sentence(
            "The set has more files than a set may have.",
            "该文件集的文件数量超过上限。",
            "該文件集的檔案數量超過上限。",
        ),
        _ISSUER,
    ),
    "set-unfit": Refusal(
        STEP_SET,
        Sentence(
            "The files that are shown do not belong to the set.",
            "所出示的文件与文件集不符。",
            "所出示的檔案與文件集不符。",
        ),
        _AGAIN,
    ),
    "set-names-equal": Refusal(
        STEP_SET,
        Sentence(
            "Two files of the set have one name.",
            "文件集中有两个文件同名。",
            "文件集中有兩個檔案同名。",
        ),
        _ISSUER,
    ),
    "set-names-alike": Refusal(
        STEP_SET,
        Sentence(
            "Two files of the set have names that look the same.",
            "文件集中有两个文件的名称看起来相同。",
            "文件集中有兩個檔案的名稱看起來相同。",
        ),
        _ISSUER,
    ),
    "set-name": Refusal(
        STEP_SET,
        Sentence(
            "A file of the set has a name that systems read differently.",
            "文件集中有文件的名称在不同系统上读法不同。",
            "文件集中有檔案的名稱在不同系統上讀法不同。",
        ),
        _ISSUER,
    ),
    "set-choice": Refusal(
        STEP_SET,
        Sentence(
            "The files that are shown are not those that the holder chose and signed.",
            "所出示的文件并非持有人选定并签署的文件。",
            "所出示的檔案並非持有人選定並簽署的檔案。",
        ),
        _AGAIN,
    ),
    "set-file-unknown": Refusal(
        STEP_SET,
        Sentence(
            "A file is not, byte for byte, one that is shown of the set.",
            "有文件与所出示的文件集内容不一致。",
            "有檔案與所出示的文件集內容不一致。",
        ),
        _EACH,
    ),
    "set-file-missing": Refusal(
        STEP_SET,
        Sentence(
            "A file that is shown of the set is not here.",
            "所出示的文件集中有文件缺失。",
            "所出示的文件集中有檔案缺失。",
        ),
        _EACH,
    ),
}


class SetError(VerificationError):
    """A set that is shown, or its files, were refused."""

    @staticmethod
    def _refusals() -> dict[str, Refusal]:
        return SET_REFUSALS


@dataclass(frozen=True, slots=True)
class FileShown:
    """A file of the set that is shown, as its issuer named it; `size` in bytes.

    `found_as` are the names under which its content was handed over.
    """

    name: str
    media_type: str
    size: int
    content_root: bytes
    found_as: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetVerdict:
    """What holds of the set as a document, and which of its files are shown, in order of their names.

    `files_count` is how many files the set has, by its issuer's word. `shown_hash` names this choice of files.
    """

    document: Verdict | AnchorVerdict
    files: tuple[FileShown, ...]
    files_count: int
    shown_hash: bytes

    @property
    def is_whole(self) -> bool:
        """Say whether every file of the set is shown."""
        return len(self.files) == self.files_count


Files: TypeAlias = Iterable[tuple[str, Document]]
"""The files that were handed over: each with the name that it has here. Read once, one after the other."""


def verify_set(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    files: Files,
    *,
    request: Request,
    now_ms: int,
    max_age_ms: int = MAX_AGE_MS,
) -> SetVerdict:
    """Return what holds now of a set of which the holder shows all or some files.

    `shown` is the content of the file with the manifest and what opens the shown files. The manifest is verified as
    the document first: its reasons are told before those of the files, and none is read before. Raises what
    `Verifier.verify` raises, and what reading the files raises.
    """
    handed = _take(verifier, shown, proof, files)
    manifest = handed.shown.manifest
    verdict = verifier.verify(manifest, handed.proof, request=request, now_ms=now_ms, max_age_ms=max_age_ms)
    return _verify_files(handed, verdict)


def verify_set_as_of(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    files: Files,
    *,
    request: Request,
    at_ms: int,
    max_age_ms: int = MAX_AGE_MS,
) -> SetVerdict:
    """Return what held of it at a past time, as `Verifier.verify_as_of` does."""
    handed = _take(verifier, shown, proof, files)
    manifest = handed.shown.manifest
    verdict = verifier.verify_as_of(
        manifest, handed.proof, request=request, at_ms=at_ms, max_age_ms=max_age_ms
    )
    return _verify_files(handed, verdict)


def verify_set_anchor(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    files: Files,
    *,
    now_ms: int,
    max_age_ms: int = MAX_AGE_MS,
) -> SetVerdict:
    """Return what holds now of a set and its anchor, without consent and presentation."""
    handed = _take(verifier, shown, proof, files)
    manifest = handed.shown.manifest
    verdict = verifier.verify_anchor(manifest, handed.proof, now_ms=now_ms, max_age_ms=max_age_ms)
    return _verify_files(handed, verdict)


def verify_set_anchor_as_of(
    verifier: Verifier,
    shown: bytes,
    proof: bytes,
    files: Files,
    *,
    at_ms: int,
    max_age_ms: int = MAX_AGE_MS,
) -> SetVerdict:
    """Return what held of a set and its anchor at a past time."""
    handed = _take(verifier, shown, proof, files)
    manifest = handed.shown.manifest
    verdict = verifier.verify_anchor_as_of(manifest, handed.proof, at_ms=at_ms, max_age_ms=max_age_ms)
    return _verify_files(handed, verdict)


@dataclass(frozen=True, slots=True)
class _Handed:
    shown: ShownSet
    proof: bytes
    files: Files


def _take(verifier: object, shown: bytes, proof: bytes, files: Files) -> _Handed:
    require_instance("verifier", verifier, Verifier, cure="Give Verifier(trust), made once.")
    cure = "Give the content of the file: Path(path).read_bytes()."
    proof = require_bytes("proof", proof, cure=cure)
    shown = require_bytes("shown", shown, cure=cure)
    is_other = isinstance(files, str | AbstractSet | Mapping | type) or hasattr(files, "read")
    if is_other or not isinstance(files, Iterable) or find_view("files", files) is not None:
        raise _wrong_files(files)
    try:
        return _Handed(ShownSet.decode(shown), proof, files)
    except LedgerError as error:
        raise SetError(
            code="set-malformed", where="shown set", expected=error.expected, found=error.found
        ) from error


def _verify_files(handed: _Handed, verdict: Verdict | AnchorVerdict) -> SetVerdict:
    shown = handed.shown
    media_type = Proof.decode(handed.proof).opening.media_type
    if media_type != SET_MEDIA_TYPE:
        raise SetError(code="not-a-set", where="media type", expected=SET_MEDIA_TYPE, found=media_type)
    try:
        files_count = shown.check()
    except LedgerError as error:
        raise SetError(
            code=error.code, where=error.where, expected=error.expected, found=error.found
        ) from error
    if isinstance(verdict, Verdict):
        _check_choice(shown, files_count, verdict.presented.shown)
    names = _match(shown.entries, handed.files)
    ordered = sorted(shown.entries, key=lambda entry: entry.name)
    return SetVerdict(
        document=verdict,
        files=tuple(
            FileShown(
                entry.name.decode(),
                entry.media_type,
                entry.size,
                entry.content_root,
                tuple(names[_content_of(entry)]),
            )
            for entry in ordered
        ),
        files_count=files_count,
        shown_hash=shown.shown_hash,
    )


def _check_choice(shown: ShownSet, files_count: int, signed: bytes | None) -> None:
    """Check that these files are those that the holder signed; without a choice that is every file."""
    is_whole = len(shown.entries) == files_count
    if signed != shown.shown_hash and not (signed is None and is_whole):
        raise SetError(
            code="set-choice",
            where="presentation",
            expected="every file of the set" if signed is None else f"the choice {signed.hex()}",
            found=f"{len(shown.entries)} of {files_count} files, the choice {shown.shown_hash.hex()}",
        )


def _match(entries: Iterable[SetEntry], files: Files) -> dict[_Content, list[str]]:
    """Return the names under which each shown content was handed over (rule 3)."""
    names: dict[_Content, list[str]] = {_content_of(entry): [] for entry in entries}
    for each in files:
        if not (isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str)):
            raise _wrong_files(each)
        name, document = each
        content = content_of(open_document(document))
        if (content.size, content.root) not in names:
            raise SetError(
                code="set-file-unknown",
                where=ascii(name)[:80],
                expected="a file that is shown of the set, byte for byte",
                found=f"another of {content.size} bytes",
            )
        names[content.size, content.root].append(name)
    for entry in sorted(entries, key=lambda entry: entry.name):
        if not names[_content_of(entry)]:
            raise SetError(
                code="set-file-missing",
                where=ascii(entry.name.decode())[:80],
                expected=f"a file of exactly this content, {entry.size} bytes",
                found="none among those given",
            )
    return names


def _content_of(entry: SetEntry) -> _Content:
    # No Content: an entry may name a size that no document has.
    return entry.size, entry.content_root


def _wrong_files(found: object) -> WrongCall:
    cure = "Give a list of pairs: [(path.name, path.read_bytes())], or a generator that opens one after the other."
    return WrongCall(
        where="files", expected="pairs of a name and a document", found=describe(found), cure=cure
    )
