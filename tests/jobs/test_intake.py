import pytest

from jobs import intake, queue, redis_session, requests
from jobs.errors import KeyReused
from jobs.models import Job
from jobs.states import Status

BODY = {"email": "ann@example.org", "name": "Ann"}


@pytest.fixture
def owner_id(make_user):
    return make_user().id


def accept(body, owner_id, key=None):
    return intake.accept(requests.read(body, idempotency_key=key), owner_id=owner_id, correlation_id="c")


def test_the_row_is_there_before_the_bell_rings(owner_id, monkeypatch):
    seen = []
    monkeypatch.setattr(
        queue, "announce", lambda waiting, **_: seen.extend(Job.objects.get(id=w.job_id).status for w in waiting)
    )

    accept(BODY, owner_id)

    assert seen == ["queued"]


def test_a_job_is_accepted_while_redis_is_away(owner_id, monkeypatch):
    class Away:
        def __getattr__(self, name):
            raise queue.Away

    monkeypatch.setattr(redis_session, "server", Away)

    first = accept(BODY, owner_id, key="k")
    again = accept(BODY, owner_id, key="k")

    assert Job.objects.get().id == first.job_id == again.job_id
    assert (first.is_replay, again.is_replay) == (False, True)


def test_a_lie_of_redis_about_a_key_makes_no_false_replay(owner_id, make_user, monkeypatch):
    """Redis may be rolled back, or name the job of somebody else: the row decides (PROTOCOL trace 19)."""
    theirs = accept(BODY, make_user().id, key="k")
    monkeypatch.setattr(queue, "recall_keys", lambda keys: dict.fromkeys(keys, theirs.job_id))

    mine = accept(BODY, owner_id, key="k")

    assert not mine.is_replay
    assert mine.job_id != theirs.job_id


def test_a_key_whose_window_closed_is_free_again(owner_id):
    first = accept(BODY, owner_id, key="k")
    Job.objects.update(idempotency_open=False)

    second = accept(BODY | {"name": "Bob"}, owner_id, key="k")

    assert (second.is_replay, second.job_id != first.job_id) == (False, True)


def test_a_window_that_closes_between_two_looks_is_no_riddle(owner_id, monkeypatch):
    """The insert met the open key, the look at its row did not find it any more: the insert is tried again."""
    insert = intake.acceptance.accept
    nothing = [{}]
    monkeypatch.setattr(
        intake.acceptance, "accept", lambda jobs, **common: nothing.pop() if nothing else insert(jobs, **common)
    )

    assert not accept(BODY, owner_id, key="k").is_replay


def test_the_order_of_members_makes_no_other_body(owner_id):
    accept({"email": "ann@example.org", "name": "Ann"}, owner_id, key="k")

    assert accept({"name": "Ann", "email": "ann@example.org"}, owner_id, key="k").is_replay


def test_another_body_is_refused_whether_redis_or_the_row_remembers(owner_id, monkeypatch):
    accept(BODY, owner_id, key="k")

    with pytest.raises(KeyReused):
        accept(BODY | {"name": "Bob"}, owner_id, key="k")
    monkeypatch.setattr(queue, "recall_keys", lambda keys: {})
    with pytest.raises(KeyReused):
        accept(BODY | {"name": "Bob"}, owner_id, key="k")


def test_a_scheduled_job_waits_without_a_bell(owner_id, monkeypatch):
    rung = []
    monkeypatch.setattr(queue, "announce", lambda waiting, **_: rung.extend(waiting))

    assert accept(BODY | {"delay_seconds": 3600}, owner_id).status is Status.SCHEDULED
    assert rung == []


def hash_of(answer):
    return bytes(Job.objects.get(id=answer.job_id).dedupe_hash)


def test_welcome_emails_to_the_same_person_compete_for_one_delivery(owner_id, make_user):
    first, again = accept(BODY, owner_id), accept(BODY | {"email": "ann@EXAMPLE.org"}, owner_id)
    namesake = accept(BODY | {"email": "Ann@example.org"}, owner_id)  # a local part may mean case (RFC 5321 §2.4)
    other, theirs = accept(BODY | {"name": "Anna"}, owner_id), accept(BODY, make_user().id)

    assert hash_of(first) == hash_of(again)
    assert len({hash_of(first), hash_of(namesake), hash_of(other), hash_of(theirs)}) == 4


def test_a_job_without_any_key_competes_with_nobody(owner_id):
    body = {"type": "email", "payload": {"to": "ann@example.org", "subject": "Hi", "text": "Hi"}}

    alone = accept(body, owner_id)
    assert hash_of(alone) == alone.job_id.bytes != hash_of(accept(body, owner_id))
    keyed = accept(body, owner_id, key="k")
    named = accept(body | {"dedupe_key": "k"}, owner_id)
    assert hash_of(keyed) == hash_of(named)
