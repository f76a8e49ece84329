"""Post jobs to any Sendonce for a while, wait until they have ended, and tell what became of them.

python -m benchmarks.load --url http://127.0.0.1:8000 --user demo --password … --scenario steady,burst --seconds 30

Scenarios of emails send emails, to addresses at example.org. The others need the types of job that `make run` has.
Exit status 1 when a request was refused or failed, or when jobs have not ended in time.
"""

from gevent import monkey

monkey.patch_all()  # before anything else is imported: Locust's clients are greenlets

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from benchmarks.load.clients import Account, follow, post  # noqa: E402
from benchmarks.load.report import Run, lines  # noqa: E402
from benchmarks.load.scenarios import SCENARIOS  # noqa: E402


def main() -> int:
    options = _options()
    account = Account(options.url, user=options.user, password=options.password, token=options.token)
    told = []
    for name in options.scenario:
        run = Run(name)
        sys.stdout.write(f"{name}: {SCENARIOS[name].what}, for {options.seconds:.0f} s …\n")
        sys.stdout.flush()
        post(SCENARIOS[name], account, run, seconds=options.seconds, clients=options.clients, rate=options.rate)
        follow(account, run, until=time.monotonic() + options.patience)
        told.append(run.told())
        sys.stdout.write("\n".join(lines(told[-1])) + "\n")
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(any(each["errors"] or each["still_under_way"] for each in told))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the API (http://127.0.0.1:8000)")
    parser.add_argument("--user", help="who posts …")
    parser.add_argument("--password", help="… and logs in, again when the token expires")
    parser.add_argument("--token", help="an access token, instead of these; it is not renewed")
    parser.add_argument("--scenario", type=_names, default=["steady"], help=f"some of {','.join(SCENARIOS)} (steady)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of posting, for each scenario (30)")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for jobs to end afterwards (120)")
    parser.add_argument("--rate", type=float, help="requests a second, instead of the scenario's")
    parser.add_argument("--clients", type=int, help="as many at once, instead of the scenario's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if not options.token and not (options.user and options.password):
        parser.error("give --user and --password, or --token")
    return options


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(SCENARIOS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
