"""A headless Chromium, driven over the DevTools protocol on loopback."""

import asyncio
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
MESSAGE_SIZE_MAX = 64 * 1024 * 1024
START_SECONDS_MAX = 60
LOADED = "Page.loadEventFired"


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One browser with one page."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        session: aiohttp.ClientSession,
        socket: Any,  # noqa: ANN401
    ) -> None:
        self._process, self._session, self._socket = process, session, socket
        self._numbers = itertools.count(1)
        self._target = self._page = ""
        self._events: set[str] = set()

    @classmethod
    async def start(cls, program: str, profile: Path) -> "Browser":
        """Start a browser with a fresh profile."""
        flags = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-dev-shm-usage",
        )
        quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
        process = await asyncio.create_subprocess_exec(
            program,
            *flags,
            *quiet,
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            "--remote-debugging-address=127.0.0.1",
            "about:blank",
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        address = await asyncio.wait_for(cls._address(process), START_SECONDS_MAX)
        session = aiohttp.ClientSession()
        socket = await session.ws_connect(address, max_msg_size=MESSAGE_SIZE_MAX)
        return cls(process, session, socket)

    @staticmethod
    async def _address(process: asyncio.subprocess.Process) -> str:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            if found := re.search(rb"DevTools listening on (ws://\S+)", line):
                return found[1].decode()
        raise OSError("the browser did not start")

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401
        """Send a command to the page, or, before there is one, to the browser, and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._page:
            message["sessionId"] = self._page
        await self._socket.send_str(json.dumps(message))
        while (answer := await self._receive()).get("id") != number:
            self._events.add(answer.get("method", ""))
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await self._socket.receive()).data)
        return message

    async def open(self, address: str) -> None:
        """Open a page in the place of the one before, and wait until its scripts have run."""
        before, self._page = self._target, ""
        self._target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        if before:
            await self.send("Target.closeTarget", targetId=before)
        attached = await self.send("Target.attachToTarget", targetId=self._target, flatten=True)
        self._page = attached["sessionId"]
        await self.send("Page.enable")
        self._events.clear()
        await self.send("Page.navigate", url=address)
        while LOADED not in self._events:
            self._events.add((await self._receive()).get("method", ""))

    async def run(self, script: str) -> Any:  # noqa: ANN401
        """Evaluate an expression, await it, and return its value."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def choose_file(self, element: str, path: Path) -> None:
        """Choose a file in the file input with an id."""
        document = await self.send("DOM.getDocument")
        found = await self.send(
            "DOM.querySelector", nodeId=document["root"]["nodeId"], selector=f"#{element}"
        )
        await self.send("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path)])

    async def close(self) -> None:
        """End the browser."""
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        assert self._process.stderr is not None
        await self._process.stderr.read()
        await self._process.wait()
