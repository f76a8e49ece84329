-- Jobs first, by id; what is looked at under these locks is looked at in later statements (trace 2).
SELECT id, claim, status, in_doubt, attempts, max_attempts FROM jobs_job
WHERE id = ANY(%(ids)s::uuid[])
ORDER BY id
FOR UPDATE
