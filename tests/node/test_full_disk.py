"""Started again, or repaired, while the disk is still full: it is called full, and nothing is moved."""

import asyncio
import sys
from pathlib import Path

import pytest

from cli.exits import USAGE
from node.api.server import Api
from node.files.keyfiles import DevelopmentKey
from node.home.home import Home
from node.run import NodeProcess, load_parts
from tests.support.mounting import find_mounter, run_mounted
from tests.support.running_network import make_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_mounter() is None, reason="no namespace to mount in"),
]

LUOHU = (sys.executable, "-m", "cli.main")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that ran."""
    home = make_network(tmp_path / "network").homes["sz-operator"]

    async def live() -> None:
        process = NodeProcess(load_parts(home, DevelopmentKey()), Api)
        await process.start()
        await process.stop()

    asyncio.run(live())
    return home


def full(home: Home) -> str:
    """Mount a small disk over the home's data, with what was there, and fill it."""
    data = home.data
    return f"""
        cp -a {data} {data}.kept
        mount -t tmpfs -o size=2m tmpfs {data}
        cp -a {data}.kept/. {data}/
        dd if=/dev/zero of={data}/filler bs=4k 2>/dev/null || true
    """


@pytest.mark.parametrize("command", ["start", "repair"])
def test_a_full_disk_is_called_full_and_nothing_is_moved(home: Home, command: str) -> None:
    script = full(home) + f'\n"$@" || code=$?\nls {home.data}\nexit $code\n'
    done = run_mounted(script, (*LUOHU, "node", command, "--home", home.path))
    assert done.returncode == USAGE, done.stderr
    assert "No space left on device" in done.stderr
    assert "Make room" in done.stderr
    advice = done.stderr.replace("nothing needs repair", "")
    assert "repair" not in advice.partition("cure:")[2]
    assert "permission" not in done.stderr
    names = done.stdout.split()
    assert "chain" in names and not [name for name in names if "damaged" in name or "examined" in name]
