-- Rows of workers that died long ago and hold nothing.
DELETE FROM jobs_worker AS w
WHERE w.beat_at < now() - interval '1 day'
  AND NOT EXISTS (SELECT FROM jobs_job AS j WHERE j.status = 'running' AND j.worker = w.id)
RETURNING w.id
