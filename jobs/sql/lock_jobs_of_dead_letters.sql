-- The jobs first, by id, before anything about them is looked at in a later statement (trace 2).
-- Whoever moves a job or decides its dead letter holds this lock; the key's delivery may still be moved by a rival.
SELECT j.id FROM jobs_job AS j
WHERE j.id = ANY(ARRAY(SELECT job_id FROM jobs_deadletter WHERE id = ANY(%(dead_letters)s::bigint[])))
ORDER BY j.id
FOR UPDATE
