"""The page in web/: a second witness that agrees with the library on every vector, and lets nothing out."""

import base64
import hashlib
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nacl.bindings
import pytest
from nacl.exceptions import BadSignatureError

from ledger.encoding.lookalikes import ALIKE
from ledger.encoding.records import Json
from ledger.errors import LedgerError
from ledger.filenames import find_fault
from ledger.genesis import genesis_block, parse_genesis
from ledger.presentedsets import SET_REFUSALS
from ledger.trust import parse_trusted_root
from ledger.verdictjson import set_to_json
from ledger.verdicts import CAUSES, LINE_ENDS, LONGER, OLDER_EPOCH, REFUSALS, VerificationError
from node.recipient.presented import FILES_REFUSALS
from node.visibletext import visible
from tests.attacks.combining import DEFECTS, combined
from tests.attacks.shownsets import ALL, AskedSet, anchored, asked_sets, entry_of, issued, whole
from tests.campaigns.fuzz.random_changes import changed
from tests.campaigns.witness.answers import PAGE, Page, open_page
from tests.campaigns.witness.comparing import compare
from tests.campaigns.witness.questions import pinned, question_of
from tests.support.browser import find_browser
from tests.support.consortium import MINUTE_MS, START_MS, key_of
from tests.support.strangers import BACKWARDS, FORGED_LINE, MARKUP, TEXTS, forged_in, raw_in_output
from tests.vectors import make_sets
from tests.vectors.pinned import PRESENT_VECTORS, VECTORS

