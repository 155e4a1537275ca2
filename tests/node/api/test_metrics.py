"""What `/metrics` says is what happened, is on the operators' page, and does not grow with what clients send."""

import asyncio
import platform
import re
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from node.api import metrics
from node.api.server import Api
from node.version import release
from tests.support.consortium import make_anchor, make_transaction
from tests.support.memory_node import MemoryNode, serve
from tests.support.sources import ROOT

Scenario = Callable[[MemoryNode, aiohttp.ClientSession, str], Awaitable[None]]
PAGE = ROOT / "docs" / "operators.md"
# What the library adds to a histogram's labels.
BUCKET = "le"


def run(scenario: Scenario) -> None:
    """Run a scenario against a served node that has one block."""

    async def whole() -> None:
        node = MemoryNode()
        node.extend(make_transaction("hk-bureau", make_anchor()))
        async with serve(node) as url, aiohttp.ClientSession() as session:
            await scenario(node, session, url)

    asyncio.run(asyncio.wait_for(whole(), 20))


async def read(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(f"{url}/metrics") as response:
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return await response.text()


def described(page: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return name, type and labels of each metric in the page's table."""
    table = page.partition("| name | type | labels | says |")[2].partition("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    return {
        name.strip(" `"): (kind.strip(), frozenset(re.findall(r"`(\w+)`", labels)))
        for _, name, kind, labels, *_ in rows
    }


def shown(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return name, type and labels of each metric in an answer."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found[name] = (family.type, frozenset(labels - {BUCKET}))
    return found


def value(node: MemoryNode, name: str, **labels: str) -> float | None:
    return node.registry.get_sample_value(name, labels)


def test_the_page_has_every_metric_with_its_type_and_labels_and_no_other() -> None:
    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        await read(session, url)
        found, said = shown(await read(session, url)), described(PAGE.read_text())
        if sys.platform != "linux":
            # Without /proc the library shows nothing of the process, as the page says.
            said = {name: each for name, each in said.items() if not name.startswith("process_")}
        assert said == found

    run(scenario)


def test_the_comparison_with_the_page_would_notice() -> None:
    page = "| name | type | labels | says |\n| --- | --- | --- | --- |\n| `a_total` | counter | `x`, `y` | z |\n\n"
    text = '# HELP a_total z\n# TYPE a_total counter\na_total{x="1",y="2"} 1.0\n'
    assert described(page) == shown(text) == {"a_total": ("counter", frozenset("xy"))}
    assert described(page) != shown(text.replace('y="2"', 'w="2"'))
    assert described(page) != shown(text.replace("counter", "gauge"))
    assert described(page + "| `b` | gauge | | not in the table |\n") == described(page)


def test_requests_are_counted_by_route_status_and_code() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        for path in ("/v1/status", "/v1/status", f"/v1/nothing/{'x' * 99}", "/v1/blocks/99"):
            await session.get(url + path)
        name = "luohu_requests_total"
        assert value(node, name, route="GET /v1/status", status="200", code="") == 2
        assert value(node, name, route="none", status="404", code="unknown") == 1
        assert value(node, name, route="GET /v1/blocks/{height}", status="404", code="unknown") == 1

    run(scenario)


def test_an_answer_is_timed_by_its_route() -> None:
    async def scenario(node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        # The node in memory takes a second of its clock for each block.
        encoded = make_transaction("hk-bureau", make_anchor(7)).encoded.hex()
        await session.post(f"{url}/v1/transactions", json={"transactions": [encoded], "wait_ms": 5_000})
        await session.get(f"{url}/v1/status")
        route = "POST /v1/transactions"
        assert value(node, "luohu_request_seconds_sum", route=route) == 1.0
        assert value(node, "luohu_request_seconds_bucket", route=route, le="0.5") == 0
        assert value(node, "luohu_request_seconds_bucket", route=route, le="2.0") == 1
        assert value(node, "luohu_request_seconds_sum", route="GET /v1/status") == 0
        assert value(node, "luohu_request_seconds_count", route="GET /v1/status") == 1

    run(scenario)


def test_a_stream_is_counted_and_not_timed() -> None:
    async def whole() -> MemoryNode:
        node = MemoryNode()
        async with aiohttp.ClientSession() as session:
            async with serve(node) as url:
                response = await session.get(f"{url}/v1/events")
                assert response.status == 200
            await response.read()
        return node

    node = asyncio.run(asyncio.wait_for(whole(), 20))
    route = "GET /v1/events"
    assert value(node, "luohu_requests_total", route=route, status="200", code="") == 1
    assert value(node, "luohu_request_seconds_count", route=route) is None


def test_nothing_that_a_client_sends_makes_a_new_series() -> None:
    async def ask_strangely(session: aiohttp.ClientSession, url: str, mark: str) -> None:
        for path in (f"/{mark}", f"/v1/members/{mark}", f"/v1/status?{mark}=1", f"/v1/blocks/{mark}"):
            for method in ("GET", "POST", mark.upper()):
                await session.request(method, url + path, headers={"Content-Type": mark, "User-Agent": mark})
        await session.post(f"{url}/v1/relay", json={"operations": [mark], "wait_ms": mark})

    def series(text: str) -> set[str]:
        """Return all series, but not their values."""
        return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}

    async def scenario(_node: MemoryNode, session: aiohttp.ClientSession, url: str) -> None:
        await read(session, url)
        for mark in ("strange", "s" * 900):
            await ask_strangely(session, url, mark)
        before = series(await read(session, url))
        for mark in ("other", "q" * 900, "x0y1z2"):
            await ask_strangely(session, url, mark)
        after = series(await read(session, url))
        assert len(before) > 100
        assert after == before
        assert not [line for line in after if "strange" in line or "s" * 900 in line]

    run(scenario)


def test_the_build_is_that_of_the_status() -> None:
    node = MemoryNode()
    Api(node)
    assert node.status().version == release()
    assert value(node, "luohu_build_info", version=release(), python=platform.python_version()) == 1


def test_where_the_node_stands_is_read_when_it_is_asked() -> None:
    node = MemoryNode()
    Api(node)
    assert (value(node, "luohu_height"), value(node, "luohu_ready")) == (0, 1)
    node.extend(make_transaction("hk-bureau", make_anchor()))
    node.waits_for = "the blocks that others have made final"
    assert (value(node, "luohu_height"), value(node, "luohu_ready")) == (1, 0)
    assert (value(node, "luohu_peers_connected"), value(node, "luohu_voting")) == (2, 1)


def test_each_node_has_a_registry_of_its_own() -> None:
    first, second = MemoryNode(), MemoryNode()
    apis = Api(first), Api(second)
    apis[0]._metrics.count(None, 404, "unknown", 0.0)
    labels = {"route": metrics.NO_ROUTE, "status": "404", "code": "unknown"}
    assert value(first, "luohu_requests_total", **labels) == 1
    assert value(second, "luohu_requests_total", **labels) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the library reads /proc")
def test_the_process_is_this_process() -> None:
    node = MemoryNode()
    Api(node)
    memory, cpu = value(node, "process_resident_memory_bytes"), value(node, "process_cpu_seconds_total")
    assert memory is not None and memory > 1_000_000
    assert cpu is not None and cpu > 0
