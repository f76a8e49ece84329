#!/usr/bin/env bash
# Tries docker-compose.yml on this machine, from nothing to nothing: 5 workers, a few hundred mails into the
# catcher, one worker killed in the middle of its work, a drain. Exit 0 when all of it holds; takes 3 minutes.
#
# It has a project, volumes, ports and settings of its own: an installation that runs here is not touched, and
# no mail leaves the machine. COMPOSE ("docker compose"), DOCKER ("docker") and the ports below may be set.
# Needs bash, Python 3.11+ and a Docker engine.
set -euo pipefail

COMPOSE=${COMPOSE:-docker compose} DOCKER=${DOCKER:-docker}
export API_PORT=${API_PORT:-18000} MAIL_PORT=${MAIL_PORT:-18025} PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090}
export GRAFANA_PORT=${GRAFANA_PORT:-13000}
export COMPOSE_PROJECT_NAME=sendonce-try SENDONCE_ENV_FILE=/dev/null SENDONCE_TAG=try
export SIGNUP_OPEN=true EMAIL_PROVIDERS=local=smtp://mail:1025 REDIS_URL=redis://redis:6379/0
unset DATABASE_URL SECRET_KEY JWT_SIGNING_KEY ALLOWED_HOSTS
export TRY_USER=try TRY_PASSWORD="try-$RANDOM-$RANDOM-$RANDOM"
WORKERS=5 FIRST=200 KILLED=400 DRAINED=400

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
started=$SECONDS

say()     { printf '\n[%3d s] %s\n' $((SECONDS - started)) "$*"; }
compose() { $COMPOSE --project-directory "$repository" --file "$repository/docker-compose.yml" --env-file /dev/null "$@"; }
quietly() { local log; log=$("$@" 2>&1) || { tail -n 15 <<<"$log"; return 1; }; }
client()  { python3 "$repository/deploy/compose/try_client.py" "$@"; }
audit()   { compose exec -T api python manage.py audit | tail -n 30; }
up()      { quietly compose up --detach --wait --wait-timeout 180 --scale "worker=$WORKERS" "$@"; }

catcher_is_healthy() { # a probe that fell into the time in which it was frozen counts against it
    local deadline=$((SECONDS + 60))
    until [ "$("$DOCKER" inspect --format '{{.State.Health.Status}}' "$(compose ps --quiet mail)")" = healthy ]; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.5
    done
}

unhealthy() { # what their probes said
    local container
    for container in $("$DOCKER" ps --quiet --filter health=unhealthy --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"); do
        "$DOCKER" inspect --format '{{.Name}}{{range .State.Health.Log}}
  {{.Start}} {{.End}} exit {{.ExitCode}} {{.Output}}{{end}}' "$container"
    done
}

leave() {
    local code=$?
    trap - EXIT
    if [ $code -ne 0 ]; then
        say "FAILED; the last lines of each service:"
        compose ps --all || true
        compose logs --tail 8 || true
        unhealthy
    fi
    quietly compose down --volumes --timeout 5 || true
    exit $code
}
trap leave EXIT
trap 'exit 130' INT TERM

say "Build and start everything, $WORKERS workers"
quietly compose down --volumes --timeout 5 # what an interrupted trial may have left
up --build
compose ps --all --format 'table {{.Service}}\t{{.Status}}'

say "$FIRST emails"
client sign_up
client workers $WORKERS
client post $FIRST first
client settled $FIRST
client mails $FIRST
client workers $WORKERS --each completed

say "The same $FIRST requests again: completed, nothing sent"
client post $FIRST first
client settled $((2 * FIRST))
client mails $FIRST

say "Prometheus sees each process"
client targets --workers $WORKERS
client counted $((2 * FIRST))

say "It has read the alerts, and Grafana is there"
client alerts
client grafana

say "A worker is killed while it holds jobs (the catcher is frozen, so that every worker holds some)"
quietly compose pause mail
client post $KILLED killed
client workers $WORKERS --each in_flight
victims=$(compose ps --quiet worker) victim=${victims%%$'\n'*}
quietly "$DOCKER" kill --signal KILL "$victim"
printf '  killed %s\n' "${victim:0:12}"
quietly compose unpause mail
client settled $((2 * FIRST + KILLED)) --within 120
client mails $((FIRST + KILLED))
audit

say "It is started again"
catcher_is_healthy
up --no-build
client workers $WORKERS
client targets --workers $WORKERS

say "Workers are stopped while they hold jobs: they finish these and take no more"
quietly compose pause mail
client post $DRAINED drained
client workers $WORKERS --each in_flight
stopping=$SECONDS
quietly compose stop worker &
stopped=$!
sleep 3 # the signals are out, nothing can be sent yet
quietly compose unpause mail
wait $stopped
printf '  stopped after %d s; exit codes:' $((SECONDS - stopping))
for worker in $(compose ps --all --quiet worker); do
    code=$("$DOCKER" inspect --format '{{.State.ExitCode}}' "$worker")
    printf ' %s' "$code"
    [ "$code" = 0 ]
done
printf '\n'
running=$(compose exec -T postgres psql -h 127.0.0.1 -U sendonce -d sendonce -Atc "SELECT count(*) FROM jobs_job WHERE status = 'running'")
printf '  jobs still running: %s\n' "$running"
[ "$running" = 0 ]

say "And go on, with 2 schedulers"
catcher_is_healthy
up --no-build --scale scheduler=2
client settled $((2 * FIRST + KILLED + DRAINED)) --within 120
client mails $((FIRST + KILLED + DRAINED))
client targets --workers $WORKERS --schedulers 2
audit

say "Everything down, and nothing left"
quietly compose down --volumes
left=$("$DOCKER" ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME";
       "$DOCKER" volume ls --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
[ -z "$left" ]

say "All of it held."
