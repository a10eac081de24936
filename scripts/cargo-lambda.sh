#!/usr/bin/env bash
# Runs the three functions under cargo-lambda's emulator against the local
# services. Needs cargo-lambda (from PyPI or crates.io) and curl.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${PORT:-9137}
work=$(mktemp -d)
pids=()
pid=
# cargo-lambda leaves its children running: the whole group goes.
trap 'for pid in "${pids[@]}"; do kill -- "-$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT
set -m

cargo build --quiet --bins
cargo run --quiet -- services --dynamodb-port 0 --upstream-port 0 >"$work/services" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    grep -q 'export ZERION_BASE_URL' "$work/services" && break
    sleep 0.2
done
eval "$(grep '^  export ' "$work/services")"
export AWS_REGION=us-east-1

cargo lambda watch --ignore-changes --invoke-address 127.0.0.1 --invoke-port "$port" >"$work/watch" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
    curl -s -o /dev/null "http://127.0.0.1:$port/" && break
    sleep 0.2
done

# The first invocation of each function builds it.
get() { curl -s --compressed --max-time 600 -o "$work/body" -w '%{http_code}' "http://127.0.0.1:$port$1"; }
expect() {
    local status
    status=$(get "$1")
    echo "$status $1"
    [ "$status" = "$2" ] || { cat "$work/body" "$work/watch"; exit 1; }
    grep -q "$3" "$work/body" || { echo "no $3 in:"; cat "$work/body"; exit 1; }
}
wallet=/v1/wallets/0x2002def1c8a94b7e60d3f5a2197bc4e8d60f2002
expect "$wallet/aggregate" 200 '"by_protocol"'
expect "$wallet/defi" 200 '"protocols"'
expect "$wallet/wallet" 200 '"positions"'
# With a slash at its end a path is a route of its own to the emulator.
expect "$wallet/defi/" 200 '"protocols"'
expect "$wallet/aggregate?limit=0" 400 '"invalid_parameter"'

# Every event, as its function gets it from whatever sends it.
for event in events/*.json; do
    name=$(basename "$event" .json)
    answer=$(cargo lambda invoke "${name%%-*}" --invoke-address 127.0.0.1 --invoke-port "$port" --data-file "$event" 2>&1) || {
        echo "$name: $answer"
        tail -n 40 "$work/watch"
        exit 1
    }
    case $name in
        refresh-*watch | refresh-list) expected=wallets ;;
        refresh-schedule) expected='"failed":0' ;;
        registry-schedule) expected='"assets"' ;;
        registry-direct) expected='"coins"' ;;
        *-sqs) expected=itemIdentifier ;;
        *-sns | *-eventbridge | *-schedule) expected='"failed":0' ;;
        *-direct) expected='"net_worth"' ;;
        *) expected='"statusCode":200' ;;
    esac
    grep -q -- "$expected" <<<"$answer" || { echo "$name: no $expected in $answer"; exit 1; }
    echo "ok $name"
done
echo "cargo lambda watch and invoke: as documented"
