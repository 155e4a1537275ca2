"""Write present.json: questions about the present, with what a verifier must answer (docs/formats.md, Verification).

    python -m tests.vectors.make_present

Like proofs.json, but a case has `now_ms`, what the clock of the bank says, in place of `at_ms`.
"""

from pathlib import Path

from tests.attacks.present import PRESENT
from tests.vectors.make_proofs import Case, Writer, facts_of

PATH = Path(__file__).with_name("present.json")


def make() -> str:
    """Return the content of present.json."""
    writer = Writer()
    for asked in PRESENT:
        shown = asked.make()
        answer: Case
        if asked.refused is not None:
            step, code = asked.refused
            answer = {"refused": {"step": step, "code": code}}
        elif asked.is_anchor_only:
            answer = {"anchor_verdict": facts_of(shown.verify_anchor())}
        else:
            answer = {"verdict": facts_of(shown.verify())}
        writer.add(asked.name, shown, answer, is_base=asked.refused is None)
    return writer.text()


if __name__ == "__main__":
    PATH.write_text(make(), encoding="utf-8")
