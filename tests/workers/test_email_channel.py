"""The email channel: from parcel to receipt."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ImproperlyConfigured

from jobs import errors
from jobs.claims import Claim
from jobs.conf import tunables
from scheduler.embedded.faulty_smtp import ACCEPT_THEN_DROP, FaultySmtp, Mail
from tests.workers.letters import BODY, letter
from workers.channels import registry
from workers.channels.base import Refusal
from workers.channels.email import EmailChannel
from workers.channels.letter import Letter
from workers.providers import Endpoint


def a_channel(**ports: int) -> EmailChannel:
    limits = replace(tunables(), connect_timeout_seconds=5, command_timeout_seconds=5, dot_timeout_seconds=5)
    return EmailChannel({alias: Endpoint(alias, "127.0.0.1", port) for alias, port in ports.items()}, limits)


async def send(channel, parcel):
    async with channel.connect(parcel, channel.routes(parcel)[0]) as line:
        await line.offer(parcel)
        return await line.commit()


def test_a_parcel_becomes_a_receipt():
    async def trip():
        async with FaultySmtp() as server:
            channel = a_channel(main=server.port)
            server.rcpt_answers["bob@example.com"] = "550 5.1.1 Unknown"
            receipt = await send(channel, letter(recipients=("ann@example.com", "bob@example.com")))
            await channel.close()

            assert (receipt.provider, receipt.code, receipt.detail) == ("main", 250, "2.0.0 Queued as 1")
            assert receipt.message_id == "<1@sendonce.example>"
            assert receipt.accepted == ("ann@example.com",)
            assert receipt.refused == (Refusal("bob@example.com", 550, "5.1.1 Unknown"),)
            assert server.accepted == [Mail("shop@sendonce.example", ("ann@example.com",), BODY)]

    asyncio.run(trip())


def test_a_parcel_goes_to_the_provider_it_names_and_else_to_the_first():
    async def trip():
        async with FaultySmtp() as first, FaultySmtp() as second:
            channel = a_channel(first=first.port, second=second.port)
            receipts = [await send(channel, letter(provider=alias)) for alias in (None, "first", "second")]
            await channel.close()

            assert [receipt.provider for receipt in receipts] == ["first", "first", "second"]
            assert (len(first.accepted), len(second.accepted)) == (2, 1)
            assert (first.connections, second.connections) == (1, 1)

    asyncio.run(trip())


def test_a_provider_that_left_the_configuration_is_transient():
    async def trip():
        channel = a_channel(main=1)
        with pytest.raises(errors.Transient) as caught:
            await send(channel, letter(provider="gone"))
        assert caught.value.kind == "provider_unknown"

    asyncio.run(trip())


def test_leaving_the_line_without_commit_sends_nothing():
    async def trip():
        async with FaultySmtp() as server:
            channel = a_channel(main=server.port)
            parcel = letter()
            async with channel.connect(parcel, channel.routes(parcel)[0]) as line:
                await line.offer(parcel)  # … and the mark was refused
            await server.until(lambda: server.open_connections == 0)
            await channel.close()

            assert (server.accepted, server.dots, server.unfinished) == ([], 0, [BODY])

    asyncio.run(trip())


def test_what_goes_wrong_reaches_the_caller_by_its_name():
    async def trip():
        async with FaultySmtp() as server:
            channel = a_channel(main=server.port, away=1)
            with pytest.raises(errors.Transient) as away:
                await send(channel, letter(provider="away"))
            server.once("dot", "550 5.7.1 Spam", ACCEPT_THEN_DROP)
            with pytest.raises(errors.Permanent) as refused:
                await send(channel, letter())
            with pytest.raises(errors.Unanswered) as unanswered:
                await send(channel, letter())
            await channel.close()

            kinds = [caught.value.kind for caught in (away, refused, unanswered)]
            assert kinds == ["connect", "smtp_policy", "smtp_closed"]

    asyncio.run(trip())


def test_no_error_repeats_an_address_or_a_body_of_ours():
    async def trip():
        async with FaultySmtp() as server:
            channel = a_channel(main=server.port)
            secret = letter(recipients=("ann secret@example.com",), body=b"secret\n")
            with pytest.raises(errors.Invalid) as caught:
                await send(channel, secret)
            await channel.close()
            assert "secret" not in str(caught.value)

    asyncio.run(trip())


def test_a_missing_ca_file_is_told_when_the_channel_is_built():
    with pytest.raises(ImproperlyConfigured, match="CA file"):
        EmailChannel({"main": Endpoint("main", "mx.example.com", 465, "tls", ca_file="/missing.pem")}, tunables())


def test_a_claim_is_prepared_as_a_letter():
    claim = Claim(
        job_id=uuid.uuid4(),
        token=1,
        dedupe_hash=b"x" * 16,
        type="email",
        payload={"to": "ann@example.com", "subject": "Hello", "text": "Hello Ann."},
        attempt=1,
        max_attempts=5,
        priority="default",
        provider="main",
        correlation_id="c-1",
        claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
    )

    parcel = a_channel(main=1).prepare(claim)

    assert isinstance(parcel, Letter)
    assert (parcel.provider, parcel.recipients) == ("main", ("ann@example.com",))


def test_the_registry_knows_every_type_and_builds_fresh_channels():
    channels = registry.channels()

    assert {"email", "welcome_email"} <= set(channels)
    assert channels["email"] is channels["welcome_email"]
    assert registry.channels()["email"] is not channels["email"]
