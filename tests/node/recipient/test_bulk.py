"""Many documents at once: every row gets its answer, and a call that was cut short goes on."""

import csv
import hashlib
import io
import json
import os
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.bulk import ANSWER_COLUMNS, JOURNAL_SUFFIX, TIME_COLUMNS
from cli.exits import FINE, NO, USAGE
from cli.journal import LINE_SIZE_MAX, load_key
from cli.program import run
from cli.times import parse_time, show_time
from ledger.trust import trusted_root_to_json
from node.clock import SystemClock
from node.recipient.bulk import CHUNK_ROWS, COLUMNS, RECALL_MS, BulkSettings, Row, answer_rows
from tests.support.clocked import luohu_at
from tests.support.consortium import DAY_MS, LATER_MS
from tests.support.sources import ROOT
from tests.support.story import Story, make_request, tell


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the key of the journals in a folder of each test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with one honest bundle, its request, a trusted root, and some faults."""

    story: Story
    path: Path

    def arguments(self, *more: str) -> list[str]:
        at = show_time(self.story.now_ms).replace(" UTC+8", "")
        named = ["--trust", str(self.path / "trust.json"), "--at", at, "--out", str(self.out)]
        return ["verify", "--manifest", str(self.manifest), *named, "--jobs", "1", *more]

    @property
    def manifest(self) -> Path:
        return self.path / "in.csv"

    @property
    def out(self) -> Path:
        return self.path / "out.csv"

    @property
    def journal(self) -> Path:
        return self.out.with_name(self.out.name + JOURNAL_SUFFIX)

    def answers(self) -> list[dict[str, str]]:
        with self.out.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's clock stands after the story: `--at` asks about a past time."""
    monkeypatch.setattr("cli.verify.now_ms", lambda: LATER_MS)


@pytest.fixture
def folder(story: Story, tmp_path: Path) -> Folder:
    (tmp_path / "report.pdf").write_bytes(story.document)
    (tmp_path / "report.pdf.proof").write_bytes(story.proof.encode())
    (tmp_path / "altered.pdf").write_bytes(story.document + b"!")
    (tmp_path / "request").write_bytes(story.request.encode())
    other = make_request(story.world, story.trust, purpose="another.purpose")
    (tmp_path / "other").write_bytes(other.encode())
    (tmp_path / "noise").write_bytes(b"noise")
    (tmp_path / "trust.json").write_text(json.dumps(trusted_root_to_json(story.trust)))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "in.csv").write_text(
        "report.pdf,,request,\n"
        "altered.pdf,report.pdf.proof,request\n"
        "report.pdf,,other,1h\n"
        "\n"
        "missing.pdf,report.pdf.proof,request\n"
        "report.pdf,noise,request\n"
        "report.pdf,,noise\n"
        "pipe,report.pdf.proof,request\n"
        'report.pdf,"report.pdf.proof",request,2d\n'
    )
    return Folder(story, tmp_path)


EXPECTED = [
    ("1", "verified", "", ""),
    ("2", "refused", "document", "document-altered"),
    ("3", "refused", "consent", "wrong-purpose"),
    ("5", "unreadable", "files", "path"),
    ("6", "refused", "files", "proof-malformed"),
    ("7", "refused", "files", "encoding"),
    ("8", "unreadable", "files", "path"),
    ("9", "verified", "", ""),
]


def test_every_row_gets_its_answer(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder.arguments()) == NO
    assert capsys.readouterr().out.startswith("2 of 8 verified; wrote")
    answers = folder.answers()
    assert [(each["row"], each["verdict"], each["step"], each["code"]) for each in answers] == EXPECTED
    honest, altered = answers[0], answers[1]
    assert list(honest) == list(ANSWER_COLUMNS)
    assert honest["consent.recipient"] == "mainland-bank"
    assert honest["integrity.commitment"] == folder.story.proof.opening.commitment().hex()
    assert honest["presented.nonce"] == folder.story.request.decoded().nonce.hex()
    assert honest["expected"] == honest["found"] == ""
    size = len(folder.story.document)
    longer = f"{size + 1} bytes; the first {size} are the document of the proof"
    assert (altered["expected"], altered["found"]) == (f"{size} bytes", longer)
    assert altered["anchored.height"] == "", "a refusal claims nothing"
    assert not folder.journal.exists()


