"""The examples: programs to copy from, each run on an honest document and proof and on an altered one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.trust import trusted_root_to_json
from tests.support.clocked import luohu_at
from tests.support.sources import ROOT
from tests.support.story import DAY_MS, Story, tell

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


@pytest.fixture
def folder(story: Story, tmp_path: Path) -> Path:
    (tmp_path / "report.pdf").write_bytes(story.document)
    (tmp_path / "report.pdf.proof").write_bytes(story.proof.encode())
    (tmp_path / "request").write_bytes(story.request.encode())
    (tmp_path / "trust.json").write_text(json.dumps(trusted_root_to_json(story.trust)))
    return tmp_path


def call(*command: str | Path) -> tuple[int, str]:
    """Run a program in the project's folder; return its exit code and output."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("program", ["verify_one.py", "verify_upload.py"])
def test_one_document_is_verified_and_an_altered_one_refused(
    story: Story, folder: Path, program: str
) -> None:
    files = [folder / name for name in ("trust.json", "request", "report.pdf", "report.pdf.proof")]
    command: list[str | Path] = [
        "-W",
        "error",
        "-m",
        f"examples.{program.removesuffix('.py')}",
        *files,
        f"{story.now_ms}",
    ]
    code, said = call(sys.executable, *command)
    assert code == 0 and "consumer-credit.loan" in said
    (folder / "report.pdf").write_bytes(story.document[:-1])
    code, said = call(sys.executable, *command)
    assert code == 1 and "refused at the step document: document-altered" in said


def test_a_folder_of_documents_is_verified(story: Story, folder: Path) -> None:
    shutil.copy(folder / "report.pdf.proof", folder / "other.pdf.proof")
    (folder / "other.pdf").write_bytes(b"another document")
    command: list[str | Path] = [
        "-m",
        "examples.verify_many",
        folder / "trust.json",
        folder / "request",
        folder,
    ]
    code, said = call(sys.executable, *command, f"{story.now_ms}")
    assert code == 1
    assert [line.split()[1:] for line in said.splitlines()] == [
        ["refused", "document-altered"],
        ["verified", "consumer-credit.loan"],
    ]


def test_java_verifies_through_the_service(story: Story, folder: Path) -> None:
    java = shutil.which("java")
    if java is None:
        pytest.skip("no java on the path: the Java example is not run")
    # The example names a past time, so the service's clock stands after the story.
    served = ["verify", "serve", "--port", "0", "--json", "--trust", str(folder / "trust.json")]
    command = luohu_at(story.now_ms + DAY_MS, served)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as service:
        try:
            assert service.stdout is not None
            answer = b""
            while not answer.endswith(b"}\n"):
                line = service.stdout.readline()
                assert line, "the service says where it is"
                answer += line
            url = json.loads(answer)["url"]
            names = ("report.pdf", "report.pdf.proof", "request")
            arguments = [url, *(str(folder / name) for name in names), f"{story.now_ms}"]
            code, said = call(java, "-XX:TieredStopAtLevel=1", EXAMPLES / "Verify.java", *arguments)
            assert code == 0 and json.loads(said.split(" ", 1)[1])["verdict"] == "verified", said
            (folder / "report.pdf").write_bytes(story.document + b"!")
            code, said = call(java, "-XX:TieredStopAtLevel=1", EXAMPLES / "Verify.java", *arguments)
            assert code == 1 and said.startswith("422 ")
        finally:
            service.terminate()
        assert service.wait(20) == 0
