-- A batch whose jobs have all ended, and whose webhook has not been told; locked until it is. Any number of clocks at
-- once: they skip each other's rows. `but`: those that could not be told in this round. Zero rows: there is none.
SELECT b.id, b.owner_id, b.webhook
FROM jobs_batch AS b
WHERE b.webhook IS NOT NULL AND b.told_at IS NULL AND b.id <> ALL(%(but)s::uuid[])
  AND NOT EXISTS (
      SELECT FROM jobs_job AS j
      WHERE j.batch_id = b.id AND j.status IN ('scheduled', 'queued', 'running', 'unknown')
  )
ORDER BY b.id
LIMIT 1
FOR UPDATE SKIP LOCKED
