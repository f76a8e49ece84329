"""What try.sh asks the running platform, over HTTP only: `try_client.py COMMAND …`; exit 1 with what is not so.

Where it listens and who asks come from API_PORT, MAIL_PORT, PROMETHEUS_PORT, GRAFANA_PORT, TRY_USER and
TRY_PASSWORD.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

API, MAIL, PROMETHEUS, GRAFANA = (
    f"http://127.0.0.1:{os.environ[port]}" for port in ("API_PORT", "MAIL_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
)
WHO = {"username": os.environ["TRY_USER"], "password": os.environ["TRY_PASSWORD"]}
POSTING_THREADS = 8


def call(url: str, body: Any = None, token: str = "") -> Any:
    """The JSON answer; ends the program where the answer is an error."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, headers), timeout=30) as answer:
            return json.load(answer)
    except HTTPError as error:
        sys.exit(f"{url} answered {error.code}: {error.read().decode()[:500]}")


def log_in() -> str:
    return call(f"{API}/login", WHO)["access_token"]


def until(question: Callable[[], str | None], *, within: float) -> float:
    """Ask until there is nothing to object; how many seconds that took. Ends the program with the last objection."""
    started = time.monotonic()
    while objection := question():
        if time.monotonic() - started > within:
            sys.exit(f"after {within:.0f} s still: {objection}")
        time.sleep(0.5)
    return time.monotonic() - started


def differs(what: str, found: Any, expected: Any) -> str | None:
    return None if found == expected else f"{what}: {found}, expected {expected}"


def pages(url: str, token: str) -> Iterator[dict[str, Any]]:
    while url:
        page = call(url, token=token)
        yield from page["results"]
        url = page["next"]


# ── Commands ──────────────────────────────────────────────────────────────────────────────────


def sign_up(_: argparse.Namespace) -> str:
    call(f"{API}/signup", WHO)
    log_in()
    return f"signed up and logged in as {WHO['username']}"


def post(args: argparse.Namespace) -> str:
    """`count` welcome emails to addresses of their own; the same series again is a series of duplicates."""
    token, started = log_in(), time.monotonic()
    bodies = [{"email": f"{args.series}-{n}@example.org", "name": f"Person {n}"} for n in range(args.count)]
    with ThreadPoolExecutor(POSTING_THREADS) as threads:
        answers = list(threads.map(lambda body: call(f"{API}/addJob", body, token), bodies))
    rate = args.count / (time.monotonic() - started)
    return f"{len({answer['id'] for answer in answers})} jobs accepted by POST /addJob, {rate:.0f} a second"


def settled(args: argparse.Namespace) -> str:
    """All of the caller's jobs are in a final state. Unknown is one, and is told."""
    token = log_in()
    counts: Counter[str] = Counter()

    def objection() -> str | None:
        counts.clear()
        counts.update(job["status"] for job in pages(f"{API}/jobs?limit=100", token))
        return differs("final jobs", counts["completed"] + counts["unknown"], args.count)

    seconds = until(objection, within=args.within)
    if sum(counts.values()) != args.count:
        sys.exit(f"jobs: {dict(counts)}, expected {args.count} in all")
    return f"{dict(counts)} after {seconds:.1f} s more"


def mails(args: argparse.Namespace) -> str:
    """Each address of all series got one mail; those whose outcome is unknown may or may not have."""
    token = log_in()
    unknown = {job["payload"]["email"] for job in pages(f"{API}/jobs?limit=100&status=unknown", token)}
    found = call(f"{MAIL}/api/v1/messages?limit=1000000")["messages"]
    per_address = Counter(mail["To"][0]["Address"] for mail in found)
    twice = [address for address, count in per_address.items() if count > 1]
    if twice:
        sys.exit(f"sent twice: {twice[:5]}")
    certain = len(set(per_address) - unknown)
    if certain != args.count - len(unknown):
        sys.exit(f"{certain} mails arrived, expected {args.count - len(unknown)}")
    return f"{len(found)} mails arrived, none twice; unknown: {len(unknown)}"


def workers(args: argparse.Namespace) -> str:
    """So many workers beat; each completed some, or holds some."""
    token = log_in()
    rows: list[dict[str, Any]] = []

    def objection() -> str | None:
        rows[:] = [row for row in call(f"{API}/workers", token=token)["results"] if row["state"] != "unavailable"]
        idle = [row["name"] for row in rows if args.each and not row[args.each]]
        return differs("workers", len(rows), args.count) or (f"nothing {args.each} by {idle}" if idle else None)

    until(objection, within=args.within)
    return ", ".join(f"{row['name']} {args.each}={row[args.each]}" if args.each else row["name"] for row in rows)


def targets(args: argparse.Namespace) -> str:
    """Prometheus reaches so many of each."""
    expected = {"api": 1, "prometheus": 1, "scheduler": args.schedulers, "worker": args.workers}

    def objection() -> str | None:
        found = call(f"{PROMETHEUS}/api/v1/targets")["data"]["activeTargets"]
        up = Counter(target["labels"]["job"] for target in found if target["health"] == "up")
        return differs("targets up", dict(sorted(up.items())), expected)

    until(objection, within=args.within)
    return f"targets up: {expected}"


def counted(args: argparse.Namespace) -> str:
    """The workers' counters, added up by Prometheus."""
    query = "sum(jobs_processed_total%7Bstatus%3D%22completed%22%7D)"

    def objection() -> str | None:
        found = call(f"{PROMETHEUS}/api/v1/query?query={query}")["data"]["result"]
        return differs("jobs_processed_total", int(float(found[0]["value"][1])) if found else 0, args.count)

    until(objection, within=args.within)
    return f"jobs_processed_total over all workers: {args.count}"


def alerts(args: argparse.Namespace) -> str:
    """Prometheus has read the rules and can evaluate each."""
    rules: list[dict[str, Any]] = []

    def objection() -> str | None:
        groups = call(f"{PROMETHEUS}/api/v1/rules?type=alert")["data"]["groups"]
        rules[:] = [rule for group in groups for rule in group["rules"]]
        ill = [rule["name"] for rule in rules if rule["health"] != "ok"]
        return f"not evaluated: {ill}" if ill else None if rules else "no rules"

    until(objection, within=args.within)
    return f"{len(rules)} alerts are evaluated; firing: {[r['name'] for r in rules if r['state'] == 'firing']}"


def grafana(args: argparse.Namespace) -> str:
    """It answers; what it shows is not looked at."""
    call(f"{GRAFANA}/api/health")
    return "Grafana answers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (sign_up, post, settled, mails, workers, targets, counted, alerts, grafana):
        sub = commands.add_parser(command.__name__, help=command.__doc__)
        sub.set_defaults(command=command)
        sub.add_argument("--within", type=float, default=60.0, help="seconds")
        if command in (post, settled, mails, workers, counted):
            sub.add_argument("count", type=int)
        if command is post:
            sub.add_argument("series")
        if command is workers:
            sub.add_argument("--each", choices=["completed", "in_flight"])
        if command is targets:
            sub.add_argument("--workers", type=int, required=True)
            sub.add_argument("--schedulers", type=int, default=1)
    args = parser.parse_args()
    sys.stdout.write(f"  {args.command(args)}\n")


if __name__ == "__main__":
    main()
