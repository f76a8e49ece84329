"""How fast, beside whom, and where the time goes: run by `make bench`. README.md tells what is measured and how."""
