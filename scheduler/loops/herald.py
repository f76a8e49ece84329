"""The herald: batches whose jobs have all ended are told to the webhooks that they name."""

from __future__ import annotations

from uuid import UUID

from jobs import batch_news

MOST_PER_ROUND = 1000  # then the clock shows that it lives, and may be told to stop


class Herald:
    """One batch per transaction."""

    name = "herald"
    every_seconds = 1.0

    def run_once(self, now: float) -> dict[str, int]:
        told, put_off = 0, set[UUID]()
        for _ in range(MOST_PER_ROUND):
            try:
                if batch_news.tell(but=put_off) is None:
                    break
            except batch_news.PutOff as later:
                put_off.add(later.batch_id)
            else:
                told += 1
        return {"told": told, "put_off": len(put_off)}
