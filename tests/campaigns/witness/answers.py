"""What the library and the page in web/ answer to a question.

An answer is a verdict, a refusal by its step and code, or the word for what cannot be used: trust or request.
"""

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.requests import Request
from ledger.trust import parse_trusted_root
from ledger.verdicts import VerificationError
from ledger.verifier import SuspendedIssuer, Verifier
from tests.campaigns.witness.questions import Question
from tests.support.browser import Browser
from tests.support.sources import ROOT
from tests.vectors.make_proofs import facts_of

PAGE: Final = ROOT / "web" / "verify.html"

_ANSWER = """
(async () => {
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const otherwise = (error, answer) => error instanceof luohu.Malformed ? answer : {crashed: `${error.stack}`};
  const answer = async (asked) => {
    let trust, request = null;
    try { trust = await luohu.openTrust(bytes(asked.trust)); } catch (error) { return otherwise(error, "trust"); }
    if (asked.request !== null)
      try { request = luohu.openRequest(bytes(asked.request)); } catch (error) { return otherwise(error, "request"); }
    try {
      return await luohu.verify({
        trust, document: new Blob([bytes(asked.document)]), proof: bytes(asked.proof), request,
        nowMs: asked.now_ms, atMs: asked.at_ms, maxAgeMs: asked.max_age_ms,
        acceptBeforeDistrust: asked.suspended_issuer !== "refuse",
      });
    } catch (error) {
      const {step, code} = error;
      return error instanceof luohu.Refused ? {step, code} : {crashed: `${error.stack}`};
    }
  };
  const answers = [];
  for (const asked of %s) answers.push(await answer(asked));
  return answers;
})()
"""


class Page:
    """The page in a browser, for callers without a loop of their own."""

    def __init__(self, runner: asyncio.Runner, browser: Browser, address: str) -> None:
        self._runner, self._browser, self._address = runner, browser, address

    def open_anew(self) -> None:
        """Open the page once more: nothing chosen, written or set is left."""
        self._runner.run(self._browser.open(self._address))

    def run(self, script: str) -> Any:  # noqa: ANN401
        """Evaluate an expression, await it, and return its value."""
        return self._runner.run(self._browser.run(script))

    def answer(self, questions: Sequence[Question]) -> list[Json]:
        """Return the page's answer to each question."""
        asked = [_to_json(question) for question in questions]
        answers: list[Json] = self.run(_ANSWER % json.dumps(asked))
        return answers

    def choose_file(self, element: str, path: Path) -> None:
        """Choose a file for an element of the form."""
        self._runner.run(self._browser.choose_file(element, path))

    def click(self, selector: str) -> None:
        """Click what a selector finds."""
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def text_of_verdict(self) -> str:
        """Return what the page says once it has verified."""
        waiting = "new Promise((done) => { const look = () => document.getElementById('run').disabled"
        self.run(f"{waiting} ? setTimeout(look, 10) : done(); look(); }})")
        return str(self.run("document.getElementById('verdict').innerText"))


@contextmanager
def open_page(program: str, profile: Path, *, page: Path = PAGE) -> Iterator[Page]:
    """Open the page in a browser with a fresh profile, and end that browser whatever comes."""
    with asyncio.Runner() as runner:
        browser = runner.run(Browser.start(program, profile))
        try:
            opened = Page(runner, browser, page.as_uri())
            opened.open_anew()
            yield opened
        finally:
            runner.run(browser.close())


def answer_of_library(question: Question) -> Json:
    """Return the library's answer to a question."""
    try:
        trust = parse_trusted_root(question.trust)
    except LedgerError:
        return "trust"
    verifier = Verifier(trust, suspended_issuer=SuspendedIssuer(question.suspended_issuer))
    document, proof, max_age_ms = question.document, question.proof, question.max_age_ms
    try:
        if question.request is None and question.is_present:
            return facts_of(
                verifier.verify_anchor(document, proof, now_ms=question.time_ms, max_age_ms=max_age_ms)
            )
        if question.request is None:
            return facts_of(
                verifier.verify_anchor_as_of(document, proof, at_ms=question.time_ms, max_age_ms=max_age_ms)
            )
        try:
            request = Request.decode(question.request)
            request.decoded()
        except LedgerError:
            return "request"
        if question.is_present:
            return facts_of(
                verifier.verify(
                    document, proof, request=request, now_ms=question.time_ms, max_age_ms=max_age_ms
                )
            )
        return facts_of(
            verifier.verify_as_of(
                document, proof, request=request, at_ms=question.time_ms, max_age_ms=max_age_ms
            )
        )
    except VerificationError as error:
        return {"step": error.step, "code": error.code}


def _to_json(question: Question) -> dict[str, Json]:
    def base64_of(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "trust": base64_of(question.trust),
        "document": base64_of(question.document),
        "proof": base64_of(question.proof),
        "request": None if question.request is None else base64_of(question.request),
        "now_ms": question.time_ms if question.is_present else None,
        "at_ms": None if question.is_present else question.time_ms,
        "max_age_ms": question.max_age_ms,
        "suspended_issuer": question.suspended_issuer,
    }
