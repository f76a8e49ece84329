"""The letter, read back by the standard library as a receiving server would."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses, parsedate_to_datetime
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobs import addresses, emails, payloads, unsubscribing
from jobs.claims import Claim
from jobs.errors import Invalid, Transient
from workers.channels import letter, mime

JOB = UUID("01890a5d-ac96-774b-8cce-b302099a8057")
NOW = datetime(2026, 11, 22, 12, 30, 5, tzinfo=UTC)


def a_claim(type="email", *, attempt=1, provider=None, correlation_id="c-1", **fields):
    email = {"to": "ann@example.org", "subject": "Hello", "text": "Hi"}
    return Claim(
        job_id=JOB,
        token=7,
        dedupe_hash=bytes(16),
        type=type,
        payload=email | fields if type == "email" else fields,
        attempt=attempt,
        max_attempts=5,
        priority="default",
        provider=provider,
        correlation_id=correlation_id,
        claimed_at=NOW,
    )


def write(**fields):
    return letter.write(a_claim(**fields))


def as_received(body: bytes) -> bytes:
    """What a server keeps of the lines after DATA (RFC 5321 §4.5.2), checked as strict servers do."""
    assert body.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", body), "a bare CR or LF"
    assert b"\r\n.\r\n" not in body, "a premature end"
    lines = body.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


def parsed(body: bytes) -> EmailMessage:
    message = message_from_bytes(as_received(body), policy=policy.SMTP)
    for part in message.walk():
        assert not part.defects
        assert not [header for header in part.values() if header.defects]
    return message


def mailboxes(header) -> list[tuple[str, str]]:
    return [(address.display_name, address.addr_spec) for address in header.addresses]


def unix(text: str) -> str:
    """Text with the line ends, and the last line end, that every mail has."""
    text = re.sub(r"\r\n|\r|\n", "\n", text)
    return text if text.endswith("\n") else f"{text}\n"


def content(part) -> str:
    return part.get_payload(decode=True).decode().replace("\r\n", "\n")


# ── Envelope and headers ──────────────────────────────────────────────────────────────────────


def test_a_plain_email_is_exactly_these_lines():
    written = write(to="Ann Smith <ann@EXAMPLE.org>", headers={"X-Campaign": "spring"}, provider="main", attempt=5)

    assert replace(written, origin=None) == letter.Letter(
        provider="main",
        mail_from="no-reply@sendonce.example",
        recipients=("ann@example.org",),
        body=(
            b"From: Sendonce <no-reply@sendonce.example>\r\n"
            b"To: Ann Smith <ann@example.org>\r\n"
            b"Subject: Hello\r\n"
            b"Date: Sun, 22 Nov 2026 12:30:05 +0000\r\n"
            b"Message-ID: <01890a5d-ac96-774b-8cce-b302099a8057@sendonce.example>\r\n"
            b"X-Job-ID: 01890a5d-ac96-774b-8cce-b302099a8057\r\n"
            b"X-Correlation-ID: c-1\r\n"
            b"X-Campaign: spring\r\n"
            b"MIME-Version: 1.0\r\n"
            b'Content-Type: text/plain; charset="us-ascii"\r\n'
            b"Content-Transfer-Encoding: 7bit\r\n"
            b"\r\n"
            b"Hi\r\n"
        ),
        needs_smtputf8=False,
        eight_bit=False,
        message_id="<01890a5d-ac96-774b-8cce-b302099a8057@sendonce.example>",
        is_last_attempt=True,
    )


def test_bcc_is_on_the_envelope_and_nowhere_in_the_message():
    written = write(cc=["bob@example.org"], bcc=["Eve <eve@example.org>", "ann@example.org"])

    assert written.recipients == ("ann@example.org", "bob@example.org", "eve@example.org")
    assert b"eve" not in written.body.lower()
    assert b"bcc" not in written.body.lower()


def test_the_headers_keep_the_addresses_as_they_were_given():
    message = parsed(
        write(
            to=['"Smith, Ann" <ann@example.org>', "ann@example.org"],
            cc="Jörg Müller <j@münchen.de>",
            reply_to=["Help <help@example.org>"],
        ).body
    )

    assert mailboxes(message["To"]) == [("Smith, Ann", "ann@example.org"), ("", "ann@example.org")]
    assert mailboxes(message["Cc"]) == [("Jörg Müller", "j@xn--mnchen-3ya.de")]
    assert mailboxes(message["Reply-To"]) == [("Help", "help@example.org")]


def test_the_message_id_is_the_same_on_every_attempt_and_the_date_is_of_the_claim():
    first = letter.write(a_claim(attempt=1))
    second = letter.write(a_claim(attempt=2))

    assert first.message_id == second.message_id
    assert parsedate_to_datetime(parsed(first.body)["Date"]) == NOW


def test_the_message_id_is_of_the_senders_domain():
    written = write(**{"from": "Post <post@MÜNCHEN.de>"})

    assert written.mail_from == "post@xn--mnchen-3ya.de"
    assert written.message_id == f"<{JOB}@xn--mnchen-3ya.de>"


def test_a_local_part_beyond_ascii_asks_for_smtputf8_and_eight_bits():
    written = write(to="Jörg <jörg@example.org>")

    assert (written.needs_smtputf8, written.eight_bit) == (True, True)
    assert "<jörg@example.org>".encode() in as_received(written.body)


def test_a_local_part_beyond_ascii_in_bcc_asks_for_smtputf8_only():
    written = write(bcc="jörg@example.org")

    assert (written.needs_smtputf8, written.eight_bit) == (True, False)


@pytest.mark.parametrize(("given", "repeated"), [("a-1", "a-1"), ("a\r\nBcc: é x", "aBcc:x"), ("", None), ("é", None)])
def test_the_correlation_id_is_repeated_without_what_could_break_a_header(given, repeated):
    assert parsed(write(correlation_id=given).body)["X-Correlation-ID"] == repeated


def test_a_long_url_stays_readable_in_its_header():
    value = f"<mailto:stop@example.org>, <https://example.org/?{'a' * 700}=?>"
    written = write(headers={"List-Unsubscribe": value})

    assert value.encode() in written.body.replace(b"\r\n ", b" ")


def test_fifty_recipients_with_long_foreign_names_keep_their_commas():
    given = [f"Ärzte, Müller, & Söhne Nr. {number} GmbH <m{number}@example.org>" for number in range(50)]
    quoted = [re.sub(r"(.*) <", r'"\1" <', address) for address in given]

    received = mailboxes(parsed(write(to=quoted).body)["To"])

    assert [f"{name} <{spec}>" for name, spec in received] == given


# ── Content ───────────────────────────────────────────────────────────────────────────────────


def test_text_and_html_are_alternatives_with_the_richer_one_last():
    message = parsed(write(text="Hé\n", html="<p>Hé</p>").body)

    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_attachments_stand_beside_the_message():
    file = {"filename": "Übersicht.pdf", "content_type": "application/pdf", "content_base64": "JVBERi0="}
    invitation = {
        "filename": "i.ics",
        "content_type": 'text/calendar; method=REQUEST; x="a b"',
        "content_base64": "QUJD",
    }

    message = parsed(write(html="<p>Hi</p>", attachments=[file, invitation]).body)
    pdf, ics = message.iter_attachments()

    assert message.get_content_type() == "multipart/mixed"
    assert content(message.get_body(("plain",))) == "Hi\n"
    assert content(message.get_body(("html",))) == "<p>Hi</p>\n"
    assert (pdf.get_content_type(), pdf.get_filename(), pdf.get_content()) == (
        "application/pdf",
        "Übersicht.pdf",
        b"%PDF-",
    )
    assert (ics.get_content_type(), ics.get_param("method"), ics.get_param("x")) == ("text/calendar", "REQUEST", "a b")


@pytest.mark.parametrize("text", [".", "..", ".\n.\n", "a\n.\nb", "a\r.\rb", "a\r\n.\r\nQUIT\r\n", "\n.", "é\n.\n" * 9])
def test_a_lone_dot_does_not_end_the_letter(text):
    assert content(parsed(write(text=text).body)) == unix(text)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("x" * 997, "7bit"),
        ("x" * 998, "quoted-printable"),
        ("a form\x0cfeed", "quoted-printable"),
        ("Grüße aus München, " * 9, "quoted-printable"),
        ("漢字", "base64"),
        ("Привет, мир", "base64"),
    ],
)
def test_latin_text_stays_legible_within_seven_bits_and_other_scripts_travel_in_base64(text, encoding):
    written = write(text=text)
    message = parsed(written.body)

    assert message["Content-Transfer-Encoding"] == encoding
    assert content(message) == unix(text)
    assert not written.eight_bit


# ── What cannot be written ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "fax"},
        {"to": 1},
        {"to": []},
        {"to": "ann"},
        {"to": "ann@example.org\r\nBcc: eve@example.org"},
        {"from": "x\n"},
        {"subject": "a\r\nBcc: eve@example.org"},
        {"subject": "é\nBcc: eve@example.org"},
        {"subject": "a\u2028b"},
        {"headers": {"X\r\nBcc": "a"}},
        {"headers": {"X-Foo": "a\r\n\r\n<script>"}},
        {"headers": {"": "a"}},
        {"text": ""},
        {"attachments": [{"filename": 'a"\r\nX: y', "content_base64": ""}]},
        {"attachments": [{"filename": "a", "content_base64": "%"}]},
        {"attachments": [{"filename": "a", "content_base64": "", "content_type": "a/b\r\nX: y"}]},
        {"attachments": [{"filename": "a", "content_base64": "", "content_type": "a/é"}]},
        {"type": "welcome_email", "email": "ann", "name": "Ann"},
        {"type": "welcome_email", "email": "ann@example.org", "name": "Ann\r\nBcc: eve@example.org"},
        {"type": "welcome_email", "email": "ann@example.org"},
    ],
)
def test_a_payload_that_cannot_be_written_is_invalid_for_good(fields):
    with pytest.raises(Invalid) as caught:
        write(**fields)

    assert caught.value.kind == "invalid"


def test_a_misconfigured_default_sender_does_not_cost_the_job(settings):
    settings.DEFAULT_FROM_EMAIL = "nobody"

    with pytest.raises(ImproperlyConfigured):
        write()


# ── Welcome ───────────────────────────────────────────────────────────────────────────────────


def test_a_welcome_greets_by_name_in_both_versions():
    written = write(type="welcome_email", email="ann@example.org", name="Änn O'Hara")
    message = parsed(written.body)

    assert written.recipients == ("ann@example.org",)
    assert mailboxes(message["To"]) == [("Änn O'Hara", "ann@example.org")]
    assert message["Subject"] == "Welcome, Änn O'Hara!"
    assert "Welcome, Änn O'Hara!" in message.get_body(("plain",)).get_content()
    assert "Welcome, Änn O&#x27;Hara!" in message.get_body(("html",)).get_content()


def test_a_name_is_text_and_never_markup_or_template():
    name = "<b>{{ email }}</b>{% now 'Y' %}"
    message = parsed(write(type="welcome_email", email="ann@example.org", name=name).body)
    html = message.get_body(("html",)).get_content()

    assert message["Subject"] == f"Welcome, {name}!"
    assert f"Welcome, {name}!" in message.get_body(("plain",)).get_content()
    assert "&lt;b&gt;{{ email }}&lt;/b&gt;{% now &#x27;Y&#x27; %}" in html
    assert "<b>" not in html


def test_the_welcome_loads_nothing_from_outside():
    html = parsed(write(type="welcome_email", email="ann@example.org", name="Ann").body).get_body(("html",))

    assert not re.search(r"<img|<link|<script|url\(|\bsrc=|\bhref=", html.get_content())


# ── For any input ─────────────────────────────────────────────────────────────────────────────

LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=150)
SUBJECTS = (
    st.just("=?utf-8?q?a?=")
    | LINES.filter(str.strip)
    | st.text("aéqb ,=?_\"'", min_size=1, max_size=300).filter(str.strip)
)
BODIES = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text(".\r\n =aé\t", max_size=2000)
DISPLAY_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]) | st.sampled_from(',;@<>()"\\=?. é'),
    max_size=100,
)
SPECS = st.sampled_from(
    ["ann@example.org", "a.b+c@mail.test", "j@münchen.de", "x" * 60 + "@" + "y" * 60 + ".example.org"]
)
FILENAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="/\\"), min_size=1
).filter(lambda name: name == name.strip())  # the parser strips


@st.composite
def mailboxes_with_names(draw):
    quoted = draw(DISPLAY_NAMES).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{draw(SPECS)}>'


@given(subject=SUBJECTS, value=SUBJECTS)
def test_any_subject_and_header_arrives_as_it_was_written(subject, value):
    message = parsed(write(subject=subject, headers={"X-Note": value}).body)

    assert str(message["Subject"]) == subject
    assert str(message["X-Note"]) == value.strip(" ")
    assert len(message.keys()) == len(set(message.keys()))


@given(st.lists(mailboxes_with_names(), min_size=1, max_size=12))
def test_any_names_and_addresses_arrive_as_they_were_written(given):
    written = write(to=given)
    expected = addresses.parse_many(given)

    # The newer parser puts spaces between encoded words of a name, which RFC 2047 §6.2 forbids; the older does not.
    header = message_from_bytes(as_received(written.body))["To"]
    received = [(str(make_header(decode_header(name))), spec) for name, spec in getaddresses([header])]

    assert received == [(address.name, address.spec) for address in expected]
    assert [spec for _, spec in mailboxes(parsed(written.body)["To"])] == [address.spec for address in expected]
    assert list(written.recipients) == emails.recipients(payloads.from_stored("email", a_claim(to=given).payload))


@given(text=BODIES.filter(bool), html=BODIES, files=st.lists(st.tuples(FILENAMES, st.binary(max_size=300)), max_size=3))
def test_any_content_arrives_as_it_was_written(text, html, files):
    attachments = [{"filename": name, "content_base64": base64.b64encode(content).decode()} for name, content in files]

    written = write(text=text, html=html, attachments=attachments)
    message = parsed(written.body)
    texts = [part for part in message.walk() if part.get_content_maintype() == "text"]

    assert [content(part) for part in texts] == [unix(each) for each in (text, html) if each]
    received = [part for part in message.walk() if part.get_content_disposition() == "attachment"]
    assert [(part.get_filename(), part.get_payload(decode=True)) for part in received] == files
    assert not written.eight_bit


ANYTHING = st.text(st.characters(codec=None)) | st.text("a\r\n.:é <>@\0", max_size=20)


@given(subject=ANYTHING, name=ANYTHING, value=ANYTHING, to=ANYTHING, filename=ANYTHING, kind=ANYTHING)
def test_whatever_is_stored_no_header_can_be_injected(subject, name, value, to, filename, kind):
    ours = {"from", "to", "subject", "date", "message-id", "x-job-id", "x-correlation-id", "mime-version"}
    ours |= {"content-type", "content-transfer-encoding", "content-disposition"}
    for fields in (
        {"subject": subject},
        {"headers": {name: "x"}},
        {"headers": {"X-Note": value}},
        {"to": f"{to} <ann@example.org>"},
        {"attachments": [{"filename": filename, "content_type": kind, "content_base64": ""}]},
    ):
        try:
            received = as_received(write(**fields).body)
        except Invalid:
            continue
        parts = list(message_from_bytes(received).walk())
        names = {key.lower() for part in parts for key in part}
        assert names <= ours | {key.lower() for key in fields.get("headers", {})}
        assert next(part.get_payload() for part in parts if part.get_content_type() == "text/plain").strip() == "Hi"


def test_a_word_too_long_for_a_line_is_refused_rather_than_broken():
    with pytest.raises(ValueError, match="does not fit"):
        mime.attachment_part("f" * 999, "a/b", b"")


# ── Asking about it afterwards ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "claim",
    [
        a_claim(),
        a_claim(**{"from": "Ann <ann@пример.рф>"}),
        a_claim("welcome_email", email="ann@example.org", name="Ann"),
    ],
)
def test_who_asks_about_a_letter_asks_by_the_id_it_went_out_with(claim):
    assert letter.message_id_of(claim) == letter.write(claim).message_id


def test_what_is_no_email_has_no_id_to_ask_by():
    with pytest.raises(Invalid):
        letter.message_id_of(a_claim("fax"))


# ── The short way writes what the long one writes ─────────────────────────────────────────────

ANYTHING = st.text(st.characters(codec="utf-8"), max_size=90)
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)


@given(name=st.sampled_from(["Subject", "X-Campaign", "X-" + "a" * 60]), value=ANYTHING | PRINTABLE)
def test_a_header_of_free_text_is_the_same_by_either_way(name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mime, "_VISIBLE", re.compile("(?!)"))
        long_way = _written(lambda: mime.unstructured(name, value))

    assert _written(lambda: mime.unstructured(name, value)) == long_way


@given(local=st.text("abcé.-+", min_size=1, max_size=60).filter(lambda text: ".." not in text))
def test_a_header_of_one_bare_address_is_the_same_by_either_way(local):
    address = addresses.Address(name="", local=local, domain="example.org")

    assert mime.address_list("To", [address]) == mime._folded("To", mime._mailbox_chunks(address))


def _written(write):
    try:
        return write()
    except ValueError as error:
        return str(error)


# ── Suppressed, and unsubscribed ──────────────────────────────────────────────────────────────


def test_who_is_suppressed_is_left_out_of_the_envelope_and_not_of_the_authors_headers():
    claim = a_claim(to=["Ann <Ann@example.org>", "bob@example.org"], cc="cid@example.org", bcc="dan@example.org")

    written = letter.write(replace(claim, suppressed=("Ann@example.org", "dan@example.org")))

    assert written.recipients == ("bob@example.org", "cid@example.org")
    assert mailboxes(parsed(written.body)["To"]) == [("Ann", "Ann@example.org"), ("", "bob@example.org")]


def test_a_letter_to_nobody_is_not_written():
    with pytest.raises(Invalid, match="no recipient"):
        letter.write(replace(a_claim(), suppressed=("ann@example.org",)))


@pytest.mark.parametrize("type", ["email", "templated_email"])
def test_a_mail_that_offers_it_says_where_its_reader_unsubscribes_with_one_click(tunables, type):
    tunables(public_url="https://mail.example.org/")
    written_by = {"subject": "Hello", "text": "Hi", "template": {"name": "t", "version": 1}} if type != "email" else {}
    claim = a_claim(type, **{"to": "Ann@example.org", "unsubscribe": {"topic": "news"}} | written_by)

    message = parsed(letter.write(replace(claim, owner_id=7)).body)

    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = message["List-Unsubscribe"]
    assert link.startswith("<https://mail.example.org/unsubscribe/")
    assert unsubscribing.read(link[1:-1].rpartition("/")[2]) == (7, "Ann@example.org", "news", JOB)


def test_a_mail_that_offers_nothing_has_no_such_headers(tunables):
    tunables(public_url="https://mail.example.org/")

    assert b"unsubscribe" not in write().body.lower()


def test_the_longest_link_fits_on_its_line(tunables):
    tunables(public_url=f"https://mail.example.org/{'x' * 170}")
    address = f"{'a' * 64}@{'.'.join(['b' * 61] * 3)}.org"
    claim = a_claim(to=address, unsubscribe={"topic": "t" * 100})

    message = parsed(letter.write(replace(claim, owner_id=2**31 - 1)).body)

    assert unsubscribing.read(message["List-Unsubscribe"][1:-1].rpartition("/")[2]).address == address


def test_a_worker_that_does_not_know_where_readers_reach_it_tries_again_and_says_so():
    with pytest.raises(Transient, match="PUBLIC_URL"):
        write(unsubscribe={})
