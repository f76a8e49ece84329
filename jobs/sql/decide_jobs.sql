-- The jobs of decided episodes. Guard: unknown, and not merely held.
-- Sent again by a person: a new budget, and in doubt from now on (trace 9). By policy: the old budget.
UPDATE jobs_job AS j SET
    status = CASE %(decision)s::text WHEN 'mark_sent' THEN 'completed' WHEN 'drop' THEN 'failed' ELSE 'queued' END,
    finished_at = CASE WHEN %(decision)s::text = 'send_again' THEN NULL ELSE now() END,
    result = CASE WHEN %(decision)s::text = 'mark_sent' THEN '{"resolution": "mark_sent"}'::jsonb ELSE j.result END,
    in_doubt = %(decision)s::text = 'send_again',
    attempts = CASE WHEN %(decision)s::text = 'send_again' AND %(new_budget)s THEN 0 ELSE j.attempts END,
    deaths = CASE WHEN %(decision)s::text = 'send_again' THEN 0 ELSE j.deaths END,
    pushed_at = CASE WHEN %(decision)s::text = 'send_again' THEN now() ELSE j.pushed_at END,
    updated_at = now()
WHERE j.id = ANY(%(ids)s::uuid[]) AND j.status || '' = 'unknown' AND j.held_behind IS NULL
RETURNING j.id
