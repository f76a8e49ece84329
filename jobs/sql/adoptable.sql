-- Answers of dead workers that this database knows: their job is here, under that claim of that very worker, or under a
-- later one. Missing tokens: of another database, or of this one before it was restored from a backup, when the same
-- tokens are given out anew; worker ids never are.
SELECT b.claim
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(workers)s::uuid[]) AS b(id, claim, worker)
JOIN jobs_job AS j ON j.id = b.id
WHERE j.claim > b.claim OR (j.claim = b.claim AND j.worker = b.worker)
