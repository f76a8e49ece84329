"""Every example of docs/fault-kit.md is run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from scheduler.embedded.faulty_smtp import PHASES
from scheduler.embedded.faulty_smtp.faults import RECIPIENTS_AT_DOT, REFUSED_RECIPIENTS
from tests.scheduler.test_faulty_smtp_command import running, send

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fault-kit.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    return "".join(blocks("sh")).splitlines()


def test_the_python_examples_are_a_file_that_pytest_passes(tmp_path):
    (tmp_path / "test_invoice.py").write_text("".join(blocks("python")))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", "."]

    done = subprocess.run(
        [*command, "-W", "error", "-p", "no:django"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^{PAGE.count('def test_')} passed", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("line", command_lines())
def test_the_command_lines_work(tmp_path, line):
    issued = trustme.CA().issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    python, dash_m, module, *arguments = shlex.split(re.sub(r" --port \d+", "", line))
    assert (python, dash_m) == ("python", "-m")

    with running(*arguments, cwd=tmp_path, module=module, env=os.environ | {"PYTHONPATH": str(ROOT)}) as server:
        assert server.end()[0] == 0


def test_the_book_looks_as_it_is_shown(tmp_path):
    [shown] = blocks("json")
    with running("--book", tmp_path / "book") as server:
        send(server)
        server.end()
    written = [json.loads(line) for line in (tmp_path / "book").read_text().splitlines()]

    examples = [json.loads(line) for line in shown.splitlines()]

    assert [list(example) for example in examples[:2]] == [list(line) for line in written]


def test_the_page_names_every_phase_and_every_recipient():
    assert not [phase for phase in PHASES if f"`{phase}`" not in PAGE]
    assert not [name for name in (*REFUSED_RECIPIENTS, *RECIPIENTS_AT_DOT) if f"| `{name}@…` |" not in PAGE]
