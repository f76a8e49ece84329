"""A process that was stopped wakes with its timers due and its sockets unread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scheduler.embedded.faulty_smtp import AFTER_DOT, FaultySmtp

ROOT = Path(__file__).resolve().parents[2]
DOT_SECONDS = 1.0
SENDER = f"""
import asyncio, sys
from tests.workers.letters import letter
from workers.providers import Endpoint
from workers.smtp import Conversation
from workers.smtp_wire import Timeouts

async def send(port):
    timeouts = Timeouts(connect=10, command=10, dot={DOT_SECONDS})
    conversation = await Conversation.open(Endpoint("main", "127.0.0.1", port), timeouts)
    await conversation.offer(letter())
    print((await conversation.commit()).code)

asyncio.run(send(int(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_reply_that_came_while_the_process_was_stopped_is_read_before_its_silence_is_believed():
    with FaultySmtp() as server:
        reply = server.hold(AFTER_DOT)
        sender = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(server.port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        with sender:
            server.wait_until(lambda: reply.is_reached, patience=60)
            os.kill(sender.pid, signal.SIGSTOP)
            reply.release()
            server.wait_until(lambda: server.mails[0].answered_at is not None)
            server.wait_until(lambda: time.monotonic() > server.mails[0].heard_at + 1.2 * DOT_SECONDS)
            os.kill(sender.pid, signal.SIGCONT)
            said, _ = sender.communicate(timeout=60)

    assert said == "250\n"
