-- Workers that hold running jobs and have not been heard of for a lease, by PostgreSQL's clock.
-- By level, not by edge (trace 7): a worker whose row is gone counts too.
SELECT held.worker, w.beat_at
FROM (SELECT DISTINCT worker FROM jobs_job WHERE status = 'running') AS held
LEFT JOIN jobs_worker AS w ON w.id = held.worker
WHERE w.beat_at IS NULL OR w.beat_at < now() - make_interval(secs => %(lease)s::float8)
