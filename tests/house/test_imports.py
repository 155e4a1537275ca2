"""What the entrances of the house load: no engine behind the client, none behind the API."""

import subprocess
import sys

import pytest

from tests.support.sources import ROOT, imported, parsed, path_of

# Says what a module loads: a process of its own has loaded nothing else.
PROGRAM = "import sys, {modules}; print(*sys.modules)"
DATABASE = ("plyvel", "plyvel_next")
# Each entrance with something that is behind it, and with the rooms that are not.
ENTRANCES = {
    "node.client.client": ("node.errors", ("node.replica", "node.sync", "node.storage", *DATABASE)),
    "node.api.server": (
        "node.api.service",
        ("node.replica", "node.consensus", "node.sync", "node.storage", *DATABASE),
    ),
    # Families of errors are no reason to load anything (cli/exits.py).
    "cli.exits": ("node.errors", ("aiohttp", "click", "node.client", "node.files", *DATABASE)),
}


def loaded_by(*modules: str) -> set[str]:
    command = [sys.executable, "-c", PROGRAM.format(modules=", ".join(modules))]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def within(loaded: set[str], rooms: tuple[str, ...]) -> set[str]:
    return {name for name in loaded for room in rooms if name == room or name.startswith(f"{room}.")}


@pytest.mark.parametrize("module", list(ENTRANCES))
def test_an_entrance_opens_into_its_own_rooms_alone(module: str) -> None:
    behind, never = ENTRANCES[module]
    loaded = loaded_by(module)
    assert behind in loaded
    assert within(loaded, never) == set()


def test_verify_serve_needs_no_database() -> None:
    # What its functions import is loaded when it starts.
    names = imported(parsed(path_of("cli.serve").read_text()))
    modules = [name for name in names if path_of(name).is_file()]
    loaded = loaded_by("cli.serve", *modules)
    assert "node.recipient.service" in loaded
    assert within(loaded, DATABASE) == set()


def test_the_search_for_a_room_would_notice() -> None:
    loaded = loaded_by("node.storage.leveldb")
    assert within(loaded, ("node.storage",)) >= {"node.storage", "node.storage.database"}
    assert within(loaded, DATABASE)
