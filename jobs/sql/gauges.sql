-- Worker processes by what they do, in one look at a small table.
SELECT
    (SELECT count(*) FROM jobs_worker WHERE state = 'available' AND beat_at >= fresh.since) AS available,
    (SELECT count(*) FROM jobs_worker WHERE state = 'busy' AND beat_at >= fresh.since) AS busy,
    (SELECT count(*) FROM jobs_worker WHERE state = 'unavailable' OR beat_at < fresh.since) AS unavailable
FROM (SELECT now() - make_interval(secs => %(lease)s::float8) AS since) AS fresh
