-- Dead letters that nobody has decided yet: how many for each reason, and how long the first of them has waited, in seconds;
-- 0 where there is none. Each is a part of a partial index, or its first entry: ids rise with the time of death.
SELECT r.reason,
       (SELECT count(*) FROM jobs_deadletter WHERE resolution IS NULL AND reason = r.reason) AS open,
       coalesce(extract(epoch FROM now() - (SELECT died_at FROM jobs_deadletter
                                            WHERE resolution IS NULL AND reason = r.reason
                                            ORDER BY id LIMIT 1)),
                0)::float8 AS age
FROM unnest(%(reasons)s::text[]) AS r (reason)
