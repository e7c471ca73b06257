#!/usr/bin/env bash
# Measures what checking a request costs, against the same gateway without
# authentication in the same run: Edge Auth, Caddy with forward_auth, nginx with
# auth_request, HAProxy with jwt_verify. Needs wrk, redis-server, nginx, haproxy and
# two cores (Debian's packages); python3-matplotlib draws the plot. ROUNDS and SLICE
# (seconds of load for each case in a round) can be set; EDGE_AUTH_CADDY names a
# binary to measure instead of building one. Further arguments: -only REGEXP for some
# of the cases, -growth for more and more sessions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in wrk redis-server nginx haproxy taskset; do
	command -v "$program" >/dev/null || { echo "bench: $program is needed: apt-get install $program" >&2; exit 1; }
done
mkdir -p bench/out
if [ -z "${EDGE_AUTH_CADDY:-}" ]; then
	export EDGE_AUTH_CADDY=$PWD/bench/out/caddy
	OUTPUT=$EDGE_AUTH_CADDY ./xcaddy.sh
fi
# Not by `go run`: it dies of a SIGTERM without passing it on, and all would run on.
go build -o bench/out/bench ./bench
bench/out/bench -rounds "${ROUNDS:-5}" -slice "${SLICE:-2}s" -json bench/out/figures.json "$@"
if python3 -c "import matplotlib" 2>/dev/null; then
	python3 bench/plot.py bench/out/figures.json bench/out/figures.png
else
	echo "bench: no plot, for want of matplotlib: apt-get install python3-matplotlib"
fi
