-- The schedule that has been due longest, locked until its jobs and its next time are committed together. Any number of
-- clocks at once: they skip each other's rows. `but`: those that could not be fired in this round. Zero rows: none is due.
SELECT id, owner_id, name, cron, time_zone, missed, type, payload, options, next_at, now() AS now
FROM jobs_schedule
WHERE NOT paused AND next_at <= now() AND id <> ALL(%(but)s::uuid[])
ORDER BY next_at
LIMIT 1
FOR UPDATE SKIP LOCKED
