-- Recipients of these jobs that are on the suppression list, by the same rule as in `gate`, and how many each job has in
-- all. Guard: running, this claim, and not past the gate. Reads only.
SELECT j.claim, j.worker, j.in_doubt, jsonb_array_length(j.recipients) AS recipients, r.address, s.reason, s.topic
FROM unnest(%(ids)s::uuid[], %(claims)s::bigint[]) AS b(id, claim)
JOIN jobs_job AS j ON j.id = b.id AND j.claim = b.claim AND j.status || '' = 'running' AND j.lane = 'messages'
CROSS JOIN LATERAL jsonb_array_elements_text(j.recipients) WITH ORDINALITY AS r(address, number)
CROSS JOIN LATERAL (
    SELECT s.reason, s.topic FROM jobs_suppression AS s
    WHERE s.owner_id = j.owner_id AND s.address = lower(r.address COLLATE "C")
      AND CASE WHEN s.topic = '' THEN true ELSE s.topic = j.payload -> 'unsubscribe' ->> 'topic' END
    ORDER BY s.topic
    LIMIT 1
) AS s
WHERE (SELECT d.claim FROM jobs_delivery AS d WHERE d.dedupe_hash = j.dedupe_hash) IS DISTINCT FROM j.claim
ORDER BY j.id, r.number
