"""A mail that a stored template writes, from its template to the recipient's server."""

from __future__ import annotations

from email import message_from_bytes, policy

import psutil
import pytest

pytestmark = pytest.mark.slow

TEMPLATE = {
    "name": "order-shipped",
    "subject": "Order {{ order.id }} is on its way",
    "html": "<html><head><style>li { color: green }</style></head><body><p>Dear {{ name }},</p><ul>"
    "{% for line in order.lines %}<li>{{ line.title }}</li>{% endfor %}</ul></body></html>",
}
VARIABLES = {"name": "<Ann>", "order": {"id": 4711, "lines": [{"title": "A lamp"}, {"title": "Øl & brød"}]}}


def test_it_arrives_as_written(platform, smtp):
    platform.env |= {"SIGNUP_OPEN": "true"}
    platform.start_worker()
    platform.start_scheduler()
    api, client = platform.start_api()
    answer = client.post("/signup", json={"username": "shop", "password": "correct horse battery"})
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    assert client.post("/templates", json=TEMPLATE).status_code == 201
    body = {
        "type": "templated_email",
        "payload": {"to": "bob@example.com", "template": "order-shipped", "variables": VARIABLES},
    }
    accepted = client.post("/jobs", json=body | {"delay_seconds": 0.5})
    client.post("/templates/order-shipped/versions", json={"subject": "Another", "text": "Another"})
    where = accepted.headers["Location"]
    job = platform.until(lambda: (read := client.get(where).json())["status"] == "completed" and read)

    mail = message_from_bytes(smtp.accepted[0].body, policy=policy.default)
    html, text = mail.get_body(("html",)).get_content(), mail.get_body(("plain",)).get_content()
    assert smtp.accepted[0].recipients == ("bob@example.com",)
    assert mail["Subject"] == "Order 4711 is on its way"
    assert "Dear &lt;Ann&gt;," in html
    assert '<li style="color: green;">Øl &amp; brød</li>' in html
    assert [line.strip() for line in text.splitlines() if line.strip()] == ["Dear <Ann>,", "* A lamp", "* Øl & brød"]
    assert job["payload"]["template"] == {"name": "order-shipped", "version": 1}
    platform.assert_books_balance()

    presses = psutil.Process(api.pid).children(recursive=True)
    assert presses
    api.ask_to_stop()
    platform.until(lambda: not any(press.is_running() for press in presses))
