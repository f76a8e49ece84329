"""Load for any Sendonce, local or not: `make load ARGS='--url … --scenario steady'` (benchmarks/README.md)."""
