"""Makes `.venv` and installs what `make run` or `make test` needs; does nothing when that is there already.

    python3 scheduler/embedded/install.py requirements-local.txt
    python3 scheduler/embedded/install.py benchmarks/peers/requirements.txt .local/peers

Runs before anything is installed, with whatever Python the machine has: standard library only.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the one file that old Pythons run, to be told so
    sys.exit(
        "Sendonce needs Python 3.11 or newer, this is "
        + ".".join(map(str, sys.version_info[:2]))
        + ". Remedy: make run PYTHON=/path/to/python3.11"
    )

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCAL = ROOT / ".local"
LOG = LOCAL / "install.log"
NEEDED_BYTES = 600 * 1024 * 1024

REMEDIES = (
    (r"No space left|Errno 28", "the disk is full. Remedy: free about 600 MB and try again."),
    (r"Permission denied|Errno 13|Read-only file", "{root} cannot be written. Remedy: give your user the folder."),
    (r"CERTIFICATE_VERIFY|SSLError", "the package index's certificate is not trusted. Remedy: set PIP_CERT."),
    (
        r"resolution|Max retries|ConnectionError|Connection refused|timed out|unreachable|ConnectTimeout",
        "the package index cannot be reached. Remedy: check the network (proxy: HTTPS_PROXY) and try again.",
    ),
    (
        r"No matching distribution|from versions: none",
        "the package index does not answer or has no build for this machine. "
        "Remedy: check the network and PIP_INDEX_URL.",
    ),
    (r"", "see the lines above and {log}."),
)


class CannotInstall(Exception):
    """Why, and the remedy, for the person at the terminal."""


def main(requirements: str, into: Path = VENV) -> None:
    started = time.monotonic()
    _check_ground()
    with (LOCAL / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make run` and `make test` may start side by side
        wanted = _fingerprint(ROOT / requirements)
        if _is_installed(requirements, wanted, into):
            return
        _check_space()
        _make_venv(into)
        _install(requirements, into)
        _remember(requirements, wanted, into)
    _say(f"Installed {requirements} into {into.relative_to(ROOT)} in {time.monotonic() - started:.0f} s.")


def _check_ground() -> None:
    if importlib.util.find_spec("ensurepip") is None:
        version = "{}.{}".format(*sys.version_info[:2])
        raise CannotInstall(
            f"Python's venv is incomplete (no ensurepip). Remedy on Debian and Ubuntu: "
            f"sudo apt install python{version}-venv"
        )
    try:
        LOCAL.mkdir(exist_ok=True)
        (LOCAL / "install.lock").touch()
    except OSError as error:
        raise CannotInstall(
            f"{LOCAL} cannot be written ({error.strerror}). Remedy: give your user the folder."
        ) from error


def _check_space() -> None:
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        raise CannotInstall(
            f"Only {free // 2**20} MB are free for {ROOT}; installing needs {NEEDED_BYTES // 2**20} MB. "
            "Remedy: free some space and try again."
        )


def _fingerprint(path: Path) -> str:
    """Of the Python and of every requirements file that this one reads."""
    digest = hashlib.sha256(sys.version.encode())
    for file in _with_included(path):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _with_included(path: Path) -> list[Path]:
    included = re.findall(r"^-r\s+(\S+)", path.read_text(), re.MULTILINE)
    return [path, *(file for name in included for file in _with_included(path.parent / name))]


def _stamp(requirements: str, into: Path) -> Path:
    return into / f".installed-{Path(requirements).name}"


def _is_installed(requirements: str, wanted: str, into: Path) -> bool:
    stamp = _stamp(requirements, into)
    return stamp.exists() and stamp.read_text() == wanted and (into / "bin" / "python").exists()


def _remember(requirements: str, wanted: str, into: Path) -> None:
    """The files it includes are installed with it."""
    for file in _with_included(ROOT / requirements)[1:]:
        _stamp(file.name, into).write_text(_fingerprint(file))
    _stamp(requirements, into).write_text(wanted)


def _make_venv(into: Path) -> None:
    """Keep a complete one of this very Python; make it anew otherwise. The mark is written last."""
    mark = into / ".python"
    if mark.exists() and mark.read_text() == sys.version and (into / "bin" / "python").exists():
        return
    _say(f"Creating {into.relative_to(ROOT)} with Python {'.'.join(map(str, sys.version_info[:3]))}")
    try:
        venv.create(into, with_pip=True, clear=True, symlinks=True)
    except (OSError, subprocess.CalledProcessError) as error:
        output = (getattr(error, "output", None) or b"").decode(errors="replace")
        raise CannotInstall(f"{into} cannot be made: {_remedy(output + str(error))}") from error
    mark.write_text(sys.version)


def _install(requirements: str, into: Path) -> None:
    command = [str(into / "bin" / "python"), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
    env = os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    with LOG.open("w") as log:
        process = subprocess.Popen(
            [*command, "-r", str(ROOT / requirements)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            _show_progress(process.stdout, log)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
    if process.returncode:
        text = LOG.read_text()
        tail = "\n".join(f"    {line}" for line in text.splitlines()[-12:])
        raise CannotInstall(f"{tail}\nInstalling {requirements} failed: {_remedy(text)}")


def _show_progress(lines, log) -> None:
    """One moving line at a terminal; elsewhere a plain line every ten packages."""
    started, collected = time.monotonic(), 0
    for line in lines:
        log.write(line)
        log.flush()
        if line.startswith("Collecting "):
            collected += 1
            step = f"{collected} packages, {_name(line)}"
            if sys.stdout.isatty():
                _say_over(f"Installing: {step} ({time.monotonic() - started:.0f} s)")
            elif collected % 10 == 1:
                _say(f"Installing: {step}")
        elif line.startswith("Installing collected"):
            if sys.stdout.isatty():
                _say_over(f"Installing: unpacking {collected} packages")
            else:
                _say(f"Installing: unpacking {collected} packages")
    if sys.stdout.isatty():
        _say_over("")


def _name(line: str) -> str:
    return re.split(r"[=<>!~\[;( ]", line.removeprefix("Collecting ").strip())[0]


def _remedy(text: str) -> str:
    return next(remedy for pattern, remedy in REMEDIES if re.search(pattern, text)).format(root=ROOT, log=LOG)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _say_over(line: str) -> None:
    width = shutil.get_terminal_size().columns - 1
    sys.stdout.write("\r\033[K" + line[:width])
    sys.stdout.flush()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("Usage: install.py REQUIREMENTS_FILE [VENV]")
    try:
        main(sys.argv[1], *(ROOT / folder for folder in sys.argv[2:]))
    except CannotInstall as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nStopped; the next `make` goes on from here.")
