"""The command line: `python -m scheduler.embedded.faulty_smtp --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from .faults import Fault, FaultError, by_chance, by_recipient, first_of, read_faults
from .journal import Journal
from .server import FaultySmtp

HELP = """\
An SMTP server that fails as told, to find out what your application does when a mail server fails.

faults by probability: --faults "PHASE=WHAT@PROBABILITY, …"; the first that is drawn decides
  PHASE   banner ehlo helo starttls auth mail rcpt data body dot rset noop quit
  WHAT    451 4.2.1 Later      an answer
          drop                 close the connection without a word
          reset                the same with a TCP reset
          stall                say nothing until the client leaves
          deaf                 read nothing and say nothing, for ever
          delay 2.5            the ordinary answer after 2.5 s; also "delay 2.5 then drop" and the like
          accept-then-…        at the dot: keep the mail, then any of these (accept-then-drop)
          throw-away-and-…     at the dot: lose the mail, then any of these (throw-away-and-250 2.0.0 Queued)

faults by recipient, whatever the domain
  refuse@  550 at RCPT         defer@   451 at RCPT
  spam@    554 at the dot      busy@    451 at the dot
  silent@  kept, then the connection is dropped        stall@   kept, and never answered
  vanish@  thrown away, then dropped                   slow@    kept, and answered after 3 s
"""
EXAMPLE = """\
example: the server dies after the dot of one mail in twenty; which of them does your application send again?
  python -m scheduler.embedded.faulty_smtp --port 2525 --seed 7 --book mails.jsonl --faults "dot=accept-then-drop@0.05"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; 0, or 2 for arguments that cannot be served."""
    parser = _parser()
    options = parser.parse_args(arguments)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    tls = _context(parser, options) if options.tls or options.starttls else None
    with _book(parser, options.book) as file:
        journal = Journal(file)
        server = FaultySmtp(
            host=options.host,
            port=options.port,
            pipelining=not options.no_pipelining,
            tls=tls if options.tls else None,
            starttls=tls if options.starttls else None,
            users=dict(options.user) if options.user else None,
            script=first_of(by_recipient, by_chance([fault for some in options.faults for fault in some], seed=seed)),
            book=journal,
        )
        try:
            asyncio.run(_serve(server, seed))
        except OSError as error:
            parser.error(
                f"argument --port: cannot listen on {options.host} port {options.port} ({error.strerror}); "
                "choose another, or 0 for any that is free"
            )
        _say(f"{server.connections} connections, {journal.summary()}")
    return 0


async def _serve(server: FaultySmtp, seed: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server:
        _say(f"Listening on {server.host} port {server.port}, seed {seed}; Ctrl-C ends it")
        await stop.wait()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# ── Arguments ─────────────────────────────────────────────────────────────────────────────────


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description=HELP,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=2525, help="port to listen on; 0: any free one (default: 2525)")
    parser.add_argument("--faults", type=_faults, action="append", default=[], help="see above; may be repeated")
    parser.add_argument("--seed", type=int, help="of the drawing: the same seed, the same faults (default: any; shown)")
    parser.add_argument("--book", type=Path, metavar="FILE", help="write what is heard and answered as JSON lines")
    parser.add_argument("--tls", action="store_true", help="speak TLS from the first byte; wants --cert and --key")
    parser.add_argument("--starttls", action="store_true", help="offer STARTTLS; wants --cert and --key")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument("--user", type=_user, action="append", metavar="NAME:PASSWORD", help="offer AUTH; repeatable")
    parser.add_argument("--no-pipelining", action="store_true", help="do not offer PIPELINING")
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; use a number from 0 to 65535")
    return int(text)


def _faults(text: str) -> list[Fault]:
    try:
        return read_faults(text)
    except FaultError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon):
        raise argparse.ArgumentTypeError(f"{text!r} is no user; write NAME:PASSWORD")
    return name, password


def _context(parser: argparse.ArgumentParser, options: argparse.Namespace) -> ssl.SSLContext:
    wanted = "--tls" if options.tls else "--starttls"
    if options.tls and options.starttls:
        parser.error("argument --starttls: not allowed with --tls, which is encrypted from the first byte; drop one")
    if not (options.cert and options.key):
        parser.error(f"argument {wanted}: wants --cert FILE and --key FILE, both PEM")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.cert, options.key)
    except (OSError, ssl.SSLError) as error:
        parser.error(f"argument --cert/--key: cannot be used ({error}); give a PEM certificate and its private key")
    return context


@contextlib.contextmanager
def _book(parser: argparse.ArgumentParser, path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        parser.error(f"argument --book: {path} cannot be written ({error.strerror}); give a file in a folder of yours")
    with file:
        yield file


if __name__ == "__main__":
    sys.exit(main())
