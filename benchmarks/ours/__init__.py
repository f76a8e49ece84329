"""Sendonce's own programs: jobs laid ready, and a worker whose channel sends nothing."""
