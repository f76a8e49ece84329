import pytest

VIEW = "health_live"


@pytest.mark.parametrize(("path", "view", "status"), [("/health/live", VIEW, "200"), ("/jobs", "jobs", "401")])
def test_a_request_is_counted_with_its_view_its_method_and_its_answer(client, moved, path, view, status):
    client.get(path)

    assert moved("django_http_requests_before_middlewares_total") == 1
    assert moved("django_http_requests_total_by_method_total", method="GET") == 1
    by_view = {"view": view, "transport": "http", "method": "GET"}
    assert moved("django_http_requests_total_by_view_transport_method_total", **by_view) == 1
    assert moved("django_http_responses_total_by_status_view_method_total", status=status, view=view, method="GET") == 1
    assert moved("django_http_requests_latency_seconds_by_view_method_count", view=view, method="GET") == 1


def test_what_a_client_makes_up_becomes_no_label(client, moved):
    client.generic("BREW", "/no/such/view")

    made_up = {"status": "404", "method": "<invalid method>"}
    moved_by = sum(
        moved("django_http_responses_total_by_status_view_method_total", view=view, **made_up)
        for view in ("<unnamed view>", "scheduler.urls.unknown")
    )
    assert moved_by == 1
