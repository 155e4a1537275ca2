"""SD-JWT (RFC 9901), the strict profile of this ledger (docs/disclosure.md).

Rule 1: one spelling: unpadded base64url without spare bits, JSON without repeated keys, exact sets of header and
payload members. Ed25519 (`EdDSA`) and SHA-256 are the only algorithms.
Rule 2: every digest stands once; every disclosure is referenced once, from the place that its kind fits.
Rule 3: no disclosed member is named `_sd`, `_sd_alg` or `...`, or as another one beside it.
Rule 4: sizes, counts and depths are limited before anything is built.
Rule 5: an array has a digest for each of its elements and no decoy, so whoever is shown it knows its length, by the
issuer's word. A cut array never looks like a whole one.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.encoding.arguments import require_bytes
from ledger.encoding.digests import digest
from ledger.encoding.keys import ED25519, PrivateKey, PublicKey
from ledger.encoding.records import Json, parse_json
from ledger.errors import EncodingError
from ledger.shown import shown_hash

SDJWT_SIZE_MAX: Final = 4 * 1024 * 1024
JWT_SIZE_MAX: Final = 1024 * 1024
DISCLOSURES_MAX: Final = 10_000
DEPTH_MAX: Final = 12
NAME_SIZE_MAX: Final = 100
SALT_SIZE: Final = 32
SALT_CHARACTERS_MIN: Final = 22
DECOYS_UP_TO: Final = 4

JWT_TYPE: Final = "dc+sd-jwt"
BINDING_TYPE: Final = "kb+jwt"
ALGORITHM: Final = "EdDSA"
DIGEST_ALGORITHM: Final = "sha-256"

_SD: Final = "_sd"
_SD_ALG: Final = "_sd_alg"
_ELEMENT: Final = "..."
_RESERVED: Final = frozenset({_SD, _SD_ALG, _ELEMENT})
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_DIGEST_CHARACTERS: Final = 43

Random = Callable[[int], bytes]
"""Returns so many random bytes; `secrets.token_bytes`."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What the issuer says beside the fields: issuer, kind of document, when (seconds), and the holder key."""

    issuer: str
    schema: str
    issued_s: int
    holder_key: PublicKey


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One field that can be shown: its text, and what the text holds. `name` is None for an array's element."""

    text: str
    name: str | None
    value: Json

    @property
    def digest(self) -> str:
        """The digest that stands for it in the JWT or in another disclosure."""
        return _encode64(digest(self.text.encode("ascii")))


@dataclass(frozen=True, slots=True)
class SdJwt:
    """A decoded SD-JWT: the JWT that is the document, disclosures, and the key binding JWT where there is one."""

    jwt: str
    key: PublicKey
    claims: Claims
    digests: tuple[str, ...]
    disclosures: tuple[Disclosure, ...]
    binding: str

    @property
    def shown_hash(self) -> bytes:
        """The 32-byte hash of what is shown: one for each choice of fields (ledger/shown.py)."""
        return shown_hash(digest(each.text.encode("ascii")) for each in self.disclosures)

    @property
    def bound_text(self) -> str:
        """What the key binding covers: JWT and disclosures."""
        return "~".join((self.jwt, *(each.text for each in self.disclosures), ""))


@dataclass(frozen=True, slots=True)
class Binding:
    """What a key binding JWT says. `text_hash` is the digest of the bound text."""

    audience: str
    nonce: str
    issued_s: int
    text_hash: str


@dataclass(frozen=True, slots=True)
class ArrayShown:
    """How many elements of an array are shown, in part at least, and how many its issuer put there."""

    shown_count: int
    elements_count: int

    @property
    def is_whole(self) -> bool:
        """Say whether every element is shown."""
        return self.shown_count == self.elements_count


@dataclass(frozen=True, slots=True)
class Shown:
    """The fields that are shown, each value by its path in the report, and how many digests stay closed.

    Withheld elements are missing from an array in `fields`, as RFC 9901 has it; a path counts them. `arrays` says of
    each shown array, by its path, how many of its elements are shown.
    """

    fields: dict[str, Json]
    values: dict[str, Json]
    closed_count: int
    arrays: dict[str, "ArrayShown"]


