#!/usr/bin/env bash
# The cluster in containers, for real: builds the image, starts a scheduler and two executors, runs the clickstream pipeline over and over while
# executors are added and taken away, and compares the tables with those that the same scripts write without a cluster.
#   tests/containers/compose.sh PATH_TO_BINARY
# Exit codes: 0 all went well, 1 something did not, 2 wrong usage, 77 there is no Docker Engine or no base image (the code for a skipped test). Leaves nothing behind
# but the base image, which is slow to make; see scripts/build-image.sh for what that takes.
set -euo pipefail
here="$(cd "$(dirname "$0")/../.." && pwd)"
[ "$#" = 1 ] && [ -x "$1" ] || { echo "usage: $0 PATH_TO_BINARY" >&2; exit 2; }
binary="$(realpath "$1")"

skip() { echo "skipped: $*"; exit 77; }
step() { echo "== $*"; }
fail() { echo "error: $*" >&2; exit 1; }

command -v docker >/dev/null || skip "there is no 'docker' command"
timeout 20 docker version >/dev/null 2>&1 || skip "no Docker Engine answers"
if docker compose version >/dev/null 2>&1; then
    compose_command=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose_command=(docker-compose)
else
    skip "there is neither 'docker compose' nor 'docker-compose'"
fi

# Settings of whoever runs this must not reach the cluster under test, and neither must a file `.env` in the checkout.
for name in "${!ORRERY_@}" "${!AWS_@}" "${!COMPOSE_@}"; do unset "$name"; done
project="orrery-test-$$-$RANDOM"
image="orrery-test:$project"
password="correct horse $RANDOM"
work="$(mktemp -d)"
# Containers read the data as a user of their own.
chmod 755 "$work"
mkdir "$work/data"
# Port 0: Docker picks ports that are free, so that tests and clusters on one machine do not meet.
cat >"$work/env" <<END
ORRERY_IMAGE=$image
ORRERY_DATA=$work/data
ORRERY_PUBLISH_CLIENT_PORT=0
ORRERY_PUBLISH_HTTP_PORT=0
ORRERY_VCORES=2
ORRERY_ADMIN_PASSWORD=$password
END

