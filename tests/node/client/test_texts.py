"""Texts from nodes: what comes is what its hash says, and no liar's bundle is ever used."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from node.client.nodes import Nodes
from node.client.texts import TEXTS_DIFFER, fetch_texts, fetch_texts_of_notice
from node.consent.textbundle import TEXTS_SIZE_MAX, PackedTexts
from node.consent.textfolder import HeldTexts, sample_texts
from node.errors import BadAnswer, ClientError, RefusedByNode, Unreachable
from tests.support.memory_node import MemoryNode, serve
from tests.support.texts import with_party

SAMPLES = sample_texts()
OTHERS = with_party(SAMPLES, "hk-bank", contact="pay here")
VERSION = SAMPLES.bundle.notices[0].version
NOWHERE = "http://127.0.0.1:1"


class Liar(HeldTexts):
    """Sends one bundle, or whatever bytes it has, for every hash."""

    def __init__(self, sent: PackedTexts | bytes) -> None:
        super().__init__()
        self._sent = sent if isinstance(sent, PackedTexts) else PackedTexts(SAMPLES.bundle, sent, bytes(32))

    def find(self, wanted: bytes) -> PackedTexts | None:
        return self._sent


def fetch(
    question: Callable[[Nodes, bytes], Awaitable[PackedTexts]],
    wanted: bytes,
    served: Sequence[HeldTexts | str],
) -> PackedTexts:
    async def whole() -> PackedTexts:
        async with AsyncExitStack() as stack:
            urls = [
                each
                if isinstance(each, str)
                else await stack.enter_async_context(serve(MemoryNode(texts=each)))
                for each in served
            ]
            return await question(await stack.enter_async_context(Nodes.connect(urls)), wanted)

    return asyncio.run(asyncio.wait_for(whole(), 60))


HONEST = HeldTexts([SAMPLES])
LIES: dict[str, PackedTexts | bytes] = {
    "another bundle": OTHERS,
    "a cut one": SAMPLES.encoded[:-1],
    "a longer one": SAMPLES.encoded + b"\x00",
    "no bundle": b"<html>sign in</html>",
    "nothing": b"",
    "too much": SAMPLES.encoded + bytes(TEXTS_SIZE_MAX),
}


def test_a_bundle_is_fetched_by_its_hash_and_by_a_notice() -> None:
    both = HeldTexts([SAMPLES, OTHERS])
    assert fetch(fetch_texts, OTHERS.hash, [both]) == OTHERS
    assert fetch(fetch_texts_of_notice, VERSION, [both]) == SAMPLES


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_about_a_hash_is_refused_and_the_next_node_is_asked(lie: PackedTexts | bytes) -> None:
    with pytest.raises(ClientError):
        fetch(fetch_texts, SAMPLES.hash, [Liar(lie)])
    assert fetch(fetch_texts, SAMPLES.hash, [Liar(lie), NOWHERE, HeldTexts(), HONEST]) == SAMPLES


def test_another_bundle_for_a_hash_is_told_as_that_nodes_lie() -> None:
    with pytest.raises(Unreachable) as caught:
        fetch(fetch_texts, SAMPLES.hash, [Liar(OTHERS)])
    assert caught.value.code == "bad-texts"
    assert SAMPLES.hash.hex() in caught.value.expected and OTHERS.hash.hex() in caught.value.found
    assert "Do not believe this node" in caught.value.cure


@pytest.mark.parametrize("lie", [each for each in LIES.values() if each != OTHERS])
def test_a_lie_about_a_notice_counts_for_nothing_beside_an_honest_node(lie: PackedTexts | bytes) -> None:
    assert fetch(fetch_texts_of_notice, VERSION, [Liar(lie), HONEST]) == SAMPLES


def test_texts_without_the_notice_are_a_lie() -> None:
    with pytest.raises(BadAnswer, match="which lack it"):
        fetch(fetch_texts_of_notice, bytes(32), [Liar(SAMPLES)])


def test_where_nodes_send_different_texts_for_a_notice_none_is_taken() -> None:
    with pytest.raises(BadAnswer) as caught:
        fetch(fetch_texts_of_notice, VERSION, [HONEST, HeldTexts(), Liar(OTHERS), NOWHERE])
    assert caught.value.code == TEXTS_DIFFER and "--texts-hash" in caught.value.cure
    assert all(each.hash.hex() in caught.value.found for each in (SAMPLES, OTHERS))
    assert fetch(fetch_texts, SAMPLES.hash, [Liar(OTHERS), HONEST]) == SAMPLES, "its hash settles it"


def test_nobody_has_it_and_nobody_answers_are_two_things() -> None:
    for question in (fetch_texts, fetch_texts_of_notice):
        with pytest.raises(RefusedByNode, match="none here"):
            fetch(question, bytes(32), [HONEST])
        with pytest.raises(Unreachable):
            fetch(question, bytes(32), [NOWHERE])
