"""What templates become, and that whatever a stranger writes comes to an end."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from jobs import press
from jobs.prints import MOST_SOURCE_CHARACTERS, Order, Path, Print, Sources

STYLED = "<style>p { color: red } @media (max-width: 9em) { p { color: blue } }</style>"


def filled(variables: dict | None = None, *, subject: str = "s", **sources: str) -> Print:
    order = Order(sources=Sources(subject=subject, **sources), variables=variables or {})
    (made,) = press.fill([order])
    return made


def needs(source: str) -> dict[str, bool]:
    found = press.inspect(Sources(subject="s", html=source))
    assert not found.flaws
    return {need.name: need.required for need in found.needs}


def wrong(**sources: str) -> list[tuple[str, int | None, str]]:
    found = press.inspect(Sources(**{"subject": "s"} | sources))
    return [(flaw.field, flaw.line, flaw.message) for flaw in found.flaws]


# ── What it makes ─────────────────────────────────────────────────────────────────────────────


def test_html_is_escaped_and_subject_and_text_are_not():
    made = filled({"name": "<b>Ann & Bob</b>"}, subject="{{ name }}", text="{{ name }}", html="<p>{{ name }}</p>")

    assert made == Print(
        subject="<b>Ann & Bob</b>",
        text="<b>Ann & Bob</b>",
        html="<p>&lt;b&gt;Ann &amp; Bob&lt;/b&gt;</p>",
    )


@pytest.mark.parametrize(
    "filters",
    [
        *("append: 'x'", "prepend: 'x'", "upcase", "downcase", "capitalize", "strip", "squish", "strip_newlines"),
        *("replace: 'q', 'x'", "replace_first: 'q', '<'", "remove: 'q'", "truncate: 200", "truncatewords: 99"),
        *("newline_to_br", "escape", "escape_once", "strip_html", "split: ' ' | join: ' '", "split: ' ' | first"),
        *("default: 'x'", "url_encode", "url_encode | url_decode", "base64_encode | base64_decode", "escapejs"),
        *("date: '%Y'", "slice: 0, 99", "split: ' ' | reverse | join: ' '", "append: name", "prepend: name"),
    ],
)
def test_no_filter_lets_markup_out_of_a_variable(filters):
    made = filled({"name": "<script>alert(1)</script> q"}, html=f"<p>{{{{ name | {filters} }}}}</p>")

    assert made.html
    assert "<script" not in made.html.lower()


def test_captured_and_assigned_values_are_escaped_once():
    html = "{% capture a %}<i>{{ v }}</i>{% endcapture %}{{ a }}{% assign b = v %}{{ b }}"

    assert filled({"v": "<&>"}, html=html).html == "<i>&lt;&amp;&gt;</i>&lt;&amp;&gt;"


def test_css_goes_to_the_elements_and_what_cannot_stays():
    made = filled(html=f"<html><head>{STYLED}</head><body><p>Hi</p></body></html>")

    assert made.html
    assert '<p style="color: red;">Hi</p>' in made.html
    assert "@media (max-width: 9em)" in made.html


def test_html_without_styles_stays_as_it_is():
    assert filled(html="<p>Hi<br>there").html == "<p>Hi<br>there"


def test_a_missing_text_is_made_from_the_html_with_its_links():
    made = filled({"n": 7}, html=f"{STYLED}<h1>Order {{{{ n }}}}</h1><p>See <a href='https://x.example/7'>it</a></p>")

    assert made.text
    assert [line for line in made.text.splitlines() if line.strip()] == ["Order 7", "See [it](https://x.example/7)"]


def test_a_text_that_is_given_stays():
    assert filled(text="Plain", html="<p>Rich</p>").text == "Plain"


def test_nothing_is_fetched_from_the_network_or_from_disk(tmp_path):
    secret = tmp_path / "secret.css"
    secret.write_text("p { content: 'hidden' }")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.css"
        links = "".join(f"<link rel=stylesheet href='{href}'>" for href in (url, f"file://{secret}", str(secret)))
        made = filled(html=f"{links}<style>@import url({url}); p {{ color: red }}</style><img src='{url}'><p>Hi</p>")

        with pytest.raises(TimeoutError):
            server.accept()
    assert made.html
    assert "hidden" not in made.html


# ── What it needs ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("{{ name }}", {"name": True}),
        ("{{ order.id }}{{ order.rows[0].sku }}", {"order.id": True, "order.rows[0].sku": True}),
        ("{% for row in order.rows %}{{ row.sku }}{{ forloop.index }}{% endfor %}", {"order.rows": True}),
        ("{{ rows.size }}{{ rows.first.sku }}", {"rows": True}),
        ("{{ rows[place].sku }}", {"place": True, "rows": True}),
        ("{% assign x = y %}{{ x }}", {"y": True}),
        ("{% if note %}{{ note }}{% endif %}", {"note": False}),
        ("{% if a and b.c or d %}x{% endif %}", {"a": False, "b.c": False, "d": False}),
        ("{% unless a %}x{% elsif b %}y{% endunless %}", {"a": False, "b": False}),
        ("{% if a == 'x' %}x{% endif %}", {"a": True}),
        ("{{ a | default: 'x' }}{{ b | upcase }}", {"a": False, "b": True}),
        ("{{ 'now' | date: '%Y' }}{{ now | date: '%Y' }}", {}),
        ("{% comment %}{{ x }}{% endcomment %}{% raw %}{{ y }}{% endraw %}", {}),
    ],
)
def test_the_variables_of_a_template_are_found(source, wanted):
    assert needs(source) == wanted


def test_what_a_template_minds_itself_may_be_absent():
    html = "{% if note %}{{ note }}{% endif %}{{ name | default: 'you' }}{% unless paid %}!{% endunless %}"

    assert filled(html=html).html == "you!"


@pytest.mark.parametrize(
    ("source", "line", "word"),
    [
        ("{{ a", 1, "expected"),
        ("x\n\n{% if %}x{% endif %}", 3, "missing expression"),
        ("x\n{% nonsense %}", 2, "nonsense"),
        ("x\n{{ a | nonsense }}", 2, "unknown filter 'nonsense'"),
        ("{% if a %}{{ a | nonsense }}{% endif %}", 1, "unknown filter"),
        ("{% include 'x' %}", 1, "include"),
        ("\n{% render '/etc/passwd' %}", 2, "render"),
        ("{% for a in b %}", None, "endfor"),
        ("{{ a" + "[a" * 20_000 + "]" * 20_000 + "}}", None, "nested too deeply"),
        ("{% if " + "a and " * 20_000 + "a %}{% endif %}", None, "nested too deeply"),
        ("{% if a %}" * 3_000 + "{% endif %}" * 3_000, 1, "nesting limit"),
    ],
)
def test_what_is_wrong_with_sources_is_told_by_field_and_line(source, line, word):
    ((field, found_line, message),) = wrong(html=source)

    assert (field, found_line) == ("html", line)
    assert word in message


def test_every_field_that_is_wrong_is_named():
    assert [field for field, _, _ in wrong(subject="{{", text="{% if %}", html="{{ a | x }}")] == [
        *("subject", "text", "html")
    ]


def test_a_variable_that_is_missing_in_a_loop_is_named_with_its_line():
    (flaw,) = filled({"rows": [{}]}, text="a\n{% for row in rows %}{{ row.sku }}{% endfor %}").flaws

    assert flaw.is_of_variables
    assert flaw.sentence == "line 2: row.sku is undefined."


# ── Nasty ones ────────────────────────────────────────────────────────────────────────────────

LOOP = "{% for a in (1..10000) %}"
TOO_MUCH = ("too much memory", "longer than")  # whichever limit is met first
NASTY = {
    "nested loops": (
        "text",
        "{% for a in (1..9999) %}{% for b in (1..9999) %}x{% endfor %}{% endfor %}",
        "10000 times",
    ),
    "a long table": ("html", "{% tablerow a in (1..99999999) %}{% endtablerow %}", "10000 times"),
    "loops in a row": ("text", (LOOP + "{% assign x = a | times: 2 | plus: 3 %}{% endfor %}") * 1_000, "longer than"),
    "much output": ("text", LOOP + "x" * 1_000 + "{% endfor %}", "524288 bytes"),
    "captures of captures": (
        "text",
        "{% capture s %}xxxxxxxx{% endcapture %}"
        "{% for a in (1..64) %}{% capture s %}{{ s }}{{ s }}{% endcapture %}{% endfor %}",
        "524288 bytes",
    ),
    "doubling": (
        "text",
        "{% assign s = 'xxxxxxxx' %}{% for a in (1..64) %}{% assign s = s | append: s %}{% endfor %}",
        "1048576 bytes",
    ),
    "squares": (
        "text",
        "{% assign n = 99999999 %}{% for a in (1..64) %}{% assign n = n | times: n %}{% endfor %}",
        ("1048576 bytes", "longer than"),
    ),
    "replacing each by all": ("text", "{{ s " + "| replace: 'a', s " * 8 + "}}", TOO_MUCH),
    "a list without end": ("text", "{{ (1..9999999999) | reverse | first }}", TOO_MUCH),
    "a list without end, joined": ("text", "{{ (1..9999999999) | join: '' }}", TOO_MUCH),
    "elements in elements": ("html", STYLED + LOOP + "<div>" * 6 + "{% endfor %}", ("longer than", "breaks")),
    "a date beyond all": ("text", "{{ '99999999999999999999' | date: '%Y' }}", "OverflowError"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("field", "source", "words"), NASTY.values(), ids=NASTY)
def test_a_nasty_template_ends_and_the_next_one_is_served(field, source, words):
    assert len(source) <= MOST_SOURCE_CHARACTERS
    filled(text="warm")
    started = time.monotonic()

    made = filled({"s": "a" * 5_000}, **{field: source})

    (flaw,) = made.flaws
    assert any(word in flaw.message for word in ([words] if isinstance(words, str) else words))
    assert time.monotonic() - started < press.LIMIT_SECONDS * 2
    assert filled({"n": 1}, text="still {{ n }}").text == "still 1"


@pytest.mark.slow
def test_a_nasty_template_holds_up_nobody_else():
    filled(text="warm")
    source = NASTY["loops in a row"][1]
    with ThreadPoolExecutor(1) as pool:
        nasty = pool.submit(filled, text=source)
        served = 0
        while not nasty.done():
            assert filled({"n": served}, text="{{ n }}").text == str(served)
            served += 1

    assert served > 10
    assert nasty.result().flaws


def test_one_that_fails_stands_in_no_others_way():
    divides = Sources(subject="s", text="{{ n | divided_by: d }}")

    made = press.fill([Order(sources=divides, variables={"n": 6, "d": d}) for d in (2, 0, 3)])

    assert [(one.text, bool(one.flaws)) for one in made] == [("3", False), (None, True), ("2", False)]


def test_many_threads_may_print_at_once():
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: filled({"n": n}, text="{{ n }}").text, range(100)))

    assert made == [str(n) for n in range(100)]


def test_closing_ends_the_processes_and_the_next_template_gets_new_ones():
    def under_way() -> set[int]:
        mine = psutil.Process().children(recursive=True)
        return {child.pid for child in mine if "forkserver" in " ".join(child.cmdline())}

    filled(text="x")
    before = under_way()
    press.close()
    left = under_way()

    assert len(before) - len(left) == press.COUNT
    assert filled(text="x").text == "x"
    assert threading.active_count() < 50


def test_processes_that_were_killed_while_they_had_nothing_to_do_are_replaced():
    filled(text="x")
    for child in psutil.Process().children(recursive=True):
        if "forkserver" in " ".join(child.cmdline()) and child.children() == [] and child.ppid() != os.getpid():
            child.kill()
            child.wait(10)

    assert [filled({"n": n}, text="{{ n }}").text for n in range(10)] == [str(n) for n in range(10)]


def test_a_path_is_shown_as_it_is_written():
    path: Path = ("order", "rows", 0, "sku")

    assert [need.path for need in press.inspect(Sources(subject="{{ order.rows[0].sku }}")).needs] == [path]
