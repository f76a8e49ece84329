-- What email services told of jobs. Guard: the job is there, and the recipient, if one is told, is one of its own.
-- The owner is the job's. Rows that do not come back are of no job of ours; not `is_new`: told before.
-- Who of several recipients is meant is not known where the service only guesses (`guess`): then none is named.
-- The job's row is held meanwhile, in the order of ids, so that retention does not take it without its events.
WITH told AS (
    SELECT b.number, b.job_id, j.owner_id, b.esp, b.event_id, b.kind, b.reason, b.detail, b.at,
           CASE WHEN b.guess AND jsonb_array_length(j.recipients) > 1 THEN '' ELSE b.recipient END AS recipient
    FROM (SELECT * FROM unnest(
              %(numbers)s::int[], %(ids)s::uuid[], %(esps)s::text[], %(event_ids)s::text[], %(kinds)s::text[],
              %(recipients)s::text[], %(guesses)s::bool[], %(reasons)s::text[], %(details)s::text[],
              %(ats)s::timestamptz[])
              AS b(number, job_id, esp, event_id, kind, recipient, guess, reason, detail, at)
          ORDER BY job_id) AS b
    CROSS JOIN LATERAL (
        SELECT owner_id, recipients FROM jobs_job WHERE id = b.job_id OFFSET 0 FOR KEY SHARE
    ) AS j
    WHERE b.recipient = ''
       OR EXISTS (SELECT FROM jsonb_array_elements_text(j.recipients) AS r WHERE lower(r) = b.recipient)
), new AS (
    INSERT INTO jobs_event (job_id, owner_id, esp, event_id, kind, recipient, reason, detail, at, received_at)
    SELECT job_id, owner_id, esp, event_id, kind, recipient, reason, detail, coalesce(at, now()), now()
    FROM told ORDER BY job_id, esp, event_id, recipient
    ON CONFLICT (job_id, esp, event_id, recipient) DO NOTHING
    RETURNING job_id, esp, event_id, recipient
)
SELECT t.number, t.owner_id, t.recipient, new.job_id IS NOT NULL AS is_new
FROM told AS t LEFT JOIN new USING (job_id, esp, event_id, recipient)