def issue(fields: Mapping[str, Json], claims: Claims, key: PrivateKey, random: Random) -> str:
    """Return an SD-JWT in which each field, at each level, can be shown or withheld. Raises EncodingError.

    `random` is asked for the salts, the decoys and the order of nothing else: digests are sorted.
    """
    disclosures: list[str] = []
    digests = _conceal_object(fields, disclosures, random, depth=1)
    if len(disclosures) > DISCLOSURES_MAX:
        raise EncodingError(
            where="report", expected=f"at most {DISCLOSURES_MAX} fields", found=f"{len(disclosures)}"
        )
    payload: dict[str, Json] = {
        "iss": claims.issuer,
        "vct": claims.schema,
        "iat": claims.issued_s,
        "cnf": {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": _encode64(claims.holder_key.data)}},
        _SD_ALG: DIGEST_ALGORITHM,
        _SD: [*digests],
    }
    jwt = _sign({"alg": ALGORITHM, "typ": JWT_TYPE, "kid": str(key.public)}, payload, key)
    if len(jwt) > JWT_SIZE_MAX:
        raise EncodingError(
            where="report", expected=f"a JWT of at most {JWT_SIZE_MAX} bytes", found=f"{len(jwt)} bytes"
        )
    return "~".join((jwt, *disclosures, ""))


def select(sd_jwt: SdJwt, paths: Sequence[str]) -> SdJwt:
    """Return an SD-JWT that shows only the named fields, with all below them. Raises EncodingError.

    A path is like `accounts[0].balance`.
    """
    by_digest = {each.digest: each for each in sd_jwt.disclosures}
    kept: set[str] = set()
    found: set[str] = set()

    def walk(value: Json, path: str, *, is_within: bool) -> bool:
        """Keep what is named below a value; say whether something is."""
        is_kept = False
        for child, child_path in _children(value, path, by_digest):
            named = is_within or child_path in paths
            if child_path in paths:
                found.add(child_path)
            below = walk(child.value, child_path, is_within=named)
            if named or below:
                kept.add(child.digest)
                is_kept = True
        return is_kept

    walk({_SD: [*sd_jwt.digests]}, "", is_within=False)
    missing = [path for path in paths if path not in found]
    if missing:
        raise EncodingError(
            where="fields",
            expected="paths of this report, like accounts[0].balance",
            found=ascii(missing[0])[:80],
        )
    shown = tuple(each for each in sd_jwt.disclosures if each.digest in kept)
    return SdJwt(sd_jwt.jwt, sd_jwt.key, sd_jwt.claims, sd_jwt.digests, shown, "")


def bind(sd_jwt: SdJwt, binding: Binding, key: PrivateKey) -> str:
    """Return the text of an SD-JWT with a key binding by the holder."""
    payload: dict[str, Json] = {
        "iat": binding.issued_s,
        "aud": binding.audience,
        "nonce": binding.nonce,
        "sd_hash": text_hash(sd_jwt),
    }
    return sd_jwt.bound_text + _sign({"alg": ALGORITHM, "typ": BINDING_TYPE}, payload, key)


def text_hash(sd_jwt: SdJwt) -> str:
    """Return the digest of what a key binding covers."""
    return _encode64(digest(sd_jwt.bound_text.encode("ascii")))


def decode(data: bytes) -> SdJwt:
    """Return the SD-JWT in a file; the issuer's signature verifies under the key that it names. Raises LedgerError."""
    data = require_bytes("SD-JWT", data, cure="Give the content of the file: Path(path).read_bytes().")
    if len(data) > SDJWT_SIZE_MAX:
        raise EncodingError(
            where="SD-JWT", expected=f"at most {SDJWT_SIZE_MAX} bytes", found=f"{len(data)} bytes"
        )
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError as error:
        raise EncodingError(where="SD-JWT", expected="ASCII", found="other bytes") from error
    if text.count("~") < 1 or text.count("~") > DISCLOSURES_MAX + 1:
        raise EncodingError(
            where="SD-JWT",
            expected=f"a JWT and up to {DISCLOSURES_MAX} disclosures, with ~ after each",
            found="others",
        )
    jwt, *texts, binding = text.split("~")
    if len(jwt) > JWT_SIZE_MAX:
        raise EncodingError(where="JWT", expected=f"at most {JWT_SIZE_MAX} bytes", found=f"{len(jwt)} bytes")
    header, payload, signing_input, signature = _parse_jwt("JWT", jwt)
    _require("JWT header", set(header), {"alg", "typ", "kid"})
    _require("JWT alg", header["alg"], ALGORITHM)
    _require("JWT typ", header["typ"], JWT_TYPE)
    key = PublicKey.from_text(_text("JWT kid", header["kid"]))
    _require("JWT payload", set(payload), {"iss", "vct", "iat", "cnf", _SD_ALG, _SD})
    _require("JWT _sd_alg", payload[_SD_ALG], DIGEST_ALGORITHM)
    claims = Claims(
        _text("JWT iss", payload["iss"]),
        _text("JWT vct", payload["vct"]),
        _seconds("JWT iat", payload["iat"]),
        _holder_key(payload["cnf"]),
    )
    key.verify_jws(signing_input, signature)
    disclosures = tuple(_parse_disclosure(each) for each in texts)
    return SdJwt(jwt, key, claims, _digests(payload[_SD]), disclosures, binding)


def verify_binding(sd_jwt: SdJwt) -> Binding:
    """Return what the key binding says; it verifies under the holder key and covers this text. Raises LedgerError."""
    if not sd_jwt.binding:
        raise EncodingError(
            where="key binding", expected="one by the holder key that the JWT names", found="none"
        )
    header, payload, signing_input, signature = _parse_jwt("key binding", sd_jwt.binding)
    _require("key binding header", set(header), {"alg", "typ"})
    _require("key binding alg", header["alg"], ALGORITHM)
    _require("key binding typ", header["typ"], BINDING_TYPE)
    _require("key binding payload", set(payload), {"iat", "aud", "nonce", "sd_hash"})
    _require("key binding sd_hash", payload["sd_hash"], text_hash(sd_jwt))
    sd_jwt.claims.holder_key.verify_jws(signing_input, signature)
    return Binding(
        _text("key binding aud", payload["aud"]),
        _text("key binding nonce", payload["nonce"]),
        _seconds("key binding iat", payload["iat"]),
        _text("key binding sd_hash", payload["sd_hash"]),
    )


def open_fields(sd_jwt: SdJwt) -> Shown:
    """Return the fields that the disclosures show. Raises EncodingError where they do not fit the JWT exactly."""
    opening = _Opening(sd_jwt.disclosures)
    fields = opening.open_value({_SD: [*sd_jwt.digests]}, "", depth=0)
    assert isinstance(fields, dict), "an object was opened"
    if opening.left:
        raise EncodingError(
            where="disclosures",
            expected="each referenced by a digest",
            found=f"{len(opening.left)} that are not",
        )
    # In order of path: the order of digests says nothing.
    values, arrays = dict(sorted(opening.values.items())), dict(sorted(opening.arrays.items()))
    return Shown(fields, values, opening.closed_count, arrays)


class _Opening:
    """Replaces digests by what the disclosures say, each once."""

    def __init__(self, disclosures: Sequence[Disclosure]) -> None:
        self.left = {each.digest: each for each in disclosures}
        if len(self.left) != len(disclosures):
            raise EncodingError(where="disclosures", expected="each once", found="one twice")
        self.values: dict[str, Json] = {}
        self.arrays: dict[str, ArrayShown] = {}
        self.closed_count = 0
        self._seen: set[str] = set()

    def open_value(self, value: Json, path: str, *, depth: int) -> Json:
        if depth > DEPTH_MAX:
            raise EncodingError(where="disclosures", expected=f"at most {DEPTH_MAX} levels", found="more")
        if isinstance(value, dict):
            return self._open_object(value, path, depth)
        if isinstance(value, list):
            return self._open_array(value, path, depth)
        self.values[path] = value
        return value

    def _open_object(self, value: dict[str, Json], path: str, depth: int) -> Json:
        opened: dict[str, Json] = {}
        for name, inner in value.items():
            if name != _SD:
                _check_name(name)
                opened[name] = self.open_value(inner, _join(path, name), depth=depth + 1)
        for each in _digests(value.get(_SD, [])):
            disclosure = self._take(each)
            if disclosure is None:
                continue
            if disclosure.name is None:
                raise EncodingError(
                    where=f"disclosure in {path or 'the report'}", expected="a member's", found="an element's"
                )
            if disclosure.name in opened:
                raise EncodingError(
                    where=_join(path, disclosure.name)[:80], expected="each member once", found="it twice"
                )
            opened[disclosure.name] = self.open_value(
                disclosure.value, _join(path, disclosure.name), depth=depth + 1
            )
        return opened

    def _open_array(self, value: list[Json], path: str, depth: int) -> Json:
        opened: list[Json] = []
        for index, item in enumerate(value):
            place = f"{path}[{index}]"
            if not (isinstance(item, dict) and _ELEMENT in item):
                opened.append(self.open_value(item, place, depth=depth + 1))
                continue
            _require(f"{place[:80]} members", set(item), {_ELEMENT})
            (each,) = _digests([item[_ELEMENT]])
            disclosure = self._take(each)
            if disclosure is None:
                continue
            if disclosure.name is not None:
                raise EncodingError(
                    where=f"disclosure in {place[:80]}", expected="an element's", found="a member's"
                )
            opened.append(self.open_value(disclosure.value, place, depth=depth + 1))
        self.arrays[path] = ArrayShown(len(opened), len(value))
        return opened

    def _take(self, each: str) -> Disclosure | None:
        if each in self._seen:
            raise EncodingError(where="digests", expected="each once", found="one twice")
        self._seen.add(each)
        disclosure = self.left.pop(each, None)
        self.closed_count += disclosure is None
        return disclosure


def _children(value: Json, path: str, by_digest: Mapping[str, Disclosure]) -> list[tuple[Disclosure, str]]:
    """Return the disclosures right below a value, with their paths."""
    found: list[tuple[Disclosure, str]] = []
    if isinstance(value, dict):
        members = [by_digest[each] for each in _digests(value.get(_SD, [])) if each in by_digest]
        found += [(each, _join(path, each.name or "")) for each in members]
    if isinstance(value, list):
        for index, item in enumerate(value):
            each = item.get(_ELEMENT) if isinstance(item, dict) else None
            if isinstance(each, str) and each in by_digest:
                found.append((by_digest[each], f"{path}[{index}]"))
    return found


def _conceal(value: Json, disclosures: list[str], random: Random, depth: int) -> Json:
    if depth > DEPTH_MAX:
        raise EncodingError(where="report", expected=f"at most {DEPTH_MAX} levels", found="more")
    if isinstance(value, dict):
        return {_SD: [*_conceal_object(value, disclosures, random, depth + 1)]}
    if isinstance(value, list):
        # No decoys (rule 5): they would make a whole array look like a cut one.
        return [
            {_ELEMENT: _disclose([_conceal(item, disclosures, random, depth + 1)], disclosures, random)}
            for item in value
        ]
    if isinstance(value, float):
        raise EncodingError(
            where="report", expected="whole numbers; amounts with fractions as text", found=f"{value}"
        )
    return value


def _conceal_object(
    fields: Mapping[str, Json], disclosures: list[str], random: Random, depth: int
) -> list[str]:
    digests: list[str] = []
    for name, value in fields.items():
        _check_name(name)
        digests.append(_disclose([name, _conceal(value, disclosures, random, depth)], disclosures, random))
    digests += [_decoy(random) for _ in range(-len(digests) % DECOYS_UP_TO)]
    return sorted(digests)


def _disclose(content: list[Json], disclosures: list[str], random: Random) -> str:
    text = _encode64(_dump([_encode64(random(SALT_SIZE)), *content]))
    disclosures.append(text)
    return _encode64(digest(text.encode("ascii")))


def _decoy(random: Random) -> str:
    return _encode64(digest(random(SALT_SIZE)))


def _sign(header: Mapping[str, Json], payload: Mapping[str, Json], key: PrivateKey) -> str:
    signing_input = f"{_encode64(_dump(header))}.{_encode64(_dump(payload))}"
    return f"{signing_input}.{_encode64(key.sign_jws(signing_input.encode('ascii')))}"


def _dump(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise EncodingError(
            where="JSON", expected="values and whole characters", found=f"{error}"[:80]
        ) from error


def _parse(where: str, text: str) -> Json:
    value = parse_json(_decode64(where, text), size_max=SDJWT_SIZE_MAX)
    # Half a character can be written as an escape, and would break whatever prints or stores it.
    _dump(value)
    return value


def _parse_jwt(where: str, jwt: str) -> tuple[dict[str, Json], dict[str, Json], bytes, bytes]:
    parts = jwt.split(".")
    if len(parts) != 3:
        raise EncodingError(
            where=where, expected="header, payload and signature", found=f"{len(parts)} parts"
        )
    header, payload = (_parse(where, part) for part in parts[:2])
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise EncodingError(where=where, expected="objects for header and payload", found="another value")
    return header, payload, f"{parts[0]}.{parts[1]}".encode("ascii"), _decode64(where, parts[2])


def _parse_disclosure(text: str) -> Disclosure:
    content = _parse("disclosure", text)
    if not isinstance(content, list) or len(content) not in (2, 3):
        raise EncodingError(
            where="disclosure", expected="salt, name and value, or salt and value", found="another value"
        )
    salt = _text("disclosure salt", content[0])
    if len(salt) < SALT_CHARACTERS_MIN:
        raise EncodingError(
            where="disclosure salt",
            expected=f"at least {SALT_CHARACTERS_MIN} characters",
            found=f"{len(salt)}",
        )
    name = None
    if len(content) == 3:
        name = _text("disclosure name", content[1])
        _check_name(name)
    return Disclosure(text, name, content[-1])


def _holder_key(cnf: Json) -> PublicKey:
    jwk = cnf.get("jwk") if isinstance(cnf, dict) and len(cnf) == 1 else None
    if not isinstance(jwk, dict) or set(jwk) != {"kty", "crv", "x"}:
        raise EncodingError(
            where="JWT cnf", expected="a jwk with exactly kty, crv and x", found="another value"
        )
    _require("JWT cnf", (jwk["kty"], jwk["crv"]), ("OKP", "Ed25519"))
    data = _decode64("JWT cnf", _text("JWT cnf", jwk["x"]))
    _require("JWT cnf size", len(data), 32)
    return PublicKey(ED25519, data)


def _digests(value: Json) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise EncodingError(where="digests", expected="a list", found=type(value).__name__)
    for each in value:
        if not isinstance(each, str) or len(each) != _DIGEST_CHARACTERS or not _BASE64URL.fullmatch(each):
            raise EncodingError(
                where="digests",
                expected=f"{_DIGEST_CHARACTERS} characters of base64url",
                found="another value",
            )
    return tuple(f"{each}" for each in value)


def _check_name(name: str) -> None:
    if name in _RESERVED:
        raise EncodingError(
            where="field name", expected=f"none of {', '.join(sorted(_RESERVED))}", found=name
        )
    # What would make one path of two.
    if not 1 <= len(name) <= NAME_SIZE_MAX or set(name) & set(".[]"):
        expected = f"1 to {NAME_SIZE_MAX} characters, none of them a dot or bracket"
        raise EncodingError(where="field name", expected=expected, found=ascii(name)[:80])


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _text(where: str, value: Json) -> str:
    if not isinstance(value, str):
        raise EncodingError(where=where, expected="text", found=type(value).__name__)
    return value


def _seconds(where: str, value: Json) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise EncodingError(where=where, expected="whole seconds", found=type(value).__name__)
    return value


def _require(where: str, found: object, expected: object) -> None:
    if found != expected or type(found) is not type(expected):
        raise EncodingError(where=where, expected=_show(expected), found=_show(found))


def _show(value: object) -> str:
    return ", ".join(sorted(value)) if isinstance(value, set) else ascii(value)[:80]


def _encode64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode64(where: str, text: str) -> bytes:
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise EncodingError(where=where, expected="base64url without padding", found="something else")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode64(data) != text:
        raise EncodingError(where=where, expected="base64url without spare bits", found="another spelling")
    return data
