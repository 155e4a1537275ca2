"""All forgeries in one test, for the mutation run; one by one they stand in tests/attacks."""

import importlib
from pathlib import Path

import tests.attacks
from tests.attacks.forge import Forgery

FOLDER = Path(tests.attacks.__file__).parent


def test_every_forgery_is_refused_with_its_step_and_code() -> None:
    names = sorted(path.stem for path in FOLDER.glob("test_*.py"))
    assert len(names) >= 200
    for name in names:
        forgery = importlib.import_module(f"tests.attacks.{name}").FORGERY
        assert isinstance(forgery, Forgery)
        forgery.check()
