"""The verifier on loopback: verdicts out, every wrong call refused with a reason, memory bounded."""

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli.exits import FINE, USAGE
from cli.program import run
from ledger.proofs import PROOF_SIZE_MAX
from ledger.requests import REQUEST_MAGIC, REQUEST_SIZE_MAX
from ledger.trust import TrustedRoot, trusted_root_to_json
from ledger.verdicts import REFUSALS
from node.files.configfile import ConfigError
from node.recipient import form, service
from node.recipient.service import RecipientService
from tests.attacks.forge import MIDDLE, NOW_MS, TIP, honest_from_checkpoint
from tests.support.consortium import make_content, make_genesis
from tests.support.node_world import private_key
from tests.support.sources import ROOT
from tests.support.story import Story, make_request, tell

TEXTS = {"code", "where", "expected", "found", "cure"}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    told = tell(tmp_path_factory.mktemp("story"))
    yield told
    told.world.close()


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands."""

    now_ms: int

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


Scenario = Callable[[aiohttp.ClientSession, str, RecipientService], Awaitable[None]]


def serve(story: Story, scenario: Scenario, *, requests: Path | None = None, ahead_ms: int = 0) -> None:
    """Run a scenario against a service of its own."""

    async def main() -> None:
        clock = FixedClock(story.now_ms + ahead_ms)
        service = RecipientService(story.trust, requests=requests, clock=clock)
        port = await service.start("127.0.0.1", 0)
        try:
            async with aiohttp.ClientSession() as session:
                await scenario(session, f"http://127.0.0.1:{port}", service)
        finally:
            await service.close()

    asyncio.run(main())


Part = bytes | str | io.BytesIO


def parts_of(story: Story, **changes: Part | None) -> dict[str, Part]:
    """Return the parts of an honest call, with some changed or left out (None)."""
    honest: dict[str, Any] = {
        "document": story.document,
        "proof": story.proof.encode(),
        "request": story.request.encode(),
    }
    return {name: part for name, part in {**honest, **changes}.items() if part is not None}


def form_of(parts: Mapping[str, Part]) -> aiohttp.FormData:
    data = aiohttp.FormData()
    for name, part in parts.items():
        data.add_field(name, part, filename=None if isinstance(part, str) else name)
    return data


async def post(
    session: aiohttp.ClientSession, url: str, data: object, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    body = io.BytesIO(data) if isinstance(data, bytes) else data
    async with session.post(url, data=body, headers=headers) as response:
        assert response.content_type == "application/json"
        return response.status, json.loads(await response.read())


def check_fault(answer: dict[str, Any]) -> str:
    assert set(answer) == {"error"} and set(answer["error"]) == TEXTS
    assert all(type(text) is str and text for text in answer["error"].values())
    assert len(json.dumps(answer)) < 2_000
    code: str = answer["error"]["code"]
    return code


def test_an_honest_document_is_verified_and_only_then_is_the_status_200(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        status, verdict = await post(session, url + "/v1/verify", form_of(parts_of(story)))
        assert (status, verdict["verdict"]) == (200, "verified")
        assert verdict["presented"]["nonce"] == story.request.decoded().nonce.hex()
        assert verdict["consent"]["recipient"] == "mainland-bank"
        altered = form_of(parts_of(story, document=story.document + b"!"))
        status, refusal = await post(session, url + "/v1/verify", altered)
        assert (status, refusal["verdict"], refusal["code"]) == (422, "refused", "document-altered")
        assert refusal["meaning"]["zh-Hans"] == REFUSALS["document-altered"].meaning.zh_hans

    serve(story, scenario)


def test_parts_may_come_in_any_order_and_a_past_time_and_age_may_be_named(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        backwards = dict(reversed(parts_of(story).items()))
        assert (await post(session, url + "/v1/verify", form_of(backwards)))[0] == 200
        later = f"{story.now_ms + 7_200_000}"
        stale = form_of(parts_of(story, at_ms=later, max_age_ms="3600000"))
        status, refusal = await post(session, url + "/v1/verify", stale)
        assert (status, refusal["code"]) == (422, "stale-proof")
        fresh = form_of(parts_of(story, at_ms=later, max_age_ms="9000000"))
        assert (await post(session, url + "/v1/verify", fresh))[0] == 200

    serve(story, scenario, ahead_ms=7_200_000)


@pytest.mark.parametrize("route", ["verify", "verify-anchor"])
def test_a_time_to_come_is_no_past_time(story: Story, route: str) -> None:
    request = {"request": None} if route == "verify-anchor" else {}

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        for ahead_ms, expected in ((0, 200), (1, 400)):
            asked = parts_of(story, at_ms=f"{story.now_ms + ahead_ms}", **request)
            status, answer = await post(session, f"{url}/v1/{route}", form_of(asked))
            assert status == expected
        assert check_fault(answer) == "time-to-come"
        assert "Leave at_ms out" in answer["error"]["cure"]

    serve(story, scenario)


def test_a_slow_clock_of_the_service_is_told_as_such_and_an_old_one_verifies_nothing(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        status, answer = await post(session, url + "/v1/verify", form_of(parts_of(story)))
        assert (status, answer["code"], answer["step"]) == (422, "clock-behind", "status")
        assert "clock" in answer["next_step"]["en"] and "时钟" in answer["next_step"]["zh-Hans"]

    serve(story, scenario, ahead_ms=-3_600_000)


def test_a_caller_may_name_a_request_of_the_folder_and_nothing_outside_it(
    story: Story, tmp_path: Path
) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / "loan-4711").write_bytes(story.request.encode())
    (folder / "broken").write_bytes(b"noise")
    (tmp_path / "outside").write_bytes(story.request.encode())

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        async def ask(name: str) -> tuple[int, dict[str, Any]]:
            named = parts_of(story, request=None, request_name=name)
            return await post(session, url + "/v1/verify", form_of(named))

        assert (await ask("loan-4711"))[0] == 200
        for name, status, code in (
            ("../outside", 400, "encoding"),
            (".hidden", 400, "encoding"),
            (str(tmp_path / "outside"), 400, "encoding"),
            ("", 400, "encoding"),
            ("n" * 201, 413, "too-large"),
            ("名", 400, "encoding"),
            ("nothing", 404, "unknown"),
            ("broken", 400, "encoding"),
        ):
            answered, answer = await ask(name)
            assert (answered, check_fault(answer)) == (status, code), name
        both = form_of(parts_of(story, request_name="loan-4711"))
        assert check_fault((await post(session, url + "/v1/verify", both))[1]) == "encoding"

    serve(story, scenario, requests=folder)

    async def without(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        named = form_of(parts_of(story, request=None, request_name="loan-4711"))
        status, answer = await post(session, url + "/v1/verify", named)
        assert (status, check_fault(answer)) == (400, "encoding")
        assert "--requests" in answer["error"]["expected"]

    serve(story, without)


def test_what_others_put_into_the_folder_of_requests_is_neither_followed_nor_waited_for(
    story: Story, tmp_path: Path
) -> None:
    folder = tmp_path / "requests"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(story.request.encode())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "inner").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "endless").touch()
    os.truncate(folder / "endless", 1024**4)
    (folder / "loan-4711").write_bytes(story.request.encode())

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        async def ask(name: str) -> tuple[int, dict[str, Any]]:
            named = parts_of(story, request=None, request_name=name)
            return await post(session, url + "/v1/verify", form_of(named))

        for name, found in (
            ("link", "link: a link"),
            ("zero", "zero: a link"),
            ("pipe", "pipe: a named pipe"),
            ("inner", "inner: a directory"),
        ):
            status, answer = await ask(name)
            assert (status, check_fault(answer)) == (404, "unknown"), name
            assert answer["error"]["found"] == found
        assert check_fault((await ask("endless"))[1]) == "encoding"
        assert (await ask("loan-4711"))[0] == 200, "it goes on"

    serve(story, scenario, requests=folder)
    # The folder itself is the user's, and may be a link.
    (tmp_path / "linked").symlink_to("requests")

    async def linked(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        named = parts_of(story, request=None, request_name="loan-4711")
        assert (await post(session, url + "/v1/verify", form_of(named)))[0] == 200

    serve(story, linked, requests=tmp_path / "linked")


def test_the_anchor_alone_has_a_route_of_its_own_name(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        unpresented = replace(story.proof, presentation=None).encode()
        anchor_only = form_of(parts_of(story, request=None, proof=unpresented))
        status, verdict = await post(session, url + "/v1/verify-anchor", anchor_only)
        assert (status, verdict["verdict"]) == (200, "anchor-verified")
        assert "consent" not in verdict and "consent" not in verdict["checked"]
        asked = form_of(parts_of(story))
        assert check_fault((await post(session, url + "/v1/verify-anchor", asked))[1]) == "encoding"
        missing = form_of(parts_of(story, request=None))
        assert check_fault((await post(session, url + "/v1/verify", missing))[1]) == "encoding"

    serve(story, scenario)


def raw(*parts: tuple[str, bytes], boundary: str = "b", end: str = "--") -> bytes:
    """Return a multipart body, written by hand so that anything in it may be wrong."""
    encoded = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + body + b"\r\n" for head, body in parts]
    return b"".join(encoded) + f"--{boundary}{end}\r\n".encode()


def named(name: str, more: str = "") -> str:
    return f'Content-Disposition: form-data; name="{name}"{more}'


def faults(story: Story) -> dict[str, tuple[bytes, int]]:
    """Return bodies with one thing wrong each, and the status they must get."""
    document, proof = (named("document"), story.document), (named("proof"), story.proof.encode())
    request = (named("request"), story.request.encode())
    base64 = (named("document", "\r\nContent-Transfer-Encoding: base64"), story.document)
    zipped = (named("document", "\r\nContent-Encoding: gzip"), story.document)
    inner = ("Content-Type: multipart/mixed; boundary=i", raw(document, boundary="i"))
    whole = raw(document, proof, request)
    return {
        "nothing": (b"", 400),
        "no form": (b"hello", 400),
        "another boundary": (raw(document, proof, request, boundary="c"), 400),
        "no document": (raw(proof, request), 400),
        "no proof": (raw(document, request), 400),
        "document twice": (raw(document, document, proof, request), 400),
        "proof twice": (raw(document, proof, proof, request), 400),
        "unknown part": (raw(document, proof, request, (named("extra"), b"")), 400),
        "a part without a name": (raw(document, proof, request, ("Content-Type: text/plain", b"x")), 400),
        "a form in the form": (raw(inner, document, proof, request), 400),
        "a charset part": (raw((named("_charset_"), b"utf-8"), document, proof, request), 400),
        "a long charset": (raw((named("_charset_"), b"u" * 99), document, proof, request), 400),
        "base64": (raw(base64, proof, request), 415),
        "gzip": (raw(zipped, proof, request), 415),
        "long proof": (raw(document, (named("proof"), bytes(13 + PROOF_SIZE_MAX)), request), 413),
        "long request": (
            raw(document, proof, (named("request"), bytes(len(REQUEST_MAGIC) + REQUEST_SIZE_MAX + 1))),
            413,
        ),
        "noise for a request": (raw(document, proof, (named("request"), b"noise")), 400),
        "a long header": (raw((named("document", "\r\nX-A: " + "a" * 20_000), b""), proof, request), 400),
        "many headers": (raw((named("document", "\r\nX-A: a" * 5_000), b""), proof, request), 400),
        "cut in a part": (whole[: len(whole) // 2], 400),
        "cut in a header": (whole[:20], 400),
        "time in words": (raw(document, proof, request, (named("at_ms"), b"today")), 400),
        "time with a sign": (raw(document, proof, request, (named("at_ms"), b"+1")), 400),
        "time without end": (raw(document, proof, request, (named("at_ms"), b"9" * 300)), 413),
        "time beyond all times": (
            raw(document, proof, request, (named("at_ms"), f"{2**53}".encode())),
            400,
        ),
        "age beyond all ages": (
            raw(document, proof, request, (named("max_age_ms"), f"{2**53}".encode())),
            400,
        ),
        "age in bytes": (raw(document, proof, request, (named("max_age_ms"), b"\xff")), 400),
    }


def test_a_wrong_form_is_refused_with_a_reason_and_never_with_a_500(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        good = raw((named("document"), story.document), (named("proof"), story.proof.encode()))
        for name, (body, status) in faults(story).items():
            answered, answer = await post(session, url + "/v1/verify", body, kind)
            assert (answered, check_fault(answer) != "") == (status, True), (name, answer)
        assert (await post(session, url + "/v1/verify-anchor", good, kind))[0] == 200, "it still serves"
        for media_type in (
            "application/json",
            "multipart/form-data",
            "multipart/mixed; boundary=b",
            "text/plain",
        ):
            headers = {"Content-Type": media_type}
            answered, answer = await post(session, url + "/v1/verify", good, headers)
            assert answered in (400, 415) and check_fault(answer), media_type
        zipped = {**kind, "Content-Encoding": "gzip"}
        assert (await post(session, url + "/v1/verify", good, zipped))[0] in (400, 415)

    serve(story, scenario)


def test_every_cut_of_a_form_is_refused(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        body = raw((named("document"), b"d" * 10), (named("proof"), b"p" * 10), (named("request"), b"r"))
        for size in range(len(body) - 4):
            status, answer = await post(session, url + "/v1/verify", body[:size], kind)
            assert (status, check_fault(answer)) == (400, "encoding"), size

    serve(story, scenario)


def test_web_pages_and_other_hosts_are_refused(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        for headers, status, code in (
            ({"Origin": "https://evil.example"}, 403, "origin"),
            ({"Origin": "null"}, 403, "origin"),
            ({"Host": "evil.example"}, 421, "host"),
        ):
            answered, answer = await post(session, url + "/v1/verify", form_of(parts_of(story)), headers)
            assert (answered, check_fault(answer)) == (status, code)
        async with session.get(url + "/v1/verify") as response:
            assert response.status == 405 and check_fault(await response.json()) == "method"
        async with session.get(url + "/v1/nothing") as response:
            assert response.status == 404 and check_fault(await response.json()) == "unknown"
        async with session.get(url + "/v1/health?x=1") as response:
            assert response.status == 400

    serve(story, scenario)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", ""])
def test_it_listens_on_loopback_only(story: Story, host: str) -> None:
    async def main() -> None:
        service = RecipientService(story.trust)
        with pytest.raises(ConfigError, match="loopback"):
            await service.start(host, 0)
        await service.close()

    asyncio.run(main())


def test_a_large_document_is_hashed_as_it_comes_and_one_too_large_is_cut_off(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces_count = 64
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        yield f"--b\r\n{named('document')}\r\n\r\n".encode()
        for _ in range(pieces_count):
            taken += 1
            yield bytes(256 * 1024)
        yield b"\r\n" + raw((named("proof"), story.proof.encode()))

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        status, refusal = await post(session, url + "/v1/verify-anchor", pieces(), kind)
        assert (status, refusal["code"], taken) == (422, "document-altered", pieces_count)
        assert refusal["found"] == f"{pieces_count * 256 * 1024} bytes"

    serve(story, scenario)
    small = replace(service._ANCHOR_PARTS["document"], size_max=1024)
    monkeypatch.setattr(service, "_ANCHOR_PARTS", {**service._ANCHOR_PARTS, "document": small})

    async def bounded(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        for size, status in ((1024, 422), (1025, 413)):
            content = form_of(parts_of(story, request=None, document=bytes(size)))
            answered, _ = await post(session, url + "/v1/verify-anchor", content)
            assert answered == status

    serve(story, bounded)


def test_a_silent_client_is_refused(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "STALL_S", 0.3)

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        async def silent() -> AsyncIterator[bytes]:
            yield f"--b\r\n{named('document')}\r\n\r\n".encode()
            await asyncio.Event().wait()

        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        status, answer = await post(session, url + "/v1/verify", silent(), kind)
        assert (status, check_fault(answer)) == (408, "timeout")
        assert (await post(session, url + "/v1/verify", form_of(parts_of(story))))[0] == 200

    serve(story, scenario)


def test_a_client_that_goes_away_within_its_form_is_no_failure_of_ours(
    story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(_session: aiohttp.ClientSession, url: str, service: RecipientService) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = b"POST /v1/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
        start = f"--b\r\n{named('document')}\r\n\r\n".encode()
        writer.write(head + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + start)
        async with asyncio.timeout(10):
            while service.forms_count < 1:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while service.forms_count > 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    serve(story, scenario)
    assert "failure" not in caplog.text and "Traceback" not in caplog.text


def test_the_description_names_exactly_the_routes_and_their_parts(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, service: RecipientService) -> None:
        async with session.get(url + "/v1/openapi.json") as response:
            description = await response.json()
        assert description["openapi"] == "3.1.0"
        listed = {(route.method.lower(), route.path) for route in service.routes}
        assert listed == {(method, path) for path, each in description["paths"].items() for method in each}
        body = description["paths"]["/v1/verify"]["post"]["requestBody"]["content"]["multipart/form-data"]
        assert body["schema"]["required"] == []
        assert body["schema"]["oneOf"] == [{"required": ["document", "proof"]}, {"required": ["pair"]}]
        status, verdict = await post(session, url + "/v1/verify", form_of(parts_of(story)))
        schemas = description["components"]["schemas"]
        assert status == 200 and set(verdict) == set(schemas["Verdict"]["properties"])
        for axis in ("integrity", "issuer", "anchored", "status", "consent", "presented", "trust"):
            assert set(verdict[axis]) == set(schemas["Verdict"]["properties"][axis]["properties"])
        _, refusal = await post(session, url + "/v1/verify", form_of(parts_of(story, document=b"")))
        assert set(refusal) == set(schemas["Refusal"]["properties"])
        async with session.get(url + "/v1/health") as response:
            assert await response.json() == {"status": "up"}

    serve(story, scenario)


def test_a_reloaded_root_is_used_and_a_bad_one_changes_nothing(story: Story) -> None:
    async def scenario(session: aiohttp.ClientSession, url: str, service: RecipientService) -> None:
        def unreadable() -> TrustedRoot:
            raise FileNotFoundError(2, "No such file", "trust.json")

        def of_another_chain() -> TrustedRoot:
            return TrustedRoot(1, make_genesis(make_content()), ())

        for load in (unreadable, of_another_chain):
            assert service.reload(load) is False
            assert (await post(session, url + "/v1/verify", form_of(parts_of(story))))[0] == 200
        assert service.reload(lambda: story.trust) is True
        async with session.get(url + "/v1/trust") as response:
            assert (await response.json())["chain_id"] == story.trust.chain_id.hex()

    serve(story, scenario)


def test_an_older_root_or_one_that_contradicts_the_one_in_use_changes_nothing(story: Story) -> None:
    shown = honest_from_checkpoint()
    bare = replace(shown.trust, checkpoints=())
    (pin,) = shown.trust.checkpoints
    earlier = replace(shown.trust, checkpoints=(shown.chain.checkpoint(MIDDLE),))
    forked = replace(shown.trust, checkpoints=(replace(pin, block_hash=bytes(32)),))
    inverted = replace(shown.trust, checkpoints=(replace(pin, valid_until_ms=pin.valid_from_ms - 1),))
    both = replace(shown.trust, checkpoints=(*earlier.checkpoints, pin))

    async def newest_pin(service: RecipientService) -> int:
        port = await service.start("127.0.0.1", 0)
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/v1/trust") as response,
            ):
                height: int = (await response.json())["newest_pin"]["height"]
                return height
        finally:
            await service.close()

    async def main() -> None:
        service = RecipientService(shown.trust, clock=FixedClock(NOW_MS))
        for root in (bare, earlier, forked, inverted):
            assert service.reload(lambda root=root: root) is False  # type: ignore[misc]
        assert service.reload(lambda: both) is True
        assert service.reload(lambda: shown.trust) is False, "a pin was taken back without a newer one"
        newer = replace(both, checkpoints=(*both.checkpoints, shown.chain.checkpoint(TIP)))
        assert service.reload(lambda: newer) is True
        assert service.reload(lambda: both) is False
        assert await newest_pin(service) == TIP

    asyncio.run(main())


def test_the_command_serves_until_it_is_told_to_stop_and_reads_its_root_on_a_hangup(
    story: Story, tmp_path: Path
) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(trusted_root_to_json(story.trust)))
    command = [sys.executable, "-m", "cli.main", "verify", "serve", "--trust", str(trust), "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("verifying at http://127.0.0.1:")
        os.kill(process.pid, signal.SIGHUP)
        assert "recipient.trust_loaded" in process.stderr.readline()
        trust.write_text("{}")
        os.kill(process.pid, signal.SIGHUP)
        assert "recipient.trust_refused" in process.stderr.readline()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_request_of_another_bank_is_refused_by_the_service_too(story: Story) -> None:
    other = make_request(story.world, story.trust, recipient="hk-operator", flags=0)
    thief = story.present(story.request, holder=private_key("thief"))

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        for changes, code in (
            ({"request": other.encode()}, "wrong-recipient"),
            ({"proof": thief.encode()}, "holder-signature"),
            ({"proof": b"noise"}, "proof-malformed"),
        ):
            status, refusal = await post(session, url + "/v1/verify", form_of(parts_of(story, **changes)))
            assert (status, refusal["code"]) == (422, code)

    serve(story, scenario)


def test_chosen_fields_have_a_route_of_their_own() -> None:
    from ledger.sdjwt import select
    from tests.ledger.test_disclosure import CHOSEN, NAMED, bound, made, shown_for

    text = bound(select(made(), CHOSEN))
    shown = shown_for(made().jwt)
    parts: dict[str, bytes] = {
        "shown": text.encode(),
        "proof": shown.proof_bytes,
        "request": shown.request.encode(),
    }

    async def main() -> None:
        service = RecipientService(shown.trust, clock=FixedClock(NOW_MS), fields_of=lambda _schema: NAMED)
        port = await service.start("127.0.0.1", 0)
        url = f"http://127.0.0.1:{port}/v1/verify-disclosure"
        try:
            async with aiohttp.ClientSession() as session:
                status, answer = await post(session, url, form_of({**parts, "at_ms": f"{NOW_MS}"}))
                assert (status, answer["verdict"]) == (200, "verified")
                assert answer["disclosed"]["shown"]["accounts[1].balance"] == 1250000
                assert "subject.identity_document" in answer["disclosed"]["withheld"]
                unbound = {**parts, "shown": text.rpartition("~")[0].encode() + b"~"}
                status, answer = await post(session, url, form_of({**unbound, "at_ms": f"{NOW_MS}"}))
                assert (status, answer["code"]) == (422, "disclosure-binding")
                for name in ("shown", "proof", "request"):
                    fewer = {other: part for other, part in parts.items() if other != name}
                    status, answer = await post(session, url, form_of(fewer))
                    assert (status, check_fault(answer)) == (400, "encoding")
                more = form_of({**parts, "document": b"x"})
                assert check_fault((await post(session, url, more))[1]) == "encoding"
        finally:
            await service.close()

    asyncio.run(main())


def test_the_command_refuses_other_addresses_and_shows_an_example(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = tmp_path / "trust.json"
    trust.write_text(json.dumps(trusted_root_to_json(story.trust)))
    for host in ("0.0.0.0", "localhost", "192.0.2.1"):
        assert run(["verify", "serve", "--trust", str(trust), "--host", host]) == USAGE
        assert "a loopback address" in capsys.readouterr().err
    assert run(["verify", "serve", "--trust", str(tmp_path / "nothing")]) == USAGE
    assert run(["verify", "serve", "--help"]) == FINE
    said = capsys.readouterr().out
    assert "Example:" in said and "--json" in said


def pair_of(*entries: tuple[str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return written.getvalue()


def test_document_and_proof_may_come_in_one_zip(story: Story) -> None:
    proof = story.proof.encode()
    both = pair_of(("a", story.document), ("b", proof))
    altered = pair_of(("b", proof), ("a", story.document + b"!"))

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        async def send(route: str, **changes: bytes | str | None) -> tuple[int, str]:
            parts = {"document": None, "proof": None, **changes}
            if route == "verify-anchor":
                parts["request"] = None
            status, answer = await post(session, f"{url}/v1/{route}", form_of(parts_of(story, **parts)))
            return status, answer.get("code") or answer.get("verdict") or check_fault(answer)

        assert await send("verify", pair=both) == (200, "verified")
        assert await send("verify-anchor", pair=both) == (200, "anchor-verified")
        assert await send("verify", pair=altered) == (422, "document-altered")
        assert await send("verify-anchor", pair=both + b"x") == (422, "pair-malformed")
        office = pair_of(("[Content_Types].xml", b"<a/>"), ("_rels", b"<a/>"), ("word.xml", b"<a/>"))
        assert await send("verify", pair=office) == (422, "pair-malformed")
        # Under the name of a document it is one, whatever it holds.
        assert await send("verify", document=both, proof=proof) == (422, "document-altered")
        assert await send("verify", document=office, proof=proof) == (422, "document-altered")
        for parts in (
            {"pair": both, "proof": proof},
            {"pair": both, "document": story.document},
            {"document": both},
            {"proof": proof},
            {},
        ):
            assert await send("verify", **parts) == (400, "encoding")

    serve(story, scenario)


def test_an_answer_to_a_bundle_says_which_document_is_inside(story: Story) -> None:
    proof = story.proof.encode()
    both = pair_of(("report.pdf", story.document), ("b", proof))
    altered = pair_of(("b", proof), ("report.pdf", story.document + b"!"))

    async def scenario(session: aiohttp.ClientSession, url: str, _service: RecipientService) -> None:
        for route, request in (("verify", story.request.encode()), ("verify-anchor", None)):
            for content, document, expected in (
                (both, story.document, 200),
                (altered, story.document + b"!", 422),
            ):
                parts = parts_of(story, document=None, proof=None, pair=content, request=request)
                status, answer = await post(session, f"{url}/v1/{route}", form_of(parts))
                assert (status, answer["inside"]) == (
                    expected,
                    {
                        "name": "report.pdf",
                        "size": len(document),
                        "sha256": hashlib.sha256(document).hexdigest(),
                    },
                )
            status, answer = await post(
                session, f"{url}/v1/{route}", form_of(parts_of(story, request=request))
            )
            assert (status, "inside" in answer) == (200, False)

    serve(story, scenario)


def test_a_pair_is_held_only_up_to_its_limit(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    both = pair_of(("a", story.document), ("b", story.proof.encode()))
    parts = parts_of(story, document=None, proof=None, pair=both)

    async def answer(size_max: int) -> int:
        small = replace(service._ANCHOR_PARTS["pair"], size_max=size_max)
        monkeypatch.setattr(service, "_PARTS", {**service._PARTS, "pair": small})
        served = RecipientService(story.trust, clock=FixedClock(story.now_ms))
        port = await served.start("127.0.0.1", 0)
        try:
            async with aiohttp.ClientSession() as session:
                return (await post(session, f"http://127.0.0.1:{port}/v1/verify", form_of(parts)))[0]
        finally:
            await served.close()

    assert asyncio.run(answer(len(both))) == 200
    assert asyncio.run(answer(len(both) - 1)) == 413
