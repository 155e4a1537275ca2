"""The image of a core: all of its state, and a core made of it goes on as the first one would."""

import enum
from collections.abc import Iterator
from unittest import mock

import pytest

from ledger.encoding.records import pack, unpack
from ledger.errors import EncodingError, LedgerError
from ledger.rules.certificates import NOTARIZE, Subject
from node.consensus import effects, voter
from node.consensus.core import Simplex
from node.consensus.effects import Effect
from node.consensus.events import Event
from node.consensus.image import LATCHES, PUNISHMENTS, CoreImage, RoundImage, make_core, take_image
from node.replica.engine import Engine
from tests.campaigns.simulation.whole import machine, world
from tests.campaigns.simulation.whole.schedule import plan

# What a core was given, and what it works out anew when it is asked.
NOT_DATA = {"sign", "verify", "_sign", "_verify", "_is_deadline_known", "_deadline_ms"}


def parts_of(value: object) -> Iterator[tuple[str, object]]:
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    for name in dict.fromkeys([*names, *getattr(value, "__dict__", ())]):
        yield name, getattr(value, name)


def find_differences(first: object, second: object, where: str, seen: set[int]) -> Iterator[str]:
    """Yield where two cores differ, part by part, whatever their parts are called."""
    if id(first) in seen:
        return
    if type(first) is not type(second):
        yield f"{where}: {type(first).__name__} and {type(second).__name__}"
    elif first is None or isinstance(first, int | str | bytes | set | frozenset | enum.Enum):
        if first != second:
            yield f"{where}: {first!r} and {second!r}"
    elif isinstance(first, dict):
        assert isinstance(second, dict)
        if list(first) != list(second):
            yield f"{where}: keys {list(first)} and {list(second)}"
            return
        for key in first:
            yield from find_differences(first[key], second[key], f"{where}[{key!r}]", seen)
    elif isinstance(first, list | tuple):
        assert isinstance(second, list | tuple)
        if len(first) != len(second):
            yield f"{where}: {len(first)} and {len(second)}"
            return
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from find_differences(one, other, f"{where}[{index}]", seen)
    else:
        seen.add(id(first))
        others = dict(parts_of(second))
        for name, part in parts_of(first):
            if name not in NOT_DATA:
                yield from find_differences(part, others[name], f"{where}.{name}", seen)


def again(core: Simplex) -> Simplex:
    """Return the core of this one's image, by way of its bytes."""
    image, rounds = take_image(core)
    read = unpack(CoreImage, pack(image))
    read_rounds = [unpack(RoundImage, pack(each)) for each in rounds]
    return make_core(read, read_rounds, sign=core.sign or (lambda _: b""), verify=core.verify)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 17])
def test_a_core_of_an_image_is_the_same_in_every_part_and_decides_the_same(seed: int) -> None:
    compared = 0
    differences: list[str] = []
    watch = machine._Watched._watch

    def compared_at(self: machine._Watched, engine: Engine) -> Engine:
        core = engine.core
        handle = core.handle

        def told(event: Event, now_ms: int) -> list[Effect]:
            nonlocal compared
            compared += 1
            if compared % 7:
                return handle(event, now_ms)
            other = again(core)
            differences.extend(find_differences(core, other, "core", set()))
            done = handle(event, now_ms)
            # The signer has a guard that counts what it signed, and signs the same again.
            if other.handle(event, now_ms) != done:
                differences.append(f"{event} is decided otherwise")
            differences.extend(find_differences(core, other, "core", set()))
            return done

        core.handle = told  # type: ignore[method-assign]
        NOT_DATA.add("handle")
        return watch(self, engine)

    with mock.patch.object(machine._Watched, "_watch", compared_at):
        world.run(plan(seed, validators_count=4))
    assert differences[:5] == []
    assert compared > 5_000


def test_the_search_for_differences_sees_each_part() -> None:
    core = again(make_observer())
    assert list(find_differences(core, again(core), "core", set())) == []
    other = again(core)
    other._rounds.at(1).latch(voter.NO_BLOCK)
    other._pacemaker._has_work = True
    found = "\n".join(find_differences(core, other, "core", set()))
    assert "_rounds" in found and "_has_work" in found


def make_observer() -> Simplex:
    from node.consensus.config import Config
    from node.consensus.rounds import FinalizedTip
    from tests.campaigns.simulation.core.signatures import make_validators

    return Simplex(
        Config(), make_validators(4), None, 0, (), FinalizedTip(0, bytes(32), None), None, lambda _: True
    )


def test_every_reason_has_a_place() -> None:
    named = {
        value
        for module in (effects, voter)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    of_other_tables = {"valid", "invalid", "notarize", "nullify", "finalize"}
    assert named - of_other_tables == {*PUNISHMENTS, *LATCHES}


def test_an_image_is_taken_between_two_events_only() -> None:
    core = make_observer()
    core._emission.trace("consensus.view", view=1)
    with pytest.raises(EncodingError, match="within an event"):
        take_image(core)


def test_an_image_of_rounds_that_repeat_is_refused() -> None:
    core = make_observer()
    core._rounds.at(1).proposal = Subject(NOTARIZE, 0, 1, 0, bytes(32))
    image, (found,) = take_image(core)
    for rounds in ((), (found, found)):
        counted = CoreImage(**{**_fields(image), "rounds_count": len(rounds) or 1})  # type: ignore[arg-type]
        with pytest.raises(LedgerError, match="views, each once"):
            make_core(counted, rounds, sign=lambda _: b"", verify=lambda _: True)


def _fields(image: CoreImage) -> dict[str, object]:
    return {name: getattr(image, name) for name in CoreImage.__slots__}
