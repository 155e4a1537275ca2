"""Signatures of fetched blocks, checked by processes of their own: what they say, what they know, and how they end."""

import asyncio
import io
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import pack
from ledger.rules.operations import AnchorBatch
from ledger.rules.transactions import Transaction, TransactionBody, _Envelope
from node.sync import checkers
from node.sync.checker import SIZE_BYTES, Question, SenderKey, answer_all, verdicts
from node.sync.checkers import Checkers

KEY, OTHER = PrivateKey.from_seed(bytes(32)), PrivateKey.from_seed(b"\x01" * 32)
SENDER = "hk-bureau"
KEYS = {SENDER: KEY.public}
ANSWERS_NEVER = (sys.executable, "-c", "import sys; sys.stdin.buffer.read()")
ENDS_AT_ONCE = (sys.executable, "-c", "raise SystemExit(1)")


def signed(number: int, key: PrivateKey = KEY, sender: str = SENDER) -> bytes:
    anchor = AnchorBatch(number.to_bytes(32), 1, "hk.credit-report", None)
    return Transaction.sign(TransactionBody(bytes(32), sender, 1, (anchor,)), key).encoded


def spoilt(number: int) -> bytes:
    transaction = Transaction.decode(signed(number))
    return pack(_Envelope(transaction.body_bytes, bytes(64)))


MIXED = (signed(1), spoilt(2), signed(3, OTHER), signed(4, sender="unknown"), b"\x92", signed(5))
MIXED_VERDICTS = bytes([1, 0, 0, 0, 0, 1])


@dataclass
class Answers:
    """Waits for what the processes settle."""

    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for(self, asked: checkers._Asked | None) -> bytes | None:
        assert asked is not None
        while not asked.is_settled:
            self.came.clear()
            await self.came.wait()
        return asked.verdicts


def run(
    test: Callable[[Checkers, Answers], Awaitable[None]],
    command: tuple[str, ...] = checkers.COMMAND,
    *,
    idle_s: float = 30.0,
) -> None:
    async def live() -> None:
        answers = Answers()
        pool = Checkers(answers.came.set, command=command, processes_max=2, idle_s=idle_s)
        try:
            async with asyncio.timeout(60):
                await test(pool, answers)
        finally:
            await pool.close()
        assert pool.processes_count == 0
        assert pool.submit((signed(1),), KEYS) is None

    asyncio.run(live())


def test_the_naive_twin_and_the_process_say_the_same() -> None:
    question = Question((SenderKey(SENDER, KEY.public),), MIXED)
    assert verdicts(question) == MIXED_VERDICTS

    async def asks(pool: Checkers, answers: Answers) -> None:
        asked = [pool.submit(MIXED[:count], KEYS) for count in range(1, len(MIXED) + 1)]
        assert [await answers.wait_for(each) for each in asked] == [
            MIXED_VERDICTS[:count] for count in range(1, len(MIXED) + 1)
        ]
        assert 1 <= pool.processes_count <= 2

    run(asks)


def test_a_process_ends_when_its_input_does() -> None:
    encoded = pack(Question((), (signed(1),)))
    answers = io.BytesIO()
    answer_all(io.BytesIO(len(encoded).to_bytes(SIZE_BYTES) + encoded), answers)
    assert answers.getvalue() == b"\0"


