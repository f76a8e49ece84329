"""The peers' programs, each in its documented fast configuration, in a venv of their own (requirements.txt)."""
