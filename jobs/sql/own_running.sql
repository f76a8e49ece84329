-- The claims that PostgreSQL says this worker holds.
SELECT claim FROM jobs_job WHERE status = 'running' AND worker = %(worker)s
