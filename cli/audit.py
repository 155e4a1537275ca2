"""`luohu audit`: replay the chain from genesis and report, for a regulator.

Rule 1: nothing that a node stores or says is believed: blocks are executed again, signatures checked again.
Rule 2: on a stopped home the stored state is compared record by record and page by page as well.
Rule 3: a finding means exit code 1. The home of a running node is refused: ask the node through `--url`.
Rule 4: a home is read and never written: a read-only mount, a copy, another user's. What the disk or the mount
refuses is no finding about the chain; the audit says that it could not read, with exit code 2.
Rule 5: a whole chain may be an old one. The report says up to which block it is whole, and whether this is known to be
far enough: `--at-least`, or the checkpoints of `--trust`.
"""

import stat
from collections.abc import Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.checking import checking_pool
from cli.exits import FINE, NO, UNREACHABLE, CommandError, require_posix, wrong_usage
from cli.files import FILE, read_genesis, read_trusted_root
from cli.output import Progress, fields, json_option, print_answer
from ledger.audit import ANCHORS, Audit, AuditReport, ConsentUse, Finding, ProposalCourse
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.rules.blocks import Block
from ledger.rules.certificates import QuorumCertificate
from ledger.trust import Checkpoint

if TYPE_CHECKING:
    from node.errors import StoreError
    from node.storage.examining import Examined
    from node.storage.logdamage import LogDamage
    from node.storage.store import Store, Walk

