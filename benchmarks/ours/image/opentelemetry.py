"""The image has no OpenTelemetry unless built for tracing; where it is, redis-py loads it: 3 MB of each process."""

raise ImportError("as in the image")
