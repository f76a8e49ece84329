# One image for every role. By default it is the API; the worker, the clock and migrations are commands:
#   docker run … sendonce python manage.py run_worker

# The compiler's side of the house stays behind: only the finished venv goes on.
FROM python:3.12-slim-bookworm AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv --without-pip /venv
# With --build-arg REQUIREMENTS=requirements-tracing.txt it can send traces, too (docs/tracing.md).
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-tracing.txt ./
RUN pip --python /venv/bin/python install --no-cache-dir --requirement "$REQUIREMENTS"

FROM python:3.12-slim-bookworm
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # The file system may be read-only; bytecode is made below.
    PYTHONDONTWRITEBYTECODE=1 \
    # Processes of the API.
    WEB_CONCURRENCY=2
WORKDIR /app

# The base image comes without bytecode, and the user below cannot write any: every start, and every health check,
# would compile the standard library anew (0.8 s of CPU for http.client alone, against 0.09).
RUN python -m compileall -q -x site-packages /usr/local/lib/python3.12

# A fixed number, so that volumes and Kubernetes can name it. The folders belong to it: a volume there inherits that.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sendonce \
    && install --directory --owner sendonce --group sendonce /secrets /secrets/grafana /journal

# Changes rarely, weighs most: first. The code belongs to root; the user can read it and no more.
COPY --from=builder /venv /venv
COPY . .
# Dummy secrets, in this command only: settings refuse to load without any.
RUN SECRET_KEY=build JWT_SIGNING_KEY=build python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q jobs migrations scheduler workers

USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=5 \
    CMD ["python", "-IS", "deploy/compose/probe.py", "8000", "/health/live"]
# Exec form: the server is process 1 and gets SIGTERM itself.
CMD ["python", "-m", "scheduler.server", "--bind", "0.0.0.0:8000"]
