"""Questions about worlds drawn anew: all is genuinely signed and rooted, and each fact stands at or beside an edge."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ledger.rules.state import Consent, Ended, Revoked, Suspension
from ledger.trust import TrustedRoot, trusted_root_to_json
from ledger.verifier import MAX_AGE_MS, SuspendedIssuer
from tests.attacks.forge import (
    CONSENT_KEY,
    HOLDER,
    ISSUER,
    NOW_MS,
    OTHER_BANK,
    OTHER_CONSENT_KEY,
    PINNED,
    RECORDED,
    TIP,
    Scene,
    Shown,
    make_consent,
    make_scene,
    show,
)
from tests.campaigns.witness.questions import Question
from tests.support.asking import request_with
from tests.support.consortium import (
    DAY_MS,
    LOAN,
    MAINLAND_REPORT,
    MINUTE_MS,
    NOTICE,
    REPORT,
    START_MS,
    hash_of,
)

KINDS: Final = (MAINLAND_REPORT, REPORT, NOTICE)
PURPOSES: Final = (LOAN, "account-opening")
SOURCES: Final = (("CN",), ("HK",), ("CN", "HK"))
OTHER_NONCE: Final = b"request nonce 02"


def scene(chance: random.Random) -> Question:
    """Return a question about a world of its own."""
    drawn = _scene(chance)
    height, is_pinned = chance.randint(RECORDED, TIP), chance.random() < 0.4
    is_below = is_pinned and height < PINNED
    from_epoch = 2 if is_below else chance.choice((0, 2)) if is_pinned else 0
    agreed = _asked(chance) if chance.random() < 0.5 else {}
    shown = show(drawn, height, from_epoch=from_epoch, pinned=is_pinned, agreed=agreed)
    if chance.random() < 0.3:
        shown = _asked_anew(chance, shown)
    if chance.random() < 0.7:
        shown = _presented(chance, shown, drawn.consent)
    if chance.random() < 0.1:
        shown = _led(chance, shown, height)
    return Question(
        trust=json.dumps(trusted_root_to_json(_windowed(chance, shown.trust))).encode(),
        document=shown.document,
        proof=shown.proof_bytes,
        request=None if chance.random() < 0.1 else shown.request.encode(),
        time_ms=chance.choice((NOW_MS, NOW_MS, NOW_MS, _time(chance), _beside(chance, height))),
        is_present=chance.random() < 0.5,
        max_age_ms=chance.choice((MAX_AGE_MS, MAX_AGE_MS, 8 * MINUTE_MS, 7 * MINUTE_MS, 0)),
        suspended_issuer=chance.choice(list(SuspendedIssuer)).value,
    )


def _time(chance: random.Random) -> int:
    """Return a time of some block, or one of a day or thirty later, or a millisecond beside."""
    minutes, days = chance.choice((0, 1, 2, 3, 5, 7, 10)), chance.choice((0, 0, 0, 1, 30))
    return START_MS + minutes * MINUTE_MS + days * DAY_MS + chance.choice((-1, 0, 0, 1))


def _beside(chance: random.Random, height: int) -> int:
    """Return a time at or near the most that a clock may be behind a block."""
    behind_ms = chance.choice((0, 1, MINUTE_MS // 2, MINUTE_MS - 1, MINUTE_MS, MINUTE_MS + 1, 3 * MINUTE_MS))
    return START_MS + height * MINUTE_MS - behind_ms


def _some(chance: random.Random, share: float, **drawn: Callable[[], object]) -> dict[str, Any]:
    """Draw that share of the fields."""
    return {name: draw() for name, draw in drawn.items() if chance.random() < share}


def _kinds(chance: random.Random) -> tuple[str, ...]:
    return tuple(sorted(chance.sample(KINDS, chance.randint(1, len(KINDS)))))


def _scene(chance: random.Random) -> Scene:
    def time() -> int:
        return _time(chance)

    metadata = _some(
        chance,
        0.15,
        issued_ms=time,
        expires_ms=lambda: chance.choice((None, time())),
        holder_key=lambda: chance.choice((None, HOLDER.public, OTHER_CONSENT_KEY.public)),
        schema=lambda: chance.choice(KINDS),
    )
    anchor = _some(
        chance,
        0.12,
        time_ms=time,
        height=lambda: chance.randint(0, 5),
        expires_ms=lambda: chance.choice((None, time())),
        bearer=lambda: chance.randint(0, 1),
        leaf_count=lambda: chance.choice((1, 6, 7, 8)),
        schema=lambda: chance.choice(KINDS),
    )
    anchor |= _some(chance, 0.05, revoked=lambda: Revoked("error", RECORDED, time()))
    return make_scene(
        anchor=anchor,
        metadata=metadata,
        consent=_consent(chance),
        suspensions=_suspensions(chance),
        recipient_suspensions=_suspensions(chance),
        **_some(
            chance,
            0.06,
            recipient_roles=lambda: chance.choice((("issuer",), ("auditor", "recipient"), ("governor",))),
        ),
    )


def _consent(chance: random.Random) -> Consent:
    def time() -> int:
        return _time(chance)

    consent = make_consent(
        granted=chance.random() < 0.96,
        used=chance.choice((0, 0, 0, 0, 0, 0, 1, 2, 3)),
        **_some(
            chance,
            0.1,
            ended=lambda: Ended(chance.choice(("holder", "recipient")), chance.randint(0, 3), time()),
        ),
        **_some(
            chance,
            0.08,
            from_ms=time,
            until_ms=time,
            uses=lambda: chance.randint(1, 3),
            recipient=lambda: OTHER_BANK,
            purpose=lambda: chance.choice(PURPOSES),
            sources=lambda: chance.choice(SOURCES),
            flags=lambda: chance.randint(0, 7),
            notice_version=lambda: hash_of("another notice"),
            terms_commitment=lambda: hash_of("other terms"),
        ),
    )
    if consent.granted is None:
        return consent
    recorded = _some(chance, 0.1, time_ms=time, height=lambda: chance.randint(0, 4))
    return replace(consent, granted=replace(consent.granted, **recorded))


def _suspensions(chance: random.Random) -> tuple[Suspension, ...]:
    if chance.random() < 0.7:
        return ()
    drawn = []
    for _ in range(chance.randint(1, 3)):
        distrust_from, suspended_at = chance.randint(0, 4), chance.randint(0, 5)
        reinstated_at = chance.choice((None, suspended_at, suspended_at + 1, suspended_at + 2))
        drawn.append(Suspension(distrust_from, suspended_at, reinstated_at))
    return tuple(drawn)


def _asked_anew(chance: random.Random, shown: Shown) -> Shown:
    """Let the bank ask for something else than what was agreed to."""
    beside = _some(
        chance,
        0.2,
        chain_id=lambda: hash_of("another chain"),
        nonce=lambda: OTHER_NONCE,
        recipient=lambda: OTHER_BANK,
        schemas=lambda: _kinds(chance),
        until_ms=lambda: _time(chance),
        uses=lambda: chance.randint(1, 3),
    )
    return replace(shown, request=request_with(body=shown.request.decoded(), **{**_asked(chance), **beside}))


def _asked(chance: random.Random) -> dict[str, Any]:
    """Return what the bank asks for that is not as in the story."""
    return _some(
        chance,
        0.06,
        answer_by_ms=lambda: _time(chance),
        issuers=lambda: chance.choice(((), ("mainland-bureau",), (ISSUER, "mainland-bureau"))),
        bound=lambda: chance.randint(0, 1),
        needed=lambda: chance.randint(0, 1),
        count=lambda: chance.choice((1, 1, 2)),
        sources=lambda: chance.choice(SOURCES),
        purpose=lambda: chance.choice(PURPOSES),
        category_mask=lambda: chance.randint(0, 3),
        flags=lambda: chance.randint(0, 7),
        notice_version=lambda: hash_of("another notice"),
    )


def _presented(chance: random.Random, shown: Shown, consent: Consent) -> Shown:
    """Let the holder have presented it for what was asked, or someone else, or for something else."""
    held = shown.proof.opening.decoded_metadata().holder_key is not None
    signed = _some(
        chance,
        0.05,
        recipient=lambda: OTHER_BANK,
        request_id=lambda: hash_of("another request"),
        size=lambda: 2,
        item=lambda: 1,
        chain_id=lambda: hash_of("another chain"),
        commitment=lambda: hash_of("another document"),
    )
    return shown.present(
        holder=chance.choice((*(HOLDER,) * 8, None, OTHER_CONSENT_KEY)) if held else None,
        consent=chance.choice((*(CONSENT_KEY,) * 9, OTHER_CONSENT_KEY)),
        consent_id=consent.consent_id,
        **signed,
    )


def _led(chance: random.Random, shown: Shown, height: int) -> Shown:
    """Let the path be another one."""
    spans = ((0, 0), (0, 1), (0, 2), (1, 2))
    older = min(height, TIP - 1)
    return shown.path_with(
        **_some(
            chance,
            0.5,
            from_epoch=lambda: chance.randint(0, 3),
            handovers=lambda: shown.chain.handovers(*chance.choice(spans)),
            history=lambda: chance.choice((None, shown.chain.history(older, TIP))),
        )
    )


def _windowed(chance: random.Random, trust: TrustedRoot) -> TrustedRoot:
    """Let a checkpoint have another window."""
    checkpoints = []
    for each in trust.checkpoints:
        window = [_time(chance), _time(chance)]
        if chance.random() < 0.9:
            window.sort()
        is_other = chance.random() < 0.3
        checkpoints.append(
            replace(each, valid_from_ms=window[0], valid_until_ms=window[1]) if is_other else each
        )
    return replace(trust, checkpoints=tuple(checkpoints))