HTML = PAGE.read_text(encoding="utf-8")
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
FIELD_PRIME = 2**255 - 19
BROWSER = find_browser()
QUESTIONS = pinned()
HONEST = QUESTIONS["honest"]

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here: install chromium to run the page"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    assert BROWSER is not None
    with open_page(BROWSER, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def witness(browser: Page) -> Page:
    """Return the page as it was opened: what another test chose, wrote, or set its clock to is gone."""
    browser.open_anew()
    return browser


@pytest.mark.slow
@needs_browser
def test_the_page_answers_every_vector_as_the_library_does(witness: Page) -> None:
    answers = dict(zip(QUESTIONS, witness.answer(list(QUESTIONS.values())), strict=True))
    expected = {
        case["name"]: case.get("verdict") or case.get("anchor_verdict") or case["refused"]
        for case in (*VECTORS["cases"], *PRESENT_VECTORS["cases"])
    }
    assert len(expected) > 200
    assert {name: found for name, found in answers.items() if found != expected[name]} == {}
    assert answers.keys() == expected.keys()


@pytest.mark.slow
@needs_browser
def test_the_page_answers_random_questions_as_the_library_does(witness: Page) -> None:
    compared = compare(witness, range(600))
    assert compared.differences == []
    assert len(compared.answers) > 25
    assert compared.answers["verdict"] > 20


BROKEN = {
    "white space of another kind": (
        "if (/[^ \\t\\r\\n]/.test(text.slice(at)))",
        "if (/\\S/.test(text.slice(at)))",
    ),
    "a checkpoint never expires": ("pin.valid_from_ms <= atMs && atMs <= pin.valid_until_ms", "true"),
    "ended at the header": ("judgedMs <= metadata.expires_ms", "header.time_ms <= metadata.expires_ms"),
    "the present is a past time": ("Math.max(nowMs, newestMs)", "nowMs"),
    "a clock may be slow": ("behind <= CLOCK_SKEW_MS", "true"),
    "the newer header tells no time": (
        "newestMs: Math.max(header.time_ms, newer.time_ms)",
        "newestMs: header.time_ms",
    ),
    "a window that ends before it begins": ("from >= until || ", ""),
    "another genesis block": ("height === 0 && !same(hash, pin.block_hash)", "false"),
    "an epoch without a block": ("rise > height - before.height", "false"),
}


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("defect", BROKEN)
def test_the_questions_find_a_page_with_a_defect(tmp_path: Path, defect: str) -> None:
    assert BROWSER is not None
    rule, broken = BROKEN[defect]
    assert HTML.count(rule) == 1
    page = tmp_path / "verify.html"
    # The policy admits the genuine script alone.
    unguarded = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", HTML)
    page.write_text(unguarded.replace(rule, broken), encoding="utf-8")
    with open_page(BROWSER, tmp_path / "profile", page=page) as witness:
        batches = (compare(witness, range(first, first + 100)) for first in range(0, 1_000, 100))
        assert any(compared.differences for compared in batches)


@needs_browser
def test_the_page_finds_the_same_first_block(witness: Page) -> None:
    for genesis in VECTORS["genesis"]:
        trust = {"type": "luohu-trust", "version": 1, "genesis": genesis, "checkpoints": []}
        opened = f"luohu.openTrust(new TextEncoder().encode({json.dumps(json.dumps(trust))}))"
        found = witness.run(f"{opened}.then((trust) => Array.from(trust.pins[0].block_hash))")
        content = parse_genesis(json.dumps(genesis).encode()).content
        assert bytes(found) == genesis_block(content).block.hash


def accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def signatures() -> list[tuple[bytes, bytes, bytes]]:
    """Return keys, messages and signatures at the edges of what is accepted."""
    key, message = key_of("signer"), b"a message"
    raw = nacl.bindings.crypto_sign(message, nacl.bindings.crypto_sign_seed_keypair(key.seed)[1])[:64]
    public, r, s = key.public.data, raw[:32], int.from_bytes(raw[32:], "little")
    small = [
        bytes(32),
        b"\1" + bytes(31),
        b"\1" + bytes(30) + b"\x80",
        (FIELD_PRIME - 1).to_bytes(32, "little"),
        bytes(31) + b"\x80",
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        FIELD_PRIME.to_bytes(32, "little"),
        (FIELD_PRIME + 1).to_bytes(32, "little"),
    ]
    cases = [(public, message, raw), (public, message + b"!", raw), (public, b"", raw)]
    cases += [(public, message, r + (s + GROUP_ORDER * times).to_bytes(32, "little")) for times in (1, 2)]
    cases += [(public, message, bytes([r[0] ^ 1]) + raw[1:]), (bytes(31) + b"\x7f", message, raw)]
    cases += [(weak, message, point + bytes(32)) for weak in small for point in small]
    cases += [(public, message, point + bytes(32)) for point in small]
    cases += [(key_of(f"signer {n}").public.data, message, raw) for n in range(3)]
    return cases


@needs_browser
@pytest.mark.parametrize("native", ["true", "false"])
def test_the_page_accepts_the_signatures_that_libsodium_accepts(witness: Page, native: str) -> None:
    cases = signatures()
    listed = json.dumps([[part.hex() for part in case] for case in cases])
    script = f"""(async () => {{
      const bytes = (text) => Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
      const found = [];
      for (const [key, message, signature] of {listed})
        found.push(await luohu.ed25519Holds(bytes(key), bytes(message), bytes(signature), {native}));
      return found;
    }})()"""
    expected = [accepts(*case) for case in cases]
    assert any(expected) and not all(expected)
    assert witness.run(script) == expected


def opens(text: str) -> str:
    """Return the script that says what the page makes of a trusted root."""
    utf8 = f"new TextEncoder().encode({json.dumps(text)})"
    refused = "(error) => error instanceof luohu.Malformed ? 'refused' : `${error}`"
    return f"luohu.openTrust({utf8}).then(() => 'opened', {refused})"


@needs_browser
@pytest.mark.parametrize("space", ["\u00a0", "\ufeff", "\u2028", "\x0b", "\x0c"])
def test_the_page_takes_only_the_white_space_of_json(witness: Page, space: str) -> None:
    text = HONEST.trust.decode()
    assert witness.run(opens(f"\r\n\t {text}\r\n\t ")) == "opened"
    for altered in (text + space, space + text, text.replace(":", f":{space}", 1)):
        assert witness.run(opens(altered)) == "refused"
        with pytest.raises(LedgerError):
            parse_trusted_root(altered.encode())


@needs_browser
@pytest.mark.parametrize(
    "found", ["{}", "[{}]", "-1", "1.0", "1e0", "01", "true", '"1"', "null", "9" * 5_000]
)
def test_the_page_refuses_another_value_by_its_own_word(witness: Page, found: str) -> None:
    altered = HONEST.trust.decode().replace('"version": 1', f'"version": {found}', 1)
    assert witness.run(opens(altered)) == "refused"
    with pytest.raises(LedgerError):
        parse_trusted_root(altered.encode())


@needs_browser
def test_the_page_takes_a_zero_with_a_sign(witness: Page) -> None:
    altered = HONEST.trust.decode().replace('"bearer": 0', '"bearer": -0', 1)
    assert altered != HONEST.trust.decode()
    assert witness.run(opens(altered)) == "opened"
    assert parse_trusted_root(altered.encode()) == parse_trusted_root(HONEST.trust)


def set_clock(page: Page, now_ms: int) -> None:
    """Let the browser's clock stand, and ask about the present."""
    page.run(f"(Date.now = () => {now_ms}, document.getElementById('at').value = '')")


@needs_browser
def test_two_files_and_the_trusted_root_give_a_verdict_in_three_languages(
    witness: Page, tmp_path: Path
) -> None:
    contents = {
        "document": HONEST.document,
        "proof": HONEST.proof,
        "trust": HONEST.trust,
        "request": HONEST.request or b"",
    }
    for element, content in contents.items():
        path = tmp_path / element
        path.write_bytes(content)
        witness.choose_file(element, path)
    set_clock(witness, HONEST.time_ms)
    witness.click("#run")
    assert "Verified" in witness.text_of_verdict()
    for language, word in (
        ("zh-Hans", "验证通过"),
        ("zh-Hant", "驗證通過"),
        ("en", "Presented by the holder"),
    ):
        witness.click(f"[data-language={language}]")
        assert word in witness.text_of_verdict()
    document = contents["document"]
    for altered, refusal in (
        (b"!" + document[1:], REFUSALS["document-altered"]),
        (document + b"!", CAUSES[LONGER]),
        (document.replace(b"\n", b"\r\n"), CAUSES[LINE_ENDS]),
    ):
        (tmp_path / "document").write_bytes(altered)
        witness.choose_file("document", tmp_path / "document")
        witness.click("[data-language=en]")
        witness.click("#run")
        assert "document-altered" in witness.text_of_verdict()
        assert refusal.meaning.en in witness.text_of_verdict()
        witness.click("[data-language=zh-Hant]")
        assert refusal.meaning.zh_hant in witness.text_of_verdict()
        assert refusal.next_step.zh_hant in witness.text_of_verdict()


@needs_browser
def test_a_proof_of_an_earlier_epoch_than_the_root_is_to_be_refreshed(witness: Page, tmp_path: Path) -> None:
    older = QUESTIONS["older_pin_below_a_newer_one"]
    contents = {"document": older.document, "proof": older.proof, "trust": older.trust}
    for element, content in {**contents, "request": older.request or b""}.items():
        path = tmp_path / element
        path.write_bytes(content)
        witness.choose_file(element, path)
    witness.click("[data-language=en]")
    set_clock(witness, older.time_ms)
    told = ask_about(witness, older.time_ms)
    refusal = CAUSES[OLDER_EPOCH]
    assert "untrusted-header" in told
    assert refusal.meaning.en in told and refusal.next_step.en in told


def ask_about(page: Page, past_ms: int) -> str:
    """Ask the form about a past time; return what it says."""
    page.run(f"document.getElementById('at').value = new Date({past_ms}).toISOString().slice(0, 23)")
    page.click("#run")
    return page.text_of_verdict()


@needs_browser
def test_the_form_asks_about_the_present_or_a_past_time_and_blames_a_slow_clock(
    witness: Page, tmp_path: Path
) -> None:
    ended = QUESTIONS["withdrawn_since"]
    header_ms = START_MS + 2 * MINUTE_MS
    contents = {"document": ended.document, "proof": ended.proof, "trust": ended.trust}
    for element, content in {**contents, "request": ended.request or b""}.items():
        path = tmp_path / element
        path.write_bytes(content)
        witness.choose_file(element, path)
    witness.click("[data-language=en]")
    set_clock(witness, header_ms)
    assert "asked about, not the present" in ask_about(witness, ended.time_ms), "it held then"
    for now_ms, code in (
        (header_ms, "consent-ended"),
        (header_ms - MINUTE_MS, "consent-ended"),
        (header_ms - MINUTE_MS - 1, "clock-behind"),
        (header_ms - 3 * MINUTE_MS, "clock-behind"),
    ):
        set_clock(witness, now_ms)
        witness.click("#run")
        told = witness.text_of_verdict()
        assert code in told
        assert not re.search(r"[0-9]{13}|[0-9]{4} ms", told), "times and durations are said in words"
    refusal = REFUSALS["clock-behind"]
    for language, sentences in (
        ("zh-Hans", (refusal.meaning.zh_hans, refusal.next_step.zh_hans)),
        ("zh-Hant", (refusal.meaning.zh_hant, refusal.next_step.zh_hant)),
        ("en", (refusal.meaning.en, refusal.next_step.en)),
    ):
        witness.click(f"[data-language={language}]")
        assert all(sentence in witness.text_of_verdict() for sentence in sentences)
    set_clock(witness, ended.time_ms - 1)
    assert "to come" in ask_about(witness, ended.time_ms)


@pytest.mark.slow
@needs_browser
def test_the_page_tells_the_gravest_of_several_reasons(witness: Page) -> None:
    chance = random.Random("several reasons")
    drawn = [chance.sample(DEFECTS, count) for count in (1, 2, 2, 2, 3, 3) for _ in range(20)]
    shown = [combined(defects) for defects in drawn]
    answers = witness.answer([question_of(each) for each in shown])
    first = [min(defects, key=DEFECTS.index) for defects in drawn]
    assert answers == [{"step": each.step, "code": each.code} for each in first]


@needs_browser
@pytest.mark.parametrize("times", ["{}", "{nowMs: 1, atMs: 1}", "{nowMs: NaN}", "{atMs: 1.5}", "{nowMs: -1}"])
def test_the_page_takes_one_time_and_a_whole_one(witness: Page, times: str) -> None:
    asked = f"luohu.verify({{trust: null, document: new Blob([]), proof: new Uint8Array(), ...{times}}})"
    assert "TypeError" in witness.run(f"{asked}.then(() => 'verified', (error) => `${{error}}`)")


def dropped(witness: Page, *files: tuple[str, str]) -> list[str | None]:
    """Drop files on the fresh page, and return the names that stand in its four inputs."""
    made = ", ".join(f"new File([{json.dumps(content)}], {json.dumps(name)})" for name, content in files)
    ids = '["document", "proof", "trust", "request"]'
    clear = f"for (const id of {ids}) element(id).value = '';"
    found = witness.run(
        f"(() => {{ {clear} sort([{made}]); return {ids}.map((id) => element(id).files[0]?.name ?? null); }})()"
    )
    assert isinstance(found, list)
    return found


ROOT_TEXT = '{"type": "luohu-trust"}'


@needs_browser
def test_a_dropped_file_is_what_its_name_says_whatever_it_holds(witness: Page) -> None:
    assert dropped(witness, ("a.pdf", "x"), ("a.pdf.proof", "LUOHU-PROOF")) == [
        "a.pdf",
        "a.pdf.proof",
        None,
        None,
    ]
    assert dropped(witness, ("a.pdf", "LUOHU-PROOF"), ("a.PROOF", "x")) == ["a.pdf", "a.PROOF", None, None]
    assert dropped(witness, ("a.pdf", ROOT_TEXT)) == ["a.pdf", None, None, None]
    assert dropped(witness, ("a.zip", "PK\x03\x04")) == ["a.zip", None, None, None]
    assert dropped(witness, ("a", "LUOHU-REQUEST")) == ["a", None, None, None]


@needs_browser
def test_a_resident_brings_neither_root_nor_request_nor_a_second_document(witness: Page) -> None:
    for more in (
        ("trust.json", ROOT_TEXT),
        ("request.luohu", "LUOHU-REQUEST"),
        ("b.pdf", "x"),
        ("b.proof", "x"),
    ):
        assert dropped(witness, ("a.pdf", "x"), ("a.proof", "x"), more) == [None] * 4, more
        assert "ZIP" in witness.text_of_verdict() and ".proof" in witness.text_of_verdict()


@needs_browser
def test_files_that_look_exchanged_are_refused_by_the_page_too(witness: Page, tmp_path: Path) -> None:
    for element, content in (("document", HONEST.proof), ("proof", HONEST.document), ("trust", HONEST.trust)):
        (tmp_path / element).write_bytes(content)
        witness.choose_file(element, tmp_path / element)
    witness.click("#run")
    assert "files-exchanged" in witness.text_of_verdict()


@needs_browser
def test_nothing_leaves_the_page(witness: Page) -> None:
    attempts = """(async () => {
      const blocked = [];
      document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
      const image = new Image();
      image.src = "http://127.0.0.1:9/";
      document.body.append(image);
      const style = document.createElement("link");
      [style.rel, style.href] = ["stylesheet", "http://127.0.0.1:9/"];
      document.head.append(style);
      const fetched = await fetch("http://127.0.0.1:9/").then(() => "fetched", () => "refused");
      const beacon = navigator.sendBeacon("http://127.0.0.1:9/", "x");
      try { new WebSocket("ws://127.0.0.1:9/"); } catch {}
      await new Promise((done) => setTimeout(done, 50));
      return [fetched, [...new Set(blocked)].sort()];
    })()"""
    fetched, blocked = witness.run(attempts)
    assert fetched == "refused"
    assert {"connect-src", "img-src"} <= set(blocked)


@pytest.mark.slow
@needs_browser
def test_the_page_shows_texts_of_strangers_as_the_command_does(witness: Page) -> None:
    texts = [*TEXTS.values(), *(f"a{chr(number)}b" for number in range(0x2100))]
    shown = witness.run(f"{json.dumps(texts)}.map(visible)")
    # Which characters there are, browser and interpreter may know from different versions of Unicode.
    assigned = [text for text in texts if all(unicodedata.category(each) != "Cn" for each in text)]
    assert [dict(zip(texts, shown, strict=True))[text] for text in assigned] == [
        visible(text) for text in assigned
    ]
    problem = json.dumps(f"{FORGED_LINE}{BACKWARDS}{MARKUP}")
    told = witness.run(f"(show({{problem: {problem}}}), element('verdict').innerText)")
    assert raw_in_output(told) == [] and MARKUP in told and forged_in(told.split("\n")) == []


SETS = json.loads(make_sets.PATH.read_bytes())
SETS_ASKED = """
(async () => {
  const vectors = %s;
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const more = (count) => {
    const digests = new Uint8Array(32 * count).fill(255), view = new DataView(digests.buffer);
    for (let at = 0; at < count; at++) view.setUint32(32 * at + 28, 2 ** 32 - count + at);
    return digests;
  };
  const trust = await luohu.openTrust(new TextEncoder().encode(JSON.stringify(vectors.trust)));
  const request = luohu.openRequest(bytes(vectors.request)), answers = {};
  for (const { name, proof, shown, files, is_anchor_only: alone } of vectors.cases) {
    const parts = [bytes(shown.start), more(shown.more), bytes(shown.end)];
    try {
      const facts = await luohu.verifySet({
        trust, shown: new Uint8Array(await new Blob(parts).arrayBuffer()), proof: bytes(vectors.proofs[proof]),
        files: files.map((file) => [file.name, new Blob([bytes(file.content)])]), request: alone ? null : request,
        atMs: vectors.at_ms, maxAgeMs: vectors.max_age_ms,
      });
      answers[name] = facts.set;
    } catch (error) {
      const { step, code } = error;
      answers[name] = error instanceof luohu.Refused ? { step, code } : { crashed: `${error.stack}` };
    }
  }
  return answers;
})()
"""


@needs_browser
def test_the_page_answers_every_vector_of_sets_as_the_library_does(witness: Page) -> None:
    answers = witness.run(SETS_ASKED % json.dumps(SETS))
    expected = {case["name"]: case.get("set") or case["refused"] for case in SETS["cases"]}
    assert len(expected) > 50
    assert {name: found for name, found in answers.items() if found != expected[name]} == {}
    assert answers.keys() == expected.keys()


def altered_case(chance: random.Random) -> AskedSet:
    """Return a small set with its file, one of its files or a name changed at random."""
    asked = chance.choice([each for each in asked_sets() if len(each.shown) < 10_000])
    shown, files = asked.shown, list(asked.files)
    match chance.randrange(4):
        case 0:
            shown = changed(chance, [asked.shown, whole().encode()])
        case 1 if files:
            at = chance.randrange(len(files))
            files[at] = (files[at][0], changed(chance, [files[at][1]]))
        case 2:
            files = [each for each in (*files, *ALL) if chance.random() < 0.6]
        case _:
            letters = "aAbB1lIi0oO.-_ :/\uff21\uff0e\u00e9e\u0301\u9ed1\u9ed2\U00020000\u202e\x00"
            names = [
                "".join(chance.choices(letters, k=chance.randint(1, 3))) for _ in range(chance.randint(1, 3))
            ]
            entries = [entry_of(name.encode(), b"%d" % at, at) for at, name in enumerate(names)]
            made = issued(*entries)
            shown, files = made.encode(), [(f"{at}", b"%d" % at) for at in range(len(names))]
            return replace(asked, shown=shown, files=tuple(files), anchored=anchored(made.manifest))
    return replace(asked, shown=shown, files=tuple(files))


def answer_of_library(asked: AskedSet) -> Json:
    try:
        return set_to_json(make_sets.ask(asked), at_ms=0)["set"]
    except VerificationError as refused:
        return {"step": refused.step, "code": refused.code}


@pytest.mark.slow
@needs_browser
def test_the_page_answers_sets_that_were_altered_at_random_as_the_library_does(witness: Page) -> None:
    chance = random.Random("altered sets")
    asked = [replace(altered_case(chance), name=f"{number}") for number in range(400)]
    proofs = [*dict.fromkeys(each.anchored.proof_bytes for each in asked)]
    cases = [
        {
            "name": each.name,
            "proof": proofs.index(each.anchored.proof_bytes),
            "shown": {"start": base64.b64encode(each.shown).decode(), "more": 0, "end": ""},
            "files": [
                {"name": name, "content": base64.b64encode(content).decode()} for name, content in each.files
            ],
            "is_anchor_only": int(each.is_anchor_only),
        }
        for each in asked
    ]
    texts = [base64.b64encode(proof).decode() for proof in proofs]
    answers = witness.run(SETS_ASKED % json.dumps({**SETS, "proofs": texts, "cases": cases}))
    expected = {each.name: answer_of_library(each) for each in asked}
    assert {name: (found, expected[name]) for name, found in answers.items() if found != expected[name]} == {}
    told = {each.get("code", "verified") for each in expected.values() if isinstance(each, dict)}
    assert {
        "verified",
        "set-unfit",
        "set-malformed",
        "set-file-unknown",
        "set-name",
        "set-names-alike",
    } <= told


@pytest.mark.slow
@needs_browser
def test_the_page_reads_names_of_files_as_the_library_does(witness: Page) -> None:
    names = [
        f"{before}{chr(number)}{after}"
        for number in range(0x10000)
        for before, after in (("", "a"), ("a", ""))
    ]
    names = [name for name in names if not 0xD800 <= max(map(ord, name)) < 0xE000]
    names += [
        f"{name}{rest}"
        for name in ("con", "ＣＯＭ１", "LPT0", "Clock$", "nul ")
        for rest in ("", ".txt", "x")
    ]
    names += ["", "a" * 255, "a" * 256, "黑" * 85, "黑" * 86, "C：a", "𠀀a", "a\U0002a6df", "a\U0002a6e0"]
    told = witness.run(f"{json.dumps(names)}.map((name) => nameFault(name) !== null)")
    assert [
        name for name, fault in zip(names, told, strict=True) if fault is not bool(find_fault(name))
    ] == []
    table = witness.run("ALIKE")
    assert [(shown, alike) for shown, alike in table] == [*ALIKE]


@needs_browser
def test_the_form_takes_the_files_of_a_set(witness: Page, tmp_path: Path) -> None:
    case = next(case for case in SETS["cases"] if case["name"] == "set_shown_in_part")
    contents = {
        "document": base64.b64decode(case["shown"]["start"]),
        "proof": base64.b64decode(SETS["proofs"][case["proof"]]),
        "trust": json.dumps(SETS["trust"]).encode(),
        "request": base64.b64decode(SETS["request"]),
    }
    for element, content in contents.items():
        (tmp_path / element).write_bytes(content)
        witness.choose_file(element, tmp_path / element)
    listed = [
        f"new File([Uint8Array.from(atob({json.dumps(file['content'])}), (c) => c.charCodeAt(0))], {json.dumps(name)})"
        for file, name in zip(case["files"], (MARKUP, "two"), strict=True)
    ]
    chosen = f"""(() => {{
      const transfer = new DataTransfer();
      for (const file of [{", ".join(listed)}]) transfer.items.add(file);
      element("files").files = transfer.files;
    }})()"""
    witness.click("[data-language=en]")
    witness.run(chosen)
    set_clock(witness, SETS["at_ms"])
    told = ask_about(witness, SETS["at_ms"])
    assert "Verified" in told and "2 / 3" in told and "is the issuer's word" in told
    assert "slice-1.dcm" in told and MARKUP in told
    witness.click("[data-language=zh-Hant]")
    assert "以簽發機構所述為準" in witness.text_of_verdict()
    witness.run(chosen.replace(listed[0], "new File(['other'], 'other')"))
    told = ask_about(witness, SETS["at_ms"])
    assert "set-file-unknown" in told and SET_REFUSALS["set-file-unknown"].meaning.zh_hant in told


def test_the_policy_allows_this_script_and_nothing_else() -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', HTML)
    script, style = (re.search(rf"<{name}>(.*?)</{name}>", HTML, re.DOTALL) for name in ("script", "style"))
    assert policy and script and style
    hashed = [
        base64.b64encode(hashlib.sha256(part[1].encode()).digest()).decode() for part in (script, style)
    ]
    assert policy[1] == (
        f"default-src 'none'; script-src 'sha256-{hashed[0]}'; style-src 'sha256-{hashed[1]}'; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
    )
    assert HTML.count("<script") == HTML.count("<style") == 1
    assert not re.search(r"\bon[a-z]+=|\bsrc=|<link|https?:|\beval\b|innerHTML|fetch\(|import\(", HTML)


def test_the_page_has_a_sentence_in_three_languages_for_every_code() -> None:
    listed = HTML.partition("const REFUSALS = {")[2].partition("};")[0]
    steps = dict(
        re.findall(
            r"^  (\w+): (\{.*\}),$", HTML.partition("const NEXT_STEPS = {")[2].partition("};")[0], re.M
        )
    )
    told_by_the_page = REFUSALS | FILES_REFUSALS | CAUSES | SET_REFUSALS
    for code, refusal in told_by_the_page.items():
        (entry,) = re.findall(rf'^  "{code}": \[(\{{.*\}}), NEXT_STEPS\.(\w+)\],$', listed, re.MULTILINE)
        for told, sentence in ((entry[0], refusal.meaning), (steps[entry[1]], refusal.next_step)):
            texts = {"en": sentence.en, "zh-Hans": sentence.zh_hans, "zh-Hant": sentence.zh_hant}
            assert json.loads(told) == texts, code
    assert len(re.findall("NEXT_STEPS", listed)) == len(told_by_the_page)
