-- History: append only, never guarded by state. A repeated settlement adds nothing; each provider has its own line.
INSERT INTO jobs_attempt (job_id, claim, number, worker, provider, outcome, kind, code, detail, started_at, ended_at)
SELECT b.job_id, b.claim, b.number, b.worker, b.provider, b.outcome, b.kind, b.code, b.detail,
       now() - make_interval(secs => b.took), now()
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[], %(numbers)s::int[], %(workers)s::uuid[], %(providers)s::text[],
            %(outcomes)s::text[], %(kinds)s::text[], %(codes)s::int[], %(details)s::text[], %(tooks)s::float8[])
    AS b(job_id, claim, number, worker, provider, outcome, kind, code, detail, took)
ON CONFLICT (claim, outcome, provider) DO NOTHING
