"""What issuer and holder do with a report whose fields can be shown one by one."""

import secrets

from ledger.commitments import day_of
from ledger.encoding.keys import PrivateKey, PublicKey
from ledger.encoding.records import Json
from ledger.requests import RequestBody
from ledger.sdjwt import Binding, Claims, SdJwt, bind, issue, select
from node.client.wallet import Wallet


def issue_report(
    report: dict[str, Json], *, issuer: str, schema: str, holder: PublicKey, key: PrivateKey, now_ms: int
) -> str:
    """Return a report with fresh salts. Two copies of one report share nothing. Raises EncodingError.

    Its time of issue is as coarse as that of its metadata, the start of the UTC day: a later one is refused, and one
    to the second would be a fingerprint.
    """
    claims = Claims(issuer, schema, day_of(now_ms) // 1000, holder)
    return issue(report, claims, key, secrets.token_bytes)


def show_fields(sd_jwt: SdJwt, paths: list[str], request: RequestBody, wallet: Wallet, *, now_ms: int) -> str:
    """Return the report with chosen fields, bound to a request. Raises EncodingError or WalletError."""
    chosen = select(sd_jwt, paths)
    binding = Binding(request.decoded_asked().recipient, request.nonce.hex(), now_ms // 1000, "")
    return bind(chosen, binding, wallet.signer_for(chosen.claims.holder_key))
