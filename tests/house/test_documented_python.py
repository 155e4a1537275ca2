"""The Python that the pages show runs as it stands there, and does what they say."""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.consents import grant_consent
from ledger.proofs import Proof
from ledger.requests import Request
from ledger.trust import TrustedRoot, trusted_root_to_json
from ledger.verdicts import Verdict
from ledger.verifier import Verifier
from node.clock import SystemClock
from tests.support.consortium import make_genesis
from tests.support.office import make_request as make_asked
from tests.support.running_network import key_of, now_ms, run_network
from tests.support.sources import ROOT
from tests.support.story import Story, tell

pytestmark = pytest.mark.slow
ASKED_ROOT = TrustedRoot(1, make_genesis(), ())


def blocks_of(page: str) -> list[str]:
    """Return the Python that a page shows."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


async def run(source: str, names: dict[str, object]) -> dict[str, object]:
    """Run a block with these names about it, and return what it leaves."""
    code = compile(source, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    ended = eval(code, names)
    if inspect.isawaitable(ended):
        await ended
    return names


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


def test_these_pages_show_python() -> None:
    shown = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    }
    counts = {page: len(blocks_of(page)) for page in shown if blocks_of(page)}
    assert counts == {
        "README.md": 1,
        "docs/verifying.md": 1,
        "docs/issuing.md": 1,
        "docs/proven-and-told.md": 1,
    }


def test_the_first_page_verifies(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trust.json").write_text(json.dumps(trusted_root_to_json(story.trust)))
    Path("loan-4711.request").write_bytes(story.request.encode())
    Path("report.pdf").write_bytes(story.document)
    Path("report.pdf.proof").write_bytes(story.proof.encode())
    (block,) = blocks_of("README.md")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        monkeypatch.setattr("time.time_ns", lambda: story.now_ms * 1_000_000)
        asyncio.run(run(block, {}))
    assert "consumer-credit.loan" in said.getvalue()


def test_the_verifiers_page_verifies(story: Story) -> None:
    names = {
        "trust_bytes": json.dumps(trusted_root_to_json(story.trust)).encode(),
        "document": story.document,
        "proof_bytes": story.proof.encode(),
        "request": Request.decode(story.request.encode()),
        "now_ms": story.now_ms,
    }
    (block,) = blocks_of("docs/verifying.md")
    left = asyncio.run(run(block, names))
    assert isinstance(left["verdict"], Verdict)


def test_the_page_of_what_is_proven_withdraws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks_of("docs/proven-and-told.md")

    async def scenario() -> None:
        async with run_network(tmp_path / "network") as running:
            source = block
            for shown, member in (("7201", "hk-operator"), ("7204", "sz-operator")):
                assert f'"http://127.0.0.1:{shown}"' in source
                source = source.replace(f"http://127.0.0.1:{shown}", running.url(member))
            chain_id = running.genesis.content.chain_id
            asked = replace(make_asked(ASKED_ROOT, now_ms()).decoded(), chain_id=chain_id)
            consent = grant_consent(
                Request.sign(asked, key_of("mainland-bank")),
                key_of("hk-bank"),
                nonce=bytes(16),
                terms_salt=bytes(32),
                from_ms=0,
                submit_by_ms=now_ms(),
            )
            trust = TrustedRoot(1, running.genesis, ())
            await run(source, {"trust": trust, "now_ms": now_ms, "consent": consent})

    asyncio.run(scenario())
    ended, shown = map(int, capsys.readouterr().out.split())
    assert 0 < ended <= shown


def test_the_issuers_page_issues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks_of("docs/issuing.md")

    async def scenario() -> None:
        async with run_network(tmp_path / "network") as running:
            source = block
            for shown, member in (("7201", "sz-operator"), ("7202", "hk-operator")):
                assert f'"http://127.0.0.1:{shown}"' in source
                source = source.replace(f"http://127.0.0.1:{shown}", running.url(member))
            trust = TrustedRoot(1, running.genesis, ())
            names: dict[str, object] = {
                "Path": Path,
                "SystemClock": SystemClock,
                "chain_id": running.genesis.content.chain_id,
                "member_key": key_of("hk-bureau"),
                "trust": trust,
                "pdf": b"%PDF SAMPLE report",
                "holder_key": key_of("hk-bank").public,
            }
            proof = (await run(source, names))["proof"]
            assert isinstance(proof, Proof)
            verdict = Verifier(trust).verify_anchor(b"%PDF SAMPLE report", proof.encode(), now_ms=now_ms())
            assert verdict.issuer.member == "hk-bureau"

    asyncio.run(scenario())
