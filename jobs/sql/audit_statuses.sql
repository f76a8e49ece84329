-- How many jobs stand where. One statement, so that the sum is the number accepted.
SELECT status, count(*) AS count FROM jobs_job GROUP BY status
