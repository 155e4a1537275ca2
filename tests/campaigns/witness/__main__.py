"""Ask the library and the page in web/ the same random questions.

python -m tests.campaigns.witness [--questions N] [--first N]

Question k is the same in every run on the same code. Where the two differ, the question's number and both answers are
printed, and the exit status is 1.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.campaigns.witness.answers import open_page
from tests.campaigns.witness.comparing import compare
from tests.support.browser import find_browser

BATCH = 100


def main() -> int:
    """Ask; 0 where all answers agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    program = find_browser()
    if program is None:
        print("no Chromium here: install chromium to ask the page", file=sys.stderr)
        return 2
    answers: Counter[str] = Counter()
    differences = 0
    end = options.first + options.questions
    with tempfile.TemporaryDirectory() as profile, open_page(program, Path(profile)) as page:
        for first in range(options.first, end, BATCH):
            compared = compare(page, range(first, min(first + BATCH, end)))
            answers += compared.answers
            differences += len(compared.differences)
            for difference in compared.differences:
                print(difference, flush=True)
            if sys.stderr.isatty():
                print(f"\r{answers.total()} of {options.questions}", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print(file=sys.stderr)
    counted = " ".join(f"{name}={count}" for name, count in sorted(answers.items()))
    print(f"witness first={options.first} questions={answers.total()} differences={differences} {counted}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
