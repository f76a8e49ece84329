-- What a provider said when it was asked, for whoever decides: in order, and however the dead letter stands by now.
-- `answered` is false where it said nothing; a policy waits for an answer.
UPDATE jobs_deadletter AS l SET evidence = l.evidence || jsonb_build_array(jsonb_build_object(
    'asked_at', %(asked_at)s::timestamptz, 'answered', %(answered)s::bool,
    'source', %(source)s::text, 'accepted', %(accepted)s::bool, 'detail', %(detail)s::text))
WHERE l.id = %(dead_letter)s
RETURNING l.id
