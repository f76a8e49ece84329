-- One heartbeat per worker and beat, not one per job. PostgreSQL's clock.
INSERT INTO jobs_worker (id, name, state, in_flight, completed, started_at, beat_at)
VALUES (%(id)s, %(name)s, %(state)s, %(in_flight)s, %(completed)s, now(), now())
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, in_flight = excluded.in_flight, completed = excluded.completed, beat_at = now()