def test_a_manifest_about_the_present_blames_a_slow_clock_row_by_row(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = folder.arguments()
    place = arguments.index("--at")
    now_ms = folder.story.now_ms
    for ahead_ms, codes in (
        (-DAY_MS, ["clock-behind", "document-altered", "clock-behind"]),
        (0, ["", "document-altered", "wrong-purpose"]),
    ):
        moment_ms = now_ms + ahead_ms
        monkeypatch.setattr(SystemClock, "wall_ms", lambda _self, moment_ms=moment_ms: moment_ms)
        assert run([*arguments[:place], *arguments[place + 2 :]]) == NO
        assert [each["code"] for each in folder.answers()][:3] == codes
        folder.out.unlink()
    capsys.readouterr()


def test_a_manifest_takes_no_time_to_come(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = folder.arguments()
    arguments[arguments.index("--at") + 1] = show_time(LATER_MS + 1_000).replace(" UTC+8", "")
    assert run(arguments) == USAGE
    assert "Leave --at out" in capsys.readouterr().err
    assert not folder.out.exists() and not folder.journal.exists()


def test_a_batch_of_honest_rows_is_fine_with_one_request_for_all(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.manifest.write_text("report.pdf\n" * 3)
    assert run([*folder.arguments("--request", str(folder.path / "request")), "--json"]) == FINE
    summary = json.loads(capsys.readouterr().out)
    assert summary == {
        "rows_count": 3,
        "resumed_count": 0,
        "repeated_count": 2,
        "verdicts": {"verified": 3},
        "codes": {},
    }


def test_the_anchor_alone_is_verified_by_that_name(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.manifest.write_text("report.pdf\nreport.pdf\n")
    assert run(folder.arguments("--anchor-only")) == FINE
    assert "neither consent nor presentation was checked" in capsys.readouterr().out
    assert {each["verdict"] for each in folder.answers()} == {"anchor-verified"}
    assert {each["consent.recipient"] for each in folder.answers()} == {""}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("report.pdf,,request\nreport.pdf\n", "in.csv line 2"),
        ("report.pdf,,request,1h,bundle,more\n", "in.csv line 1"),
        ("report.pdf,,request,1h,more\n", "in.csv line 1"),
        ("report.pdf,,request,soon\n", "'soon'"),
        (",,request\n", "in.csv line 1"),
        ('report.pdf,,request\n"report.pdf\n', "in.csv line 2"),
        ("re\0port.pdf,,request\n", "in.csv line 1"),
        ("\n\n", "at least one row"),
        ("report.pdf,,request\n\xff".encode("latin-1"), "CSV in UTF-8"),
    ],
)
def test_a_wrong_manifest_is_refused_by_line_and_nothing_is_written(
    folder: Folder, capsys: pytest.CaptureFixture[str], content: str | bytes, found: str
) -> None:
    folder.manifest.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = set(folder.path.iterdir())
    assert run(folder.arguments()) == USAGE
    assert found in capsys.readouterr().err
    assert set(folder.path.iterdir()) == before


def test_a_request_in_a_row_is_refused_where_only_anchors_are_verified(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder.arguments("--anchor-only")) == USAGE
    assert "in.csv line 1" in capsys.readouterr().err


@pytest.mark.parametrize("kept_lines", [0, 1, 4])
@pytest.mark.parametrize("torn", ["", '["5", "mis'])
def test_a_batch_that_was_cut_short_goes_on(
    folder: Folder, capsys: pytest.CaptureFixture[str], kept_lines: int, torn: str
) -> None:
    assert run(folder.arguments()) == NO
    whole = folder.out.read_bytes()
    folder.out.unlink()
    make_journal(folder)
    lines = folder.journal.read_text().splitlines(keepends=True)
    folder.journal.write_text("".join(lines[: 1 + kept_lines]) + torn)
    capsys.readouterr()
    assert run([*folder.arguments(), "--json"]) == NO
    assert json.loads(capsys.readouterr().out)["resumed_count"] == kept_lines
    assert folder.out.read_bytes() == whole


def make_journal(folder: Folder) -> None:
    """Leave the journal of a whole run: a directory appears where the output should go."""
    import cli.bulk

    folder.out.unlink(missing_ok=True)
    original = cli.bulk._write_answers
    try:
        cli.bulk._write_answers = lambda *_, **__: (_ for _ in ()).throw(
            OSError(28, "No space left on device")
        )
        assert run(folder.arguments()) == USAGE
    finally:
        cli.bulk._write_answers = original
    assert folder.journal.exists() and not folder.out.exists()


def test_a_journal_of_something_else_is_refused_and_kept(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    make_journal(folder)
    kept = folder.journal.read_bytes()
    for change in (["--max-age", "3d"], ["--request", str(folder.path / "other")]):
        assert run(folder.arguments(*change)) == USAGE
        assert "answers to something else" in capsys.readouterr().err
    folder.manifest.write_text(folder.manifest.read_text() + "report.pdf,,request\n")
    assert run(folder.arguments()) == USAGE
    assert folder.journal.read_bytes() == kept
    folder.journal.write_text("a file of the user's own\n")
    assert run(folder.arguments()) == USAGE
    assert folder.journal.read_text() == "a file of the user's own\n"


def test_an_output_that_exists_is_never_overwritten(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.out.write_text("kept")
    assert run(folder.arguments()) == USAGE
    assert folder.out.read_text() == "kept"
    assert not folder.journal.exists()


@pytest.mark.parametrize(
    "more",
    [
        ["report.pdf", "--manifest", "in.csv", "--out", "out.csv"],
        [],
        ["--manifest", "in.csv"],
        ["report.pdf", "--out", "out.csv"],
        ["report.pdf", "--jobs", "2"],
        ["report.pdf", "--anchor-only", "--excel"],
        ["--manifest", "in.csv", "--out", "out.csv", "--proof", "x"],
    ],
)
def test_a_call_that_means_two_things_is_usage(
    folder: Folder, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    assert run(["verify", "--trust", str(folder.path / "trust.json"), *more]) == USAGE
    assert "expected:" in capsys.readouterr().err


def test_processes_give_the_same_answers_in_the_same_order(folder: Folder) -> None:
    pairs = [("report.pdf", "request"), ("altered.pdf", "request"), ("report.pdf", "other")]
    rows = [
        Row(
            number,
            str(folder.path / pairs[number % 3][0]),
            str(folder.path / "report.pdf.proof"),
            str(folder.path / pairs[number % 3][1]),
            3_600_000,
        )
        for number in range(3 * CHUNK_ROWS + 1)
    ]
    settings = BulkSettings(folder.story.trust, folder.story.now_ms)
    alone = list(answer_rows(rows, settings, jobs=1))
    assert list(answer_rows(rows, settings, jobs=2)) == alone
    assert [each.is_verified for each in alone[:3]] == [True, False, False]


def test_the_command_verifies_with_processes(folder: Folder) -> None:
    command = luohu_at(LATER_MS, folder.arguments())
    command[command.index("--jobs") + 1] = "2"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == NO
    told = "line 5: missing.pdf; line 8: pipe (no regular file)"
    assert (
        done.stderr
        == f"luohu: {folder.manifest} names files that are missing; their rows will not be verified: {told}\n"
    )
    assert [each["code"] for each in folder.answers()] == [row[3] for row in EXPECTED]


def test_a_manifest_of_excel_is_answered(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    apart = "Cafe\u0301.pdf"
    (folder.path / apart).write_bytes(folder.story.document)
    (folder.path / f"{apart}.proof").write_bytes(folder.story.proof.encode())
    (folder.path / "sub").mkdir()
    (folder.path / "sub" / "caf\u00e9.pdf").write_bytes(folder.story.document)
    (folder.path / "sub" / "cafe\u0301.pdf.proof").write_bytes(folder.story.proof.encode())
    text = "文件;证明;请求\r\nCaf\u00e9.pdf;;request\r\n;;\r\nsub\\caf\u00e9.pdf;;request\r\n"
    folder.manifest.write_bytes(text.encode("utf-16"))
    assert run(folder.arguments()) == FINE
    assert [(each["row"], each["verdict"]) for each in folder.answers()] == [
        ("2", "verified"),
        ("4", "verified"),
    ]
    assert capsys.readouterr().err == ""


def test_times_stand_beside_their_milliseconds_as_people_read_them(folder: Folder) -> None:
    assert run(folder.arguments()) == NO
    honest, altered = folder.answers()[:2]
    for column in TIME_COLUMNS:
        shown = honest[column.removesuffix("_ms") + "_utc8"]
        if not honest[column]:
            assert shown == ""
            continue
        assert shown.endswith("+08:00") and parse_time(shown) == int(honest[column]) // 1000 * 1000
    assert honest["at_utc8"] and honest["consent.until_utc8"] and altered["anchored.time_utc8"] == ""
    assert ANSWER_COLUMNS[: len(COLUMNS)] == COLUMNS, "no column moves"


def test_a_byte_order_mark_is_written_for_excel_alone(folder: Folder) -> None:
    assert run(folder.arguments()) == NO
    plain = folder.out.read_bytes()
    folder.out.unlink()
    assert run(folder.arguments("--excel")) == NO
    assert folder.out.read_bytes() == b"\xef\xbb\xbf" + plain
    assert not plain.startswith(b"\xef")


def test_one_presentation_many_times_is_told(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.path / "copy.pdf").write_bytes(folder.story.document)
    (folder.path / "copy.pdf.proof").write_bytes(folder.story.proof.encode())
    (folder.path / "again").write_bytes(folder.story.request.encode())
    folder.manifest.write_text(
        "report.pdf,,other\nreport.pdf,,request\ncopy.pdf,,again\nreport.pdf,,request\n"
    )
    assert run(folder.arguments()) == NO
    assert "presented again" in (said := capsys.readouterr().out) and "2 rows" in said
    assert [each["presented.first_row"] for each in folder.answers()] == ["", "", "2", "2"]
    folder.out.unlink()
    folder.manifest.write_text("report.pdf,,request\n")
    assert run(folder.arguments()) == FINE
    assert "again" not in capsys.readouterr().out
    assert folder.answers()[0]["presented.first_row"] == ""


def test_missing_files_are_told_before_anything_is_verified(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "alone.pdf").touch()
    folder.manifest.write_text("report.pdf,,request\nalone.pdf,,request\ngone.pdf,p,r\n")

    def stop(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cli.bulk._answer_all", stop)
    assert run(folder.arguments()) == USAGE
    told = capsys.readouterr().err.splitlines()[0]
    assert told.endswith("line 2: alone.pdf.proof; line 3: gone.pdf; line 3: r; line 3: p")


def zipped(*entries: tuple[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return written.getvalue()


OFFICE = zipped(
    ("[Content_Types].xml", b"<Types/>"), ("_rels/.rels", b"<a/>"), ("word/document.xml", b"<w/>")
)


def test_a_row_may_name_a_bundle_by_its_ending_or_by_the_fifth_column(folder: Folder) -> None:
    proof, document = folder.story.proof.encode(), folder.story.document
    both = zipped(("a.pdf", document), ("b", proof))
    (folder.path / "both.zip").write_bytes(both)
    (folder.path / "both.pdf").write_bytes(both)
    (folder.path / "altered.zip").write_bytes(zipped(("a", document + b"!"), ("b", proof)))
    (folder.path / "three.zip").write_bytes(zipped(("a", document), ("b", proof), ("c", b"more")))
    folder.manifest.write_text(
        "both.zip,,request\nboth.pdf,,request,,bundle\nboth.zip,,request,1h,bundle\n"
        "altered.zip,,request\nthree.zip,,request\n"
    )
    assert run(folder.arguments()) == NO
    answers = folder.answers()
    assert [(each["verdict"], each["code"], each["inside.name"]) for each in answers] == [
        ("verified", "", "a.pdf"),
        ("verified", "", "a.pdf"),
        ("verified", "", "a.pdf"),
        ("refused", "document-altered", "a"),
        ("refused", "pair-malformed", ""),
    ]
    assert answers[0]["integrity.size"] == f"{len(document)}"
    assert answers[0]["inside.sha256"] == hashlib.sha256(document).hexdigest()
    assert answers[3]["inside.sha256"] == hashlib.sha256(document + b"!").hexdigest()
    assert all(each["proof"] == each["file"] for each in answers)


def test_a_row_with_a_bundle_that_is_named_as_a_document_is_never_verified(folder: Folder) -> None:
    proof = folder.story.proof.encode()
    (folder.path / "both.pdf").write_bytes(zipped(("a.pdf", folder.story.document), ("b", proof)))
    folder.manifest.write_text("both.pdf,,request\nboth.pdf,report.pdf.proof,request\n")
    assert run(folder.arguments()) == NO
    without, with_proof = folder.answers()
    assert (without["verdict"], without["code"]) == ("unreadable", "path")
    assert "`bundle` in the fifth" in without["expected"] and without["where"].endswith("both.pdf.proof")
    assert (with_proof["verdict"], with_proof["code"]) == ("refused", "document-altered")
    assert {each["inside.name"] for each in (without, with_proof)} == {""}


@pytest.mark.parametrize(
    "row", ["both.zip,,request,,zip", "both.zip,,request,,1", "both.zip,p,request,,bundle"]
)
def test_another_word_in_the_fifth_column_is_refused_by_its_line(
    folder: Folder, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    folder.manifest.write_text(f"report.pdf,,request\n{row}\n")
    assert run(folder.arguments()) == USAGE
    said = capsys.readouterr().err
    assert "in.csv line 2" in said and "`bundle` in the fifth column" in said


def test_a_row_that_names_document_and_proof_the_wrong_way_round_is_refused(folder: Folder) -> None:
    folder.manifest.write_text("report.pdf.proof,report.pdf,request\n")
    assert run(folder.arguments()) == NO
    (answer,) = folder.answers()
    assert (answer["verdict"], answer["code"]) == ("refused", "files-exchanged")
    assert answer["file"].endswith("report.pdf.proof") and answer["proof"].endswith("report.pdf")


def test_a_zip_that_is_itself_the_document_is_never_taken_for_a_bundle(folder: Folder) -> None:
    proof = folder.story.proof.encode()
    inner = zipped(("a", folder.story.document), ("b", proof))
    for name in ("report.docx", "pair.zip", "named.zip"):
        (folder.path / name).write_bytes(OFFICE if name == "report.docx" else inner)
    for name in ("report.docx.proof", "pair.zip.proof"):
        (folder.path / name).write_bytes(proof)
    (folder.path / "alone.docx").write_bytes(OFFICE)
    (folder.path / "alone.zip").write_bytes(OFFICE)
    folder.manifest.write_text(
        "report.docx,,request\npair.zip,,request\nnamed.zip,report.pdf.proof,request\nalone.docx,,request\n"
        "alone.zip,,request\n"
    )
    assert run(folder.arguments()) == NO
    assert [(each["file"].rsplit("/", 1)[-1], each["code"]) for each in folder.answers()] == [
        ("report.docx", "document-altered"),
        ("pair.zip", "document-altered"),
        ("named.zip", "document-altered"),
        ("alone.docx", "path"),
        ("alone.zip", "pair-malformed"),
    ]


# -- what was answered before ----------------------------------------------------------------------------


def resumed(folder: Folder, capsys: pytest.CaptureFixture[str], *more: str) -> int:
    """Answer the manifest, and return how many rows were answered as an earlier call did."""
    folder.out.unlink(missing_ok=True)
    capsys.readouterr()
    assert run([*folder.arguments(*more), "--json"]) in (FINE, NO)
    count = json.loads(capsys.readouterr().out)["resumed_count"]
    assert isinstance(count, int)
    return count


REPLACED = {
    "report.pdf": "document-altered",
    "report.pdf.proof": "proof-malformed",
    "request": "encoding",
}


@pytest.mark.parametrize("name", REPLACED)
def test_an_earlier_answer_counts_for_no_other_bytes(
    folder: Folder, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder.manifest.write_text("report.pdf,,request\n")
    make_journal(folder)
    status = (folder.path / name).stat()
    content = (folder.path / name).read_bytes()
    (folder.path / name).write_bytes(bytes(len(content)))
    os.utime(folder.path / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert resumed(folder, capsys) == 0
    assert [(each["verdict"], each["code"]) for each in folder.answers()] == [("refused", REPLACED[name])]
    (folder.path / name).write_bytes(content)
    make_journal(folder)
    assert resumed(folder, capsys) == 1
    assert [each["verdict"] for each in folder.answers()] == ["verified"]


def test_an_earlier_answer_of_a_bundle_counts_for_no_other_document_or_name(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, document = folder.story.proof.encode(), folder.story.document
    both = folder.path / "both.zip"
    folder.manifest.write_text("both.zip,,request\n")
    for name, content, code in (("b.pdf", document, ""), ("a.pdf", document + b"!", "document-altered")):
        both.write_bytes(zipped(("a.pdf", document), ("b", proof)))
        make_journal(folder)
        both.write_bytes(zipped((name, content), ("b.proof", proof)))
        assert resumed(folder, capsys) == 0
        assert [(each["inside.name"], each["code"]) for each in folder.answers()] == [(name, code)]


def test_a_refusal_of_an_earlier_call_does_not_stick(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    document = folder.story.document
    folder.manifest.write_text("report.pdf,,request\nmissing.pdf,report.pdf.proof,request\n")
    (folder.path / "report.pdf").write_bytes(document + b"!")
    make_journal(folder)
    (folder.path / "report.pdf").write_bytes(document)
    (folder.path / "missing.pdf").write_bytes(document)
    assert resumed(folder, capsys) == 0
    assert [each["verdict"] for each in folder.answers()] == ["verified", "verified"]


def test_an_answer_about_the_present_counts_for_an_hour(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.manifest.write_text("report.pdf,,request\n")
    place = folder.arguments().index("--at")
    arguments = folder.arguments()[:place] + folder.arguments()[place + 2 :]
    monkeypatch.setattr(Folder, "arguments", lambda _self, *more: [*arguments, *more])
    now_ms = folder.story.now_ms

    class Moved:
        def wall_ms(self) -> int:
            return now_ms

    monkeypatch.setattr("node.recipient.bulk.SystemClock", Moved)
    for passed_ms, count in ((0, 1), (RECALL_MS, 1), (RECALL_MS + 1, 0), (-1, 0)):
        now_ms = folder.story.now_ms
        make_journal(folder)
        now_ms += passed_ms
        assert resumed(folder, capsys) == count
        assert [int(each["at_ms"]) for each in folder.answers()] == [now_ms - passed_ms * count]


def test_a_journal_that_luohu_did_not_write_is_refused_whole(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.manifest.write_text("report.pdf,,request\naltered.pdf,report.pdf.proof,request\n")
    make_journal(folder)
    honest = folder.journal.read_text()
    head, first, second = honest.splitlines(keepends=True)
    number, basis, cells, mark = json.loads(second)
    verified = json.loads(first)[2]
    planted = {
        "the answer of another row": [number, basis, verified, mark],
        "the line of another row": [number, *json.loads(first)[1:]],
        "another basis": [number, json.loads(first)[1], cells, mark],
        "no mark": [number, basis, verified],
        "an empty mark": [number, basis, verified, ""],
        "a mark of another kind": [number, basis, verified, 1],
        "cells alone, as older releases wrote": verified,
        "a surrogate for a mark": [number, basis, verified, "\ud800"],
    }
    for fault, line in planted.items():
        forged = head + first + json.dumps(line) + "\n"
        folder.journal.write_text(forged)
        assert run(folder.arguments()) == USAGE, fault
        said = capsys.readouterr().err
        assert "[journal]" in said and "it did not write" in said
        assert folder.journal.read_text() == forged and not folder.out.exists()
    for noise in ("7\n", "{}\n", "[]\n", "[" * 100_000 + "\n", "x" * (LINE_SIZE_MAX + 1)):
        folder.journal.write_text(head + noise)
        assert run(folder.arguments()) == USAGE
        assert "[journal]" in capsys.readouterr().err
    folder.journal.write_text(honest)
    assert resumed(folder, capsys) == 2


def test_a_journal_that_another_user_wrote_is_refused(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_journal(folder)
    kept = folder.journal.read_bytes()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.path / "another's"))
    assert run(folder.arguments()) == USAGE
    assert "it did not write" in capsys.readouterr().err
    assert folder.journal.read_bytes() == kept


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606, 0o640, 0o620, 0o602])
def test_a_journal_that_others_can_use_is_refused(
    folder: Folder, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    for content in (None, b""):
        make_journal(folder)
        if content is not None:
            folder.journal.write_bytes(content)
        folder.journal.chmod(mode)
        assert run(folder.arguments()) == USAGE
        assert f"mode {mode:04o}" in capsys.readouterr().err
        folder.journal.unlink()
    assert not folder.out.exists()


def test_a_journal_of_another_owner_is_refused(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_journal(folder)
    key = load_key()
    monkeypatch.setattr("cli.bulk.load_key", lambda: key)
    monkeypatch.setattr(os, "geteuid", lambda: 4_711)
    assert run(folder.arguments()) == USAGE
    assert "a file of user" in capsys.readouterr().err
    assert not folder.out.exists()


def test_a_new_journal_is_our_own_also_where_the_disk_says_otherwise(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = load_key()
    monkeypatch.setattr("cli.bulk.load_key", lambda: key)
    monkeypatch.setattr(os, "geteuid", lambda: 4_711)
    assert run(folder.arguments()) == NO
    assert len(folder.answers()) == len(EXPECTED)


@pytest.mark.parametrize("kind", ["link", "link to nothing", "second name", "pipe", "folder"])
def test_a_journal_that_is_no_plain_file_is_refused_and_nothing_is_written_through_it(
    folder: Folder, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make_journal(folder)
    aside = folder.path / "aside"
    folder.journal.rename(aside)
    kept = aside.read_bytes()
    match kind:
        case "link":
            folder.journal.symlink_to(aside)
        case "link to nothing":
            folder.journal.symlink_to(folder.path / "nothing")
        case "second name":
            folder.journal.hardlink_to(aside)
        case "pipe":
            os.mkfifo(folder.journal, 0o600)
        case "folder":
            folder.journal.mkdir()
    assert run(folder.arguments()) == USAGE
    assert "out.csv.partial" in capsys.readouterr().err
    assert aside.read_bytes() == kept
    assert not folder.out.exists() and not (folder.path / "nothing").exists()


def test_the_key_of_the_journals_is_private_and_kept(folder: Folder, tmp_path: Path) -> None:
    key = load_key()
    (path,) = Path(os.environ["XDG_STATE_HOME"]).rglob("journal.key")
    assert load_key() == key == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("fault", ["others can read it", "it is short", "its folder is a file"])
def test_without_a_key_of_its_own_a_call_begins_anew_and_says_so(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    state = folder.path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    if fault == "its folder is a file":
        state.write_text("")
    else:
        load_key()
        (path,) = state.rglob("journal.key")
        path.chmod(0o644) if fault == "others can read it" else path.write_bytes(b"short")
    assert run(folder.arguments()) == NO
    assert "it begins anew" in capsys.readouterr().err
    assert len(folder.answers()) == len(EXPECTED)


def test_a_journal_under_a_key_that_was_not_kept_is_refused_by_the_next_call(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.path / "state").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder.path / "state"))
    make_journal(folder)
    assert run(folder.arguments()) == USAGE
    assert "remove the file" in capsys.readouterr().err


def test_processes_recall_what_was_answered_before(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.manifest.write_text(
        "report.pdf,,request\n" * (2 * CHUNK_ROWS) + "altered.pdf,report.pdf.proof,request\n"
    )
    make_journal(folder)
    assert resumed(folder, capsys, "--jobs", "2") == 2 * CHUNK_ROWS + 1
    assert [each["verdict"] for each in folder.answers()] == ["verified"] * (2 * CHUNK_ROWS) + ["refused"]
