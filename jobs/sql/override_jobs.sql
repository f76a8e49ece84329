-- Send once more although the key was sent, by a person's recorded word. The job leaves its key for one of its own,
-- made of the dead letter that records the word: the key's `sent` row stays, and stays closed for everybody else.
-- Guard: failed, undecided, and the key is sent. Missing rows: decided meanwhile, or not sent after all.
UPDATE jobs_job AS j SET
    dedupe_hash = decode(md5('override ' || l.id || ' ' || j.id), 'hex'),
    status = 'queued', attempts = 0, deaths = 0, finished_at = NULL, last_error = NULL, run_at = now(),
    pushed_at = now(), updated_at = now()
FROM jobs_deadletter AS l
WHERE l.id = ANY(%(dead_letters)s::bigint[]) AND coalesce(l.resolution, '') = ''
  AND l.reason NOT IN ('unknown', 'dropped')
  AND j.id = l.job_id AND j.status || '' = 'failed' AND j.payload IS NOT NULL
  AND (j.expires_at < now()) IS NOT TRUE
  AND (SELECT d.state FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash) = 'sent'
RETURNING l.id AS dead_letter
