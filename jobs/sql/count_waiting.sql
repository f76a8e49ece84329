-- How many jobs wait in the queues, counted no further than `most`.
SELECT count(*) AS waiting FROM (SELECT FROM jobs_job WHERE status = 'queued' LIMIT %(most)s) AS w
