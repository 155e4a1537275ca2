"""One target under atheris: python -m tests.campaigns.fuzz.guided TARGET CORPUS [libFuzzer options]."""

import sys


def guided(name: str, arguments: list[str]) -> None:
    """Fuzz a target until libFuzzer ends the process."""
    import atheris

    # Our modules, and what decodes for them in Python, are instrumented when they are first loaded.
    with atheris.instrument_imports(include=["ledger", "node"]):
        from tests.campaigns.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    guided(sys.argv[1], sys.argv[2:])
