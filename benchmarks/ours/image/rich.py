"""The image has no rich, and structlog does without; a developer's machine has it, and 4 MB of it in each process."""

raise ImportError("as in the image")
