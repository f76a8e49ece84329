"""Makes the secrets of a Compose installation once, as files: `make_secrets.py FOLDER`.

What is there stays. So a first `docker compose up` needs no file, and no installation runs on a published secret.
"""

import secrets
import sys
from pathlib import Path

FOR_THE_APP = 0o400
FOR_ANY_SERVICE = 0o444  # PostgreSQL and Grafana read theirs as other users; each volume is mounted nowhere else


def main(folder: Path) -> None:
    keep(folder / "secret_key", secrets.token_urlsafe(50), FOR_THE_APP)
    keep(folder / "jwt_signing_key", secrets.token_urlsafe(50), FOR_THE_APP)
    password = keep(folder / "postgres_password", secrets.token_urlsafe(32), FOR_ANY_SERVICE)
    keep(folder / "database_url", f"postgres://sendonce:{password}@postgres:5432/sendonce", FOR_THE_APP)
    grafana = folder / "grafana"  # in Compose a volume of its own: Grafana has no business with the others
    grafana.mkdir(exist_ok=True)
    keep(grafana / "admin_password", secrets.token_urlsafe(24), FOR_ANY_SERVICE)
    keep(grafana / "secret_key", secrets.token_urlsafe(32), FOR_ANY_SERVICE)


def keep(path: Path, value: str, mode: int) -> str:
    """What the file says, after writing `value` if there is none. Renamed into place: never half a secret."""
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        draft.write_text(value)
        draft.chmod(mode)
        draft.rename(path)
        sys.stdout.write(f"made {path}\n")
    return path.read_text()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
