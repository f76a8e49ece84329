-- A worker that ends in order takes its row with it.
DELETE FROM jobs_worker WHERE id = %(id)s
