#!/usr/bin/env bash
# Installs what the tests need, and runs them all; or one part of them:
#
#   ./test.sh [tidy|format|vet|lint|dependencies|vulnerabilities|unit|fuzz|integration|reproducible]...
#
# FUZZTIME is how long each fuzz target runs (1s): FUZZTIME=10m ./test.sh fuzz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

current=
step() {
	current=$*
	printf '\n== %s (after %d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60))
}

# finish says in the last line what failed, since its output may be long.
scratch=
finish() {
	local status=$?
	[ -z "$scratch" ] || rm -rf "$scratch"
	[ $status -eq 0 ] || [ -z "$current" ] || printf '\n== FAILED: %s\n' "$current" >&2
}
trap finish EXIT

tool() { go tool -modfile=tools/go.mod "$@"; }

# install makes sure of Debian packages: pairs of a file that shows that a
# package is there, and its name.
install() {
	local missing=()
	while [ $# -gt 1 ]; do
		command -v "$1" >/dev/null || [ -e "$1" ] || missing+=("$2")
		shift 2
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	local sudo=
	[ "$(id -u)" = 0 ] || sudo=sudo
	if ! command -v apt-get >/dev/null || { [ -n "$sudo" ] && ! command -v sudo >/dev/null; }; then
		echo "test.sh: please install ${missing[*]}" >&2
		exit 1
	fi
	step "installing ${missing[*]}"
	$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

tidy() {
	step "go.mod says what is used"
	go mod tidy -diff
	(cd tools && go mod tidy -diff)
}

format() {
	step "format"
	tool golangci-lint fmt --diff
}

vet() {
	step "vet"
	go vet ./...
}

lint() {
	step "lint"
	tool golangci-lint run --allow-parallel-runners
}

dependencies() {
	step "dependencies are what they were, and reviewed"
	go mod verify
	(cd tools && go mod verify)
	go test -count=1 -run E46 ./internal/layout
}

vulnerabilities() {
	step "known vulnerabilities"
	local report status=0
	report=$(tool govulncheck ./... 2>&1) || status=$?
	if [ $status -ne 0 ] && grep -qE 'fetching vulnerabilities|vuln\.go\.dev' <<<"$report" && ! grep -q 'Vulnerability #' <<<"$report"; then
		echo "SKIPPED: the database of govulncheck can't be reached from here, so known vulnerabilities were not looked for"
		return
	fi
	echo "$report"
	return $status
}

unit() {
	step "unit tests"
	# The race detector needs a C compiler.
	install redis-server redis-server gcc gcc /usr/include/stdio.h libc6-dev
	# shellcheck disable=SC2046
	go test -race -timeout 20m $(go list ./... | grep -v /integration)
	# The race detector makes everything slower, so this promise is held apart.
	go test -count=1 -run 'Hung' ./store/redis
}

fuzz() {
	step "fuzz targets, ${FUZZTIME:=1s} each"
	export FUZZTIME
	export -f fuzz_one
	# One core a target, and as many at once as there are cores.
	fuzz_targets | xargs -P "$(getconf _NPROCESSORS_ONLN)" -L 1 bash -c 'fuzz_one "$@"' _
}

# fuzz_targets lists packages and targets, a line each.
fuzz_targets() {
	local package
	for package in $(go list ./...); do
		grep -hoE '^func Fuzz[A-Za-z0-9_]+' $(go list -f '{{range .TestGoFiles}}{{$.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$.Dir}}/{{.}} {{end}}' "$package") /dev/null |
			sed "s|func |$package |" || true # there may be none
	done
}

# fuzz_one runs a target. Go's fuzzer sometimes takes its own end for a failure,
# and then names no input: such a run is made again.
fuzz_one() {
	local log try
	for try in 1 2 3 4; do
		if log=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -parallel 1 "$1" 2>&1); then
			echo "$2: $(tail -n 1 <<<"$log")"
			return
		fi
		if ! grep -q 'context deadline exceeded' <<<"$log" || grep -q 'Failing input' <<<"$log"; then
			break
		fi
		echo "$2: run $try ended late, and found nothing"
	done
	echo "$log"
	return 1
}

integration() {
	step "integration tests"
	install redis-server redis-server /usr/lib/python3/dist-packages/django python3-django \
		/usr/lib/python3/dist-packages/django_redis python3-django-redis \
		/usr/lib/python3/dist-packages/redis python3-redis curl curl \
		/usr/lib/python3/dist-packages/rest_framework_simplejwt python3-djangorestframework-simplejwt \
		/usr/lib/python3/dist-packages/cryptography python3-cryptography \
		/usr/lib/python3/dist-packages/argon2 python3-argon2 /usr/lib/python3/dist-packages/bcrypt python3-bcrypt \
		/usr/lib/python3/dist-packages/flask python3-flask \
		/usr/lib/python3/dist-packages/flask_session python3-flask-session \
		/usr/lib/python3/dist-packages/flask_login python3-flask-login \
		/usr/lib/python3/dist-packages/jwt python3-jwt \
		php php-cli php-cgi php-cgi /usr/share/doc/php-redis php-redis /usr/share/doc/php-igbinary php-igbinary \
		/usr/share/doc/php-msgpack php-msgpack \
		/usr/lib/python3/dist-packages/gunicorn python3-gunicorn /usr/sbin/lighttpd lighttpd \
		uwsgi-core uwsgi-core uwsgi_python3 uwsgi-plugin-python3 puma puma \
		node nodejs npm npm /usr/bin/chromium chromium
	if [ -z "${EDGE_AUTH_CADDY:-}" ]; then
		build
		export EDGE_AUTH_CADDY=$built
	fi
	# Most of these wait: for clocks, for each other, for what is down.
	go test -count=1 -timeout 20m -parallel 4 ./integration/...
}

# build builds the Caddy that a user would, once.
built=
build() {
	[ -z "$built" ] || return 0
	scratch=$(mktemp -d)
	built=$scratch/caddy
	OUTPUT=$built ./xcaddy.sh
}

# reproducible builds the same sources in another folder. Row E46 of the attack
# catalogue.
reproducible() {
	step "two builds are equal, byte for byte"
	build
	mkdir "$scratch/elsewhere"
	git ls-files -z --cached --others --exclude-standard --deduplicate |
		tar --null --ignore-failed-read -cf - -T - | tar -xf - -C "$scratch/elsewhere"
	mkdir "$scratch/tmp"
	(cd "$scratch/elsewhere" && OUTPUT=$scratch/again TMPDIR=$scratch/tmp ./xcaddy.sh)
	cmp "$built" "$scratch/again"
}

if [ $# -eq 0 ]; then
	set -- tidy format vet lint dependencies vulnerabilities unit fuzz integration reproducible
fi
for part in "$@"; do
	case $part in
	tidy | format | vet | lint | dependencies | vulnerabilities | unit | fuzz | integration | reproducible) "$part" ;;
	*)
		sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
		exit 2
		;;
	esac
done
step "all passed: $*"
