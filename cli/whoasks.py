"""Who asks, as a holder is shown it before agreeing: names, roles, the key that signed, and what all of it rests on.

Rule 1: all three names of a member are shown, whatever the language: the holder may know only one of them.
Rule 2: what no trusted root proves is said to be a node's word, in the first line.
"""

from typing import TYPE_CHECKING, Final

from cli.roots import AS_TOLD
from cli.times import show_time
from ledger.receipts import LANGUAGES
from ledger.rules.state import Member
from node.client.answers import Answer, Proven

if TYPE_CHECKING:
    from node.client.holder import WhoAsks

# In the order of LANGUAGES.
_LABELS: Final[dict[str, tuple[str, str, str]]] = {
    "who": ("谁在请求", "誰在請求", "Who asks"),
    "issuer": ("文件由谁出具", "文件由誰發出", "Whose documents"),
    "roles": ("身份", "身份", "Roles"),
    "key": ("签署此请求的密钥", "簽署此請求的密鑰", "Key that signed the request"),
    "proven": ("是否已证明", "是否已證明", "Proven"),
    "yes": (
        "是，依据您的信任根：区块 {height}，{time}",
        "是，依據您的信任根：區塊 {height}，{time}",
        "yes, under your trusted root: block {height} of {time}",
    ),
    "no": (
        f"否：这只是一个节点的说法（{AS_TOLD}），可能是伪造的。请用 --trust 指定您的信任根。",
        f"否：這只是一個節點的說法（{AS_TOLD}），可能是偽造的。請用 --trust 指定您的信任根。",
        f"no: {AS_TOLD}, which may be made up. Name your trusted root with --trust.",
    ),
}


def who_rows(who: "WhoAsks", language: str) -> list[tuple[str, str]]:
    """Return who asks and whose documents are asked for, in one of LANGUAGES, as labels and texts."""
    asking = who.recipient.value
    return [
        (_label("proven", language), _proof_of(who.recipient, language)),
        (_label("who", language), _names_of(asking)),
        (_label("roles", language), ", ".join(asking.roles)),
        (_label("key", language), str(asking.key)),
        *((_label("issuer", language), _names_of(issuing.value)) for issuing in who.issuers),
    ]


def _proof_of(answer: Answer[Member], language: str) -> str:
    if isinstance(answer, Proven):
        return _label("yes", language).format(height=answer.height, time=show_time(answer.time_ms))
    return _label("no", language)


def _names_of(member: Member) -> str:
    names = dict.fromkeys((member.name_zh_hans, member.name_zh_hant, member.name_en))
    return f"{' / '.join(names)} ({member.id}, {member.jurisdiction})"


def _label(key: str, language: str) -> str:
    return _LABELS[key][LANGUAGES.index(language)]