# Every call is bounded: a test that hangs tells nothing.
compose() { timeout 180 "${compose_command[@]}" --project-name "$project" --file "$here/docker-compose.yml" --env-file "$work/env" "$@"; }
quietly() { "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; fail "failed: $*"; }; }

rounds=
clean_up() {
    local code=$?
    trap - EXIT
    set +e
    [ -z "$rounds" ] || kill "$rounds" 2>/dev/null
    if [ "$code" != 0 ] && [ "$code" != 77 ]; then
        echo "== what the containers said" >&2
        compose ps >&2
        compose logs --no-color --tail 80 >&2
        [ ! -e "$work/submit.out" ] || { echo "== what the last run said" >&2; tail -n 20 "$work/submit.out" >&2; }
    fi
    compose down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1
    docker rmi --force "$image" >/dev/null 2>&1
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Answers of the scheduler's HTTP port, without a program that a test machine may lack.
get() {
    local status line
    exec 3<>"/dev/tcp/127.0.0.1/$http_port" || return 1
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
    read -r -t 5 _ status _ <&3 || return 1
    while read -r -t 5 line <&3 && [ "$line" != $'\r' ]; do :; done
    timeout 5 cat <&3
    exec 3>&-
    [ "$status" = 200 ]
} 2>/dev/null
executors() { get /api/executors | grep -o '"id":' | wc -l; }
running() { get /api/runs | grep -q '"state":"running"'; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; }
has_executors() { [ "$(executors)" = "$1" ]; }
# until_true SECONDS WHAT COMMAND…
until_true() {
    local deadline=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@" >/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "waited in vain: $what"
        sleep 0.2
    done
    echo "   $what"
}

step "base image"
timeout 400 "$here/scripts/build-image.sh" --base >"$work/said" 2>&1 || { cat "$work/said"; skip "no base image can be made here"; }

step "image from $binary"
# Its text goes to a file: a failure shows it, a success needs none of it.
quietly env ORRERY_IMAGE="$image" timeout 900 "$here/scripts/build-image.sh" "$binary"
tail -n 1 "$work/said"

step "data, and the same scripts without a cluster"
quietly timeout 120 "$binary" generate clickstream --events 20000 --out "$work/data" --quiet
chmod -R a+rX "$work/data"
quietly timeout 300 "$binary" run "$here/sql/clickstream" --set "source=$work/data" --warehouse "$work/warehouse" --quiet

step "one scheduler, two executors"
quietly compose up -d --no-build --scale executor=2
http_port="$(compose port scheduler 8080)"
http_port="${http_port##*:}"
client_port="$(compose port scheduler 50060)"
client_port="${client_port##*:}"
until_true 60 "/readyz on port $http_port says yes" get /readyz
until_true 60 "two executors have joined" has_executors 2

step "runs, one after another, until the executors have come and gone"
# However fast the machine is, a run is always on while the cluster changes its size.
run_rounds() {
    local child= round=0
    trap '[ -z "$child" ] || kill "$child"; exit 1' TERM
    until [ -e "$work/enough" ]; do
        ORRERY_USER=admin ORRERY_PASSWORD="$password" timeout 300 "$binary" submit --to "http://127.0.0.1:$client_port" "$here/sql/clickstream" --set source=/data --quiet >"$work/submit.out" 2>&1 &
        child=$!
        wait "$child" || { echo "run $((round + 1)) ended with exit code $?" >"$work/failed"; return 1; }
        round=$((round + 1))
    done
    echo "   $round run(s), all with exit code 0"
}
run_rounds &
rounds=$!
until_true 60 "a run is on" running
quietly compose up -d --no-build --no-recreate --scale executor=3
until_true 60 "three executors" has_executors 3
# At least one plan is made for three before two of them leave.
sleep 2
quietly compose up -d --no-build --no-recreate --scale executor=1
until_true 60 "one executor" has_executors 1
touch "$work/enough"
if ! wait "$rounds"; then
    rounds=
    fail "$(cat "$work/failed" 2>/dev/null || echo "the runs ended early")"
fi
rounds=

step "health checks"
for container in $(compose ps -q); do
    until_true 60 "$(docker inspect --format '{{.Name}}' "$container") is healthy" healthy "$container"
done

step "tables"
rows_here() { timeout 60 "$binary" sql --warehouse "$work/warehouse" --format csv -c "$1"; }
rows_there() { compose exec -T scheduler orrery sql --format csv -c "$1" </dev/null; }
compared=0
rows=0
for schema in bronze silver gold; do
    # The table's name is the second column where the schema's is the first.
    rows_here "SHOW TABLES IN $schema" | tail -n +2 | sort >"$work/tables.here"
    rows_there "SHOW TABLES IN $schema" | tail -n +2 | sort >"$work/tables.there"
    cmp "$work/tables.here" "$work/tables.there" || fail "schema $schema has other tables"
    for table in $(cut -d, -f2 "$work/tables.here"); do
        rows_here "SELECT * FROM $schema.$table" | sort >"$work/rows.here"
        rows_there "SELECT * FROM $schema.$table" | sort >"$work/rows.there"
        cmp "$work/rows.here" "$work/rows.there" || { diff "$work/rows.here" "$work/rows.there" | head -n 10 >&2; fail "$schema.$table differs"; }
        compared=$((compared + 1))
        rows=$((rows + $(wc -l <"$work/rows.here") - 1))
    done
done
# Two times nothing is equal, too. The events alone are in three of the tables.
[ "$compared" -gt 10 ] && [ "$rows" -gt 50000 ] || fail "only $rows rows in $compared tables were found"
echo "   $rows rows in $compared tables equal those of the run without a cluster"

step "the end"
quietly compose down --volumes
label="label=com.docker.compose.project=$project"
left="$(docker ps -aq --filter "$label")$(docker volume ls -q --filter "$label")$(docker network ls -q --filter "$label")"
[ -z "$left" ] || fail "left behind: $left"
echo "   no container, volume or network is left"
