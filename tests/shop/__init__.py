"""A Django app like anybody's, with types of job of its own (docs/adding-a-job-type.md)."""
