-- What is scraped, in one look. Each part reads a partial index that holds only what is waiting or undecided.
SELECT
    (SELECT count(*) FROM jobs_worker WHERE state = 'available' AND beat_at >= fresh.since) AS available,
    (SELECT count(*) FROM jobs_worker WHERE state = 'busy' AND beat_at >= fresh.since) AS busy,
    (SELECT count(*) FROM jobs_worker WHERE state = 'unavailable' OR beat_at < fresh.since) AS unavailable,
    (SELECT count(*) FROM jobs_deadletter WHERE resolution IS NULL) AS dead_letters
FROM (SELECT now() - make_interval(secs => %(lease)s::float8) AS since) AS fresh
