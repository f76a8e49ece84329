-- A job that was in hand when a worker died has been prepared without harm: it is suspect no more.
-- Guard: running, this claim. Missing tokens: not ours any more.
UPDATE jobs_job AS j SET deaths = 0
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim)
WHERE j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running'
RETURNING j.claim
