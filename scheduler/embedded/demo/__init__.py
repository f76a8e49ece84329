"""Types of job to play with, in `make run` only: a Django app like anybody's (docs/adding-a-job-type.md)."""