FINDINGS_SHOWN_MAX: Final = 1_000
HEIGHT_MAX: Final = 2**53 - 1
_STORAGE: Final = "storage"
_CURE: Final = (
    "what this home holds from here on proves nothing; audit another node's home or --url, and have the operator run "
    "luohu node repair on this one"
)
_VERSION_CURE: Final = (
    "Nothing is damaged. Audit it with the release that wrote it, or ask a running node: --url."
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the auditor knows before: the genesis, blocks that must be in the chain, and how far it must reach."""

    genesis: Genesis
    checkpoints: tuple[Checkpoint, ...]
    height_min: int | None

    def begin(self) -> Audit:
        """Return an audit from genesis."""
        return Audit(self.genesis, checkpoints=self.checkpoints, height_min=self.height_min)


@click.command("audit")
@click.option("--home", type=FILE, help="The home of a stopped node: its blocks and its stored state.")
@click.option("--url", help="A running node: its blocks, fetched and replayed here.")
@click.option("--genesis", "genesis_path", type=FILE, help="The genesis.json to start from.")
@click.option(
    "--trust",
    "trust_path",
    type=FILE,
    help="A trusted root: its genesis, and blocks that must be in the chain.",
)
@click.option(
    "--at-least",
    type=click.IntRange(0, HEIGHT_MAX),
    metavar="HEIGHT",
    help="A height that the chain must reach: what you know from elsewhere.",
)
@json_option
def audit(
    home: Path | None,
    url: str | None,
    genesis_path: Path | None,
    trust_path: Path | None,
    at_least: int | None,
    as_json: bool,
) -> int:
    """Replay the whole chain from genesis and report what happened, and whether anything is wrong.

    A home is only read, and no file of it changes. That a chain is whole does not say that it is the newest: name a
    height or a trusted root that it must reach.

    \b
    Example:
      luohu audit --home network/hk-bureau --genesis genesis.json --at-least 8120
      luohu audit --url http://127.0.0.1:7201 --trust trust.json
    """
    if (home is None) == (url is None):
        raise wrong_usage(
            "luohu audit",
            expected="either --home DIR of a stopped node or --url URL of a running one",
            found="both" if home is not None else "neither",
            cure="Name one of them.",
        )
    if home is not None:
        require_posix("luohu audit --home")
    known = _read_known(genesis_path, trust_path, at_least)
    if home is not None:
        report = _audit_home(home, known)
        source, compared = "home", "blocks, certificates, stored records and stored pages"
    else:
        from cli.fetching import audit_url

        assert url is not None, "one of the two is given"
        report = audit_url(url, known.begin())
        source, compared = "node", "blocks and certificates"
    _print_report(report, source=source, compared=compared, as_json=as_json)
    return FINE if report.is_clean else NO


def _read_known(genesis_path: Path | None, trust_path: Path | None, at_least: int | None) -> Known:
    root = None if trust_path is None else read_trusted_root(trust_path)
    genesis = None if genesis_path is None else read_genesis(genesis_path)
    if genesis is not None and root is not None and genesis.content.chain_id != root.chain_id:
        raise wrong_usage(
            "luohu audit",
            expected="a genesis and a trusted root of one chain",
            found=f"{genesis.content.chain_id.hex()[:16]} and {root.chain_id.hex()[:16]}",
            cure="Use files of one network only.",
            code="wrong-chain",
        )
    if root is not None:
        return Known(root.genesis, root.checkpoints, at_least)
    if genesis is None:
        raise wrong_usage(
            "luohu audit",
            expected="--genesis genesis.json, or --trust trust.json",
            found="neither",
            cure="Name what the chain is checked against.",
        )
    return Known(genesis, (), at_least)


def _audit_home(home: Path, known: Known) -> AuditReport:
    chain = home / "data" / "chain"
    if not _is_directory(chain):
        raise wrong_usage(
            str(home),
            expected="the home of a node that has run (with data/chain in it)",
            found="no stored chain",
            cure="Name the home of a node, or ask a running one with --url.",
            code="path",
        )
    from node.home.repair import NODE_LOCK
    from node.storage.examining import examined, kept_still

    with kept_still(home / "data" / NODE_LOCK, chain), examined(chain) as copy:
        return _audit_copy(copy, known)


def _is_directory(path: Path) -> bool:
    """Say whether a directory is there. Raises OSError where that cannot be found out."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _audit_copy(copy: "Examined", known: Known) -> AuditReport:
    from node.storage.store import Store, StoreDamaged, StoreOfAnotherVersion

    try:
        with closing(Store.open(copy.path, known.genesis)) as store:
            copy.stop_merging()
            report = _audit_store(store, known)
    except StoreOfAnotherVersion as error:
        raise wrong_usage(
            str(copy.original), expected=error.expected, found=error.found, cure=_VERSION_CURE, code="store"
        ) from error
    except StoreDamaged as error:
        report = _audit_remains(copy, known, error)
    report.findings[:] = [
        replace(each, expected=copy.in_original(each.expected), found=copy.in_original(each.found))
        for each in report.findings
    ]
    return report


def _audit_store(store: "Store", known: Known) -> AuditReport:
    from node.errors import StoreError, StoreRefused
    from node.storage.toppages import is_top_page

    replay, damage = known.begin(), list[Finding]()
    progress = Progress("replaying", store.tip().header.height)
    blocks = _readable(_held(store, damage), damage, progress)
    try:
        is_whole = _replay(replay, blocks)
        report = replay.finish() if not damage else replay.report
        report.findings += damage
        if is_whole and not damage:
            replay.check_state(store.values())
            replay.check_pages(store.pages(), is_top_page)
    except StoreRefused:
        raise
    except StoreError as error:
        # Damage that the checksums caught: what the disk holds is not what the node wrote.
        report = replay.report
        report.findings.append(_damage_at(replay.height, error))
    return report


def _audit_remains(copy: "Examined", known: Known, refusal: "StoreError") -> AuditReport:
    """Replay what is left of a store that does not open, up to the first block that is not there, and say why."""
    from node.storage.logdamage import find_log_damage
    from node.storage.store import StoreDamaged, remaining_blocks

    replay, damage = known.begin(), list[Finding]()
    damaged_log = find_log_damage(copy.path)
    try:
        with remaining_blocks(copy.path) as walk:
            copy.stop_merging()
            _replay(replay, _readable(walk, damage))
    except StoreDamaged as error:
        # Not even that opens: what an auditor came to find.
        damage.append(_damage_at(0, error))
    if damaged_log is not None:
        # What the log lost begins with the first block that is not there.
        damage = [_log_finding(replay.height + 1, copy, damaged_log)]
    # Where all blocks are there, what is damaged is the stored state, which is that of the last one.
    replay.report.findings += damage or [_damage_at(replay.height, refusal)]
    return replay.report


def _log_finding(height: int, copy: "Examined", damage: "LogDamage") -> Finding:
    record = f"{_STORAGE}, byte {damage.offset} of {copy.original / damage.file}"
    return Finding(height, record, damage.expected, damage.found, _CURE)


def _damage_at(height: int, error: "StoreError") -> Finding:
    return Finding(height, _STORAGE, error.expected, error.found, _CURE)


def _replay(replay: Audit, blocks: Iterator[tuple[Block, QuorumCertificate | None]]) -> bool:
    try:
        with checking_pool() as pool:
            return replay.replay_all(blocks, pool)
    except BrokenProcessPool as error:
        raise CommandError(
            exit_code=UNREACHABLE,
            where="replaying",
            expected="workers that finish",
            found="one that was killed",
            cure="Give the command again; where memory is short, end other programs first.",
            code="interrupted",
        ) from error


def _held(store: "Store", damage: list[Finding]) -> "Walk":
    """Yield the stored blocks, up to those that a snapshot stood in for."""
    first_missing, end_missing = store.gap()
    for each in store.walk():
        if first_missing <= each[0] < end_missing:
            damage.append(_gap_finding(first_missing, end_missing - 1))
            return
        yield each


def _readable(
    walk: "Walk", damage: list[Finding], progress: Progress | None = None
) -> Iterator[tuple[Block, QuorumCertificate | None]]:
    """Yield blocks, up to one that cannot be read: why, `damage` says once all before it are yielded."""
    from node.errors import StoreError, StoreRefused

    height = 0
    try:
        for height, block, certificate in walk:
            if progress is not None:
                progress.update(height)
            if block is None:
                damage.append(Finding(height, "block", "a stored block", "nothing", _CURE))
                return
            yield block, certificate
    except StoreRefused:
        raise
    except StoreError as error:
        damage.append(_damage_at(height + 1, error))
    except LedgerError as error:
        damage.append(Finding(height + 1, error.where, error.expected, error.found, _CURE))
    finally:
        if progress is not None:
            progress.finish()


def _gap_finding(first: int, last: int) -> Finding:
    cure = "this node was filled from a snapshot: audit the home of one that has all blocks, or ask its --url"
    expected = "every block from genesis on"
    return Finding(first, "block", expected, f"none from {first} to {last}", cure)


def _print_report(report: AuditReport, *, source: str, compared: str, as_json: bool) -> None:
    findings: list[Json] = [
        {"height": f.height, "record": f.record, "expected": f.expected, "found": f.found, "cure": f.cure}
        for f in report.findings
    ]
    consents: list[Json] = [
        {"consent_id": consent_id.hex(), **_consent_json(use)} for consent_id, use in report.consents.items()
    ]
    value: dict[str, Json] = {
        "verdict": "clean" if report.is_clean else "findings",
        "chain_id": report.chain_id.hex(),
        "network": report.network,
        "height": report.height,
        "final_height": report.final_height,
        "required_height": report.required_height,
        "compared": compared,
        "transactions_count": report.transactions_count,
        "operations": dict(report.operations),
        "anchors": dict(report.deeds[ANCHORS]),
        "documents": dict(report.documents),
        **{deed.name: dict(counted) for deed, counted in report.deeds.items() if deed != ANCHORS},
        "consents": consents,
        "proposals": [_proposal_json(*each) for each in report.proposals.items()],
        "misbehaviour": [
            {"member": m.member, "epoch": m.epoch, "view": m.view, "height": m.height}
            for m in report.misbehaviour
        ],
        "findings": findings,
    }
    print_answer(as_json=as_json, value=value, lines=_report_lines(report, source, compared))


def _consent_json(use: ConsentUse) -> dict[str, Json]:
    return {
        "sources": [*use.sources],
        "recipient": use.recipient,
        "purpose": use.purpose,
        "granted_height": use.granted_height,
        "ended_height": use.ended_height,
        "verification_heights": list(use.verification_heights),
    }


def _proposal_json(identity: bytes, course: ProposalCourse) -> dict[str, Json]:
    return {
        "id": identity.hex(),
        "change": course.change,
        "proposer": course.proposer,
        "proposed_height": course.proposed_height,
        "votes_count": course.votes_count,
        "status": course.status,
        "decided_height": course.decided_height,
    }


def _report_lines(report: AuditReport, source: str, compared: str) -> list[str]:
    verdict = "CLEAN: nothing is wrong" if report.is_clean else f"FINDINGS: {len(report.findings)}"
    reach = _reach_words(report, source)
    lines = [
        f"{verdict}. Replayed from genesis; {reach}.",
        *fields(
            [
                ("network", report.network),
                ("chain id", report.chain_id.hex()),
                ("compared", compared),
                ("final", f"block {report.final_height} under a quorum of validators"),
                ("transactions", f"{report.transactions_count}"),
            ]
        ),
    ]
    lines += [f"  ! {finding}" for finding in report.findings[:FINDINGS_SHOWN_MAX]]
    if len(report.findings) > FINDINGS_SHOWN_MAX:
        lines.append(f"  ! and {len(report.findings) - FINDINGS_SHOWN_MAX} more; --json lists all")
    lines += ["", "Who did what"]
    members = sorted(set().union(*report.deeds.values()))
    lines += fields([(_shown(member, report.member_names), _deeds(report, member)) for member in members])
    lines += ["", f"Consents: {len(report.consents)}"]
    lines += [f"  {_consent_words(consent_id, use)}" for consent_id, use in report.consents.items()]
    lines += ["", f"Proposals: {len(report.proposals)}"]
    lines += [f"  {_proposal_words(*each)}" for each in report.proposals.items()]
    lines += ["", f"Misbehaviour of validators: {len(report.misbehaviour)}"]
    lines += [
        f"  {found.member} signed two votes that exclude each other in view {found.view} of epoch "
        f"{found.epoch}, recorded at block {found.height}"
        for found in report.misbehaviour
    ]
    return lines


def _reach_words(report: AuditReport, source: str) -> str:
    if report.required_height is None:
        reach = f"complete up to block {report.height}" if report.is_clean else f"up to block {report.height}"
        return f"{reach}; whether there is more, this {source} cannot say (see --at-least, --trust)"
    return f"up to block {report.height}, where it must reach block {report.required_height} at least"


def _shown(member: str, names: Mapping[str, str]) -> str:
    """Return a member's name with its id: names are for people, and the id is what cannot be imitated."""
    return f"{names[member]} ({member})" if member in names else member


def _deeds(report: AuditReport, member: str) -> str:
    more = {ANCHORS: f" over {report.documents[member]} documents"}
    counted = ((deed, found[member]) for deed, found in report.deeds.items() if found[member])
    return ", ".join(f"{deed.words}: {count}{more.get(deed, '')}" for deed, count in counted)


def _proposal_words(identity: bytes, course: ProposalCourse) -> str:
    outcome = "not decided" if course.status is None else f"{course.status} at block {course.decided_height}"
    return (
        f"{identity.hex()[:16]}: {course.change} by {course.proposer} at block {course.proposed_height}, "
        f"{course.votes_count} votes, {outcome}"
    )


def _consent_words(consent_id: bytes, use: ConsentUse) -> str:
    ended = "" if use.ended_height is None else f", ended at block {use.ended_height}"
    heights = ", ".join(f"{height}" for height in use.verification_heights)
    used = f", verified at block {heights}" if heights else ", never used"
    return (
        f"{consent_id.hex()[:16]}: {'+'.join(use.sources)} to {use.recipient} for {use.purpose}, "
        f"granted at block {use.granted_height}{used}{ended}"
    )
