#!/usr/bin/env bash
# Starts `cargo run` and follows the curl lines that it prints. Needs Rust and
# curl.
set -euo pipefail
cd "$(dirname "$0")/.."
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
count=0
while read -r line; do
    echo "$line"
    status=$(eval "$line -o '$work/body' -w '%{http_code}'")
    [ "$status" = 200 ] || { echo "status $status"; cat "$work/body" "$work/err"; exit 1; }
    grep -q '"quantity_raw"' "$work/body" || { echo "no positions"; exit 1; }
    count=$((count + 1))
done < <(grep -o 'curl -s.*' "$work/out")
[ "$count" = 3 ] || { echo "expected three curl lines"; cat "$work/out"; exit 1; }

base=$(sed -n 's/^Gateway *//p' "$work/out")
refused=$(curl -s -o "$work/body" -w '%{http_code}' "$base/v1/wallets/0x12/defi")
[ "$refused" = 400 ] && grep -q '"invalid_address"' "$work/body"
stats=$(sed -n 's/^Requests to the upstreams are counted at //p' "$work/out")
curl -s "$stats" | tee "$work/stats"
grep -q '"zerion":{"requests":1,' "$work/stats"
echo
echo "first steps: as the README says"
