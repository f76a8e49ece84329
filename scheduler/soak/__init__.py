"""The soak: a whole Sendonce under a steady load for a long time, while somebody watches whether anything grows."""
