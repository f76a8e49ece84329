"""Where a job goes that names a destination: opened for whoever goes there, and for nobody else."""

from __future__ import annotations

from jobs import destinations, sealing
from jobs.claims import Claim
from jobs.destinations import Address
from jobs.errors import Permanent


def address_of(claim: Claim) -> Address:
    """Raises Permanent when there is none any more, it is disabled, or none of our keys opens it."""
    found = claim.destination
    if found is None or found.kind != claim.type:
        raise Permanent(
            "Its destination is not there any more. Make it again, then requeue.", kind="destination_missing"
        )
    if found.is_disabled:
        raise Permanent("Its destination is disabled. Write it anew, then requeue.", kind="destination_disabled")
    try:
        return destinations.opened(found.sealed)
    except sealing.CannotOpen:
        raise Permanent(
            "None of SEALING_KEYS opens its destination. Write it anew, then requeue.", kind="destination_sealed"
        ) from None
