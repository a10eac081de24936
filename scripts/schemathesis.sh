#!/usr/bin/env bash
# Checks the gateway of `cargo run` against docs/openapi.json: examples, edge
# values, random requests and sequences of them, right ones and wrong ones.
# Needs Rust and schemathesis, on the PATH or in target/ci-tools.
# CASES (200) bounds the requests per operation.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/target/ci-tools/bin:$PATH"
work=$(mktemp -d)
cargo build --quiet
cargo run --quiet -- --port 0 --dynamodb-port 0 --upstream-port 0 >"$work/out" 2>"$work/err" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

for _ in $(seq 100); do
    [ "$(grep -c 'curl -s' "$work/out")" -ge 3 ] && break
    kill -0 "$server" || { cat "$work/out" "$work/err"; exit 1; }
    sleep 0.2
done
base=$(sed -n 's/^Gateway *//p' "$work/out")

# It writes its cache where it is started.
config="$PWD/tests/schemathesis/schemathesis.toml"
export SCHEMATHESIS_HOOKS="$PWD/tests/schemathesis/hooks.py"
description="$PWD/docs/openapi.json"
status=0
# Left out: whether credentials are looked at, which is API Gateway's affair.
(
    cd "$work"
    schemathesis --config-file "$config" run "$description" --url "$base" \
        --checks all --exclude-checks ignored_auth --max-examples "${CASES:-200}" --no-color
) | tee "$work/report" || status=$?
if [ "$status" != 0 ]; then
    tail -20 "$work/err"
    exit "$status"
fi

# A run that only meets problems, or one page of each wallet, checks little.
answers() { sed -n "s/^answers:.*\b$1: \([0-9]*\).*/\1/p" "$work/report"; }
[ "$(answers 200)" -ge 300 ] || { echo "too few portfolios"; exit 1; }
[ "$(answers 'pages behind the first')" -ge 50 ] || { echo "too few pages"; exit 1; }
echo "the API: as described"