@pytest.mark.parametrize("is_cut", [True, False], ids=["inside a question", "before an answer is read"])
def test_a_process_ends_without_a_word_when_the_node_was_killed(is_cut: bool) -> None:
    encoded = pack(Question((), (signed(1),)))
    question = len(encoded).to_bytes(SIZE_BYTES) + encoded
    process = subprocess.Popen(
        checkers.COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process.stderr:
        process.stdout.close()
        process.stdin.write(question[:-1] if is_cut else question)
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.wait() == (0 if is_cut else -signal.SIGPIPE)


def test_a_process_is_given_neither_the_environment_nor_open_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LUOHU_PASSPHRASE", "secret")
    shown = tmp_path / "shown"
    # Each process of the pool tells it, and the pool may end one that is still writing: told whole, or not at all.
    program = (
        "import os, sys\n"
        "told = sys.argv[1] + str(os.getpid())\n"
        "with open(told, 'w') as file: file.write(' '.join(sorted(os.environ)) + '|' + ' '.join("
        "sorted(os.readlink(f'/dev/fd/{each}') for each in os.listdir('/dev/fd')"
        " if os.path.exists(f'/dev/fd/{each}'))))\n"
        "os.replace(told, sys.argv[1])\n"
    )
    with (tmp_path / "open-file-of-the-node").open("w"):
        run(_asks_in_vain, (sys.executable, "-c", program, str(shown)))
    names, files = shown.read_text().split("|")
    assert "LUOHU_PASSPHRASE" not in names
    assert "PYTHONPATH" in names
    assert "open-file-of-the-node" not in files


async def _asks_in_vain(pool: Checkers, answers: Answers) -> None:
    first, second = pool.submit((signed(1),), KEYS), pool.submit((signed(2),), KEYS)
    assert await answers.wait_for(first) is None
    assert await answers.wait_for(second) is None
    assert pool.submit((signed(3),), KEYS) is None


def test_a_process_that_ended_is_noticed_and_nothing_more_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    run(_asks_in_vain, ENDS_AT_ONCE)
    assert caplog.text.count("checkers.ended") == 1


def test_a_program_that_is_not_there_is_noticed(tmp_path: Path) -> None:
    run(_asks_in_vain, (str(tmp_path / "nothing"),))


def test_who_does_not_answer_is_given_up() -> None:
    async def asks(pool: Checkers, answers: Answers) -> None:
        asked = [pool.submit((signed(number),), KEYS) for number in range(5)]
        await asyncio.sleep(0)
        pool.give_up()
        assert [await answers.wait_for(each) for each in asked] == [None] * 5
        assert pool.submit((signed(9),), KEYS) is None

    run(asks, ANSWERS_NEVER)


def test_a_pool_that_is_closed_with_questions_open_ends_its_processes() -> None:
    async def asks(pool: Checkers, _answers: Answers) -> None:
        for number in range(5):
            pool.submit((signed(number),), KEYS)
        await asyncio.sleep(0)

    run(asks, ANSWERS_NEVER)


def test_an_idle_process_ends_and_another_starts_when_it_is_needed() -> None:
    async def asks(pool: Checkers, answers: Answers) -> None:
        for number in range(2):
            assert await answers.wait_for(pool.submit((signed(number),), KEYS)) == b"\1"
            while pool.processes_count:
                await asyncio.sleep(0.01)

    run(asks, idle_s=0.0)


def test_a_pool_that_is_closed_while_an_idle_process_ends_waits_for_its_end() -> None:
    started: list[asyncio.subprocess.Process] = []

    async def asks(pool: Checkers, answers: Answers) -> None:
        start = pool._start

        async def note_start() -> asyncio.subprocess.Process:
            started.append(await start())
            return started[-1]

        pool._start = note_start  # type: ignore[method-assign]
        await answers.wait_for(pool.submit((signed(1),), KEYS))
        while not pool._ending:
            await asyncio.sleep(0)

    run(asks, idle_s=0.0)
    assert [process.returncode for process in started] == [-signal.SIGKILL]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkers, "QUESTIONS_MAX", 3)

    async def asks(pool: Checkers, answers: Answers) -> None:
        asked = [pool.submit((signed(number),), KEYS) for number in range(4)]
        assert [each is None for each in asked] == [False, False, False, True]
        for each in asked[:3]:
            await answers.wait_for(each)

    run(asks)


def test_keys_are_those_that_were_given() -> None:
    other: dict[str, PublicKey] = {SENDER: OTHER.public}

    async def asks(pool: Checkers, answers: Answers) -> None:
        assert await answers.wait_for(pool.submit((signed(1), signed(2, OTHER)), other)) == b"\0\1"

    run(asks)
