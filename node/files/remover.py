"""A process that removes a folder once the one that works in it has ended (node/files/folders.py, rule 4).

    python -m node.files.remover PATH

Rule 1: it waits for the end of its lifeline, which is its standard input; a byte there lets the folder stay.
Rule 2: whoever is told to end in the same breath, by the terminal or by the system, does not take it along.
Rule 3: others who work in the folder end with the same process, and take a moment. It tries for REMOVING_S.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

from node.files.folders import remove_folder

REMOVING_S: Final = 30.0
POLL_S: Final = 0.05


def main() -> None:
    """Wait, and remove the folder that the first argument names."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    path = Path(sys.argv[1])
    if sys.stdin.buffer.read(1):
        return
    deadline = time.monotonic() + REMOVING_S
    remove_folder(path)
    # What is removed as a whole is gone for good: nobody makes a file in a folder that is not there.
    while os.path.lexists(path) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        remove_folder(path)


if __name__ == "__main__":
    main()
