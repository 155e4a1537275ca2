"""`luohu audit`: replay the chain from genesis and report, for a regulator.

Rule 1: nothing that a node stores or says is believed: blocks are executed again, signatures checked again.
Rule 2: on a stopped home the stored state is compared record by record and page by page as well.
Rule 3: a finding means exit code 1. The home of a running node is refused: ask the node through `--url`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.checking import checking_pool
from cli.exits import FINE, NO, wrong_usage
from cli.files import FILE, read_genesis
from cli.output import Progress, fields, json_option, print_answer
from ledger.audit import ANCHORS, Audit, AuditReport, ConsentUse, Finding, ProposalCourse
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.genesis import Genesis
from ledger.rules.blocks import Block
from ledger.rules.certificates import QuorumCertificate

if TYPE_CHECKING:
    from node.storage.store import Store

FINDINGS_SHOWN_MAX: Final = 1_000


@click.command("audit")
@click.option("--home", type=FILE, help="The home of a stopped node: its blocks and its stored state.")
@click.option("--url", help="A running node: its blocks, fetched and replayed here.")
@click.option("--genesis", "genesis_path", type=FILE, required=True, help="The genesis.json to start from.")
@json_option
def audit(home: Path | None, url: str | None, genesis_path: Path, as_json: bool) -> int:
    """Replay the whole chain from genesis and report what happened, and whether anything is wrong.

    \b
    Example:
      luohu audit --home network/hk-bureau --genesis genesis.json
      luohu audit --url http://127.0.0.1:7201 --genesis genesis.json
    """
    if (home is None) == (url is None):
        raise wrong_usage(
            "luohu audit",
            expected="either --home DIR of a stopped node or --url URL of a running one",
            found="both" if home is not None else "neither",
            cure="Name one of them.",
        )
    genesis = read_genesis(genesis_path)
    if home is not None:
        report = _audit_home(home, genesis)
        compared = "blocks, certificates, stored records and stored pages"
    else:
        from cli.fetching import audit_url

        assert url is not None, "one of the two is given"
        report = audit_url(url, genesis)
        compared = "blocks and certificates"
    _print_report(report, genesis, compared=compared, as_json=as_json)
    return FINE if report.is_clean else NO


def _audit_home(home: Path, genesis: Genesis) -> AuditReport:
    chain = home / "data" / "chain"
    if not chain.is_dir():
        raise wrong_usage(
            str(home),
            expected="the home of a node that has run (with data/chain in it)",
            found="no stored chain",
            cure="Name the home of a node, or ask a running one with --url.",
            code="path",
        )
    from node.storage.store import Store, StoreDamaged

    try:
        store = Store.open(chain, genesis)
    except StoreDamaged as error:
        # Not even its tip can be read: that is what an auditor came to find.
        report = Audit(genesis).report
        report.findings.append(Finding(0, "storage", error.expected, error.found))
        return report
    try:
        return _audit_store(store, genesis)
    finally:
        store.close()


def _audit_store(store: "Store", genesis: Genesis) -> AuditReport:
    from node.errors import StoreError
    from node.storage.toppages import is_top_page

    replay = Audit(genesis)
    height_max = store.tip().header.height
    progress = Progress("replaying", height_max)
    damage: list[Finding] = []
    try:
        with checking_pool() as pool:
            is_whole = replay.replay_all(_stored_blocks(store, height_max, progress, damage), pool)
        progress.finish()
        report = replay.finish() if not damage else replay.report
        report.findings += damage
        if is_whole and not damage:
            replay.check_state(store.values())
            replay.check_pages(store.pages(), is_top_page)
    except StoreError as error:
        # Damage that the checksums caught: what the disk holds is not what the node wrote.
        report = replay.report
        report.findings.append(Finding(replay.height, "storage", error.expected, error.found))
    return report


def _stored_blocks(
    store: "Store", height_max: int, progress: Progress, damage: list[Finding]
) -> Iterator[tuple[Block, QuorumCertificate | None]]:
    """Yield the stored blocks, up to one that cannot be read: why, `damage` says once all before it are yielded."""
    from node.errors import StoreError

    for height in range(1, height_max + 1):
        progress.update(height)
        try:
            block, certificate = store.load_block(height), store.find_certificate(height)
        except StoreError as error:
            damage.append(Finding(height - 1, "storage", error.expected, error.found))
            return
        except LedgerError as error:
            damage.append(Finding(height, error.where, error.expected, error.found))
            return
        if block is None:
            damage.append(Finding(height, "block", "a stored block", "nothing"))
            return
        yield block, certificate


def _print_report(report: AuditReport, genesis: Genesis, *, compared: str, as_json: bool) -> None:
    findings: list[Json] = [
        {"height": f.height, "record": f.record, "expected": f.expected, "found": f.found}
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
    print_answer(as_json=as_json, value=value, lines=_report_lines(report, genesis, compared))


def _consent_json(use: ConsentUse) -> dict[str, Json]:
    return {
        "issuer": use.issuer,
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


def _report_lines(report: AuditReport, genesis: Genesis, compared: str) -> list[str]:
    verdict = "CLEAN: nothing is wrong" if report.is_clean else f"FINDINGS: {len(report.findings)}"
    names = {member.id: member.name_en for member in genesis.content.members}
    lines = [
        f"{verdict}. Replayed from genesis to block {report.height}.",
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
    lines += fields([(names.get(member, member), _deeds(report, member)) for member in members])
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
        f"{consent_id.hex()[:16]}: {use.issuer} to {use.recipient} for {use.purpose}, "
        f"granted at block {use.granted_height}{used}{ended}"
    )
