-- Who holds running jobs, and the last that was heard of them. By level, not by edge (trace 7): a worker whose
-- row is gone is listed too, with no heartbeat.
SELECT held.worker, w.beat_at
FROM (SELECT DISTINCT worker FROM jobs_job WHERE status = 'running') AS held
LEFT JOIN jobs_worker AS w ON w.id = held.worker
