-- How long the oldest job of each lane and priority has waited, in seconds; 0 where none waits. Each is the first entry of
-- its part of an index.
SELECT l.lane, p.priority,
       coalesce(extract(epoch FROM now() - (SELECT min(pushed_at) FROM jobs_job
                                            WHERE status = 'queued' AND lane = l.lane AND priority = p.priority)),
                0)::float8 AS age
FROM unnest(%(lanes)s::text[]) AS l (lane) CROSS JOIN unnest(%(priorities)s::text[]) AS p (priority)
