-- Nobody is left to send to: the jobs end here. Guard: running, this claim, not past the gate (K1), and not in doubt: an
-- earlier dot of such a job may still be accepted (trace 9). Missing tokens: not ours.
UPDATE jobs_job AS j SET
    status = 'failed', finished_at = now(), updated_at = now(), last_error = b.error
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(errors)s::jsonb[]) AS b(id, claim, error)
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running' AND NOT j.in_doubt
  AND (SELECT d.claim FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash) IS DISTINCT FROM j.claim
RETURNING j.claim
