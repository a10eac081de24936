#!/usr/bin/env bash
# Builds the functions as for a deployment and runs them as SAM local does, in
# containers, against the local services: every file in events/ by `sam local
# invoke`, the API by `sam local start-api`. Needs the SAM CLI and cargo-lambda
# (both from PyPI), curl, Python 3 and a container engine: Docker, or what
# scripts/container-engine.sh installs where there is none.
set -euo pipefail
cd "$(dirname "$0")/.."

# One line per file in events/: its name, and what must hold of the answer, in
# Python. `answer` is what the function returned; where that is an answer to
# HTTP, `status`, `headers` (names in lower case) and `body` are its parts. Of
# a queue's batch, the one unreadable message comes back.
checks() {
    cat <<'EOF'
aggregate-alb           status == 200 and body["scope"] == "aggregate" and body["totals"]["by_protocol"]
aggregate-apigw-v1      status == 200 and body["scope"] == "aggregate" and body["totals"]["by_protocol"]
aggregate-apigw-v2      status == 200 and body["scope"] == "aggregate" and body["totals"]["by_protocol"]
aggregate-direct        answer["scope"] == "aggregate" and answer["totals"]["by_protocol"]
aggregate-eventbridge   answer["payloads"] == 1 and answer["failed"] == 0
aggregate-function-url  status == 200 and body["scope"] == "aggregate" and body["totals"]["by_protocol"]
aggregate-schedule      answer["payloads"] == 1 and answer["failed"] == 0
aggregate-sns           answer["payloads"] == 1 and answer["failed"] == 0
aggregate-sqs           len(answer["batchItemFailures"]) == 1
defi-alb                status == 200 and body["scope"] == "defi" and body["defi"]["protocols"]
defi-apigw-v1           status == 200 and body["scope"] == "defi" and body["defi"]["protocols"]
defi-apigw-v2           status == 200 and body["scope"] == "defi" and body["defi"]["protocols"]
defi-direct             answer["scope"] == "defi" and answer["defi"]["protocols"]
defi-eventbridge        answer["payloads"] == 1 and answer["failed"] == 0
defi-function-url       status == 200 and body["scope"] == "defi" and body["defi"]["protocols"]
defi-schedule           answer["payloads"] == 1 and answer["failed"] == 0
defi-sns                answer["payloads"] == 1 and answer["failed"] == 0
defi-sqs                len(answer["batchItemFailures"]) == 1
refresh-list            isinstance(answer["wallets"], list)
refresh-schedule        answer["failed"] == 0 and not answer["overlapping"]
refresh-sqs             len(answer["batchItemFailures"]) == 1
refresh-unwatch         answer["wallets"] == 1
refresh-watch           answer["wallets"] == 2
registry-direct         answer["coins"] > 0 and answer["assets"] > 0
registry-schedule       answer["assets"] > 0
wallet-alb              status == 200 and body["scope"] == "wallet" and body["wallet"]["positions"]
wallet-apigw-v1         status == 200 and body["scope"] == "wallet" and body["wallet"]["positions"]
wallet-apigw-v2         status == 200 and body["scope"] == "wallet" and body["wallet"]["positions"]
wallet-direct           answer["scope"] == "wallet" and answer["wallet"]["positions"]
wallet-eventbridge      answer["payloads"] == 1 and answer["failed"] == 0
wallet-function-url     status == 200 and body["scope"] == "wallet" and body["wallet"]["positions"]
wallet-schedule         answer["payloads"] == 1 and answer["failed"] == 0
wallet-sns              answer["payloads"] == 1 and answer["failed"] == 0
wallet-sqs              len(answer["batchItemFailures"]) == 1
EOF
}

# The function of an event: what stands before the first hyphen of its name.
function_of() {
    local name=${1%%-*}
    echo "${name^}Function"
}

work=$(mktemp -d)
failed=0
cleanup() {
    local pid pids
    mapfile -t pids < <(jobs -rp)
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    # SAM removes its containers before it ends.
    for pid in "${pids[@]}"; do
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step() { printf '\n--- %s (%ss)\n' "$*" "$SECONDS"; }
wrong() {
    local log
    failed=$((failed + 1))
    echo "FAILED: $1"
    shift
    for log; do
        [ -s "$log" ] || continue
        echo "  $(basename "$log"):"
        tail -n 40 "$log" | cut -c -2000 | sed 's/^/    /'
    done
}

step "events and checks"
if ! diff <(checks | cut -d ' ' -f 1 | sort) <(basename -s .json -a events/*.json | sort) >"$work/missing"; then
    sed -n 's/^> /events without a check in scripts\/sam-local.sh: /p; s/^< /checks without an event in events\/: /p' "$work/missing"
    exit 1
fi

step "container engine"
engine=$(scripts/container-engine.sh)
eval "$engine"
# A function finds this machine under a name of Docker's that Linux lacks.
read -ra options <<<"${SAM_LOCAL_OPTIONS:---add-host host.docker.internal:host-gateway}"

step "sam build"
# Everything is to be a stand-in, whatever this shell is set up for. Without
# credentials SAM makes some up; with any, it would ask AWS whose they are.
unset ZERION_BASE_URL ZERION_API_KEY CMC_BASE_URL CMC_API_KEY DEFILLAMA_BASE_URL AWS_ENDPOINT_URL_DYNAMODB \
    AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
export SAM_CLI_TELEMETRY=0 AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true \
    AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
# For monitoring.yaml's loops; samconfig.toml does not lie next to what is built.
export SAM_CLI_ENABLE_LANGUAGE_EXTENSIONS=1
case $(uname -m) in
    x86_64) architecture=x86_64 ;;
    *) architecture=arm64 ;;
esac
# Not to .aws-sam/build: the next deployment may be for another architecture.
build="$PWD/target/sam-local"
sam build --build-dir "$build" --parameter-overrides "Architecture=$architecture" >"$work/build" 2>&1 || {
    wrong "sam build" "$work/build"
    exit 1
}
du -h "$build"/*/bootstrap
# The architecture again: SAM chooses the containers' image by it.
options+=(--template "$build/template.yaml" --parameter-overrides "Architecture=$architecture")

step "local services"
cargo build --quiet
cargo run --quiet -- services --host 0.0.0.0 --dynamodb-port 0 --upstream-port 0 >"$work/services" 2>&1 &
services=$!
for _ in $(seq 100); do
    grep -qs 'export ZERION_BASE_URL' "$work/services" && break
    kill -0 "$services" 2>/dev/null || break
    sleep 0.2
done
grep -q 'export ZERION_BASE_URL' "$work/services" || {
    wrong "cargo run -- services" "$work/services"
    exit 1
}
cat >"$work/env.py" <<'EOF'
"""The exports of `cargo run -- services`, on standard input, as SAM takes them."""

import json, sys

template = open("template.yaml").read()
variables = dict(line.strip().split("=", 1) for line in sys.stdin)
lost = [name for name in variables if f"        {name}:" not in template]
if lost:
    sys.exit(f"template.yaml lacks {', '.join(lost)}: SAM hands on only variables that stand there")
for name in variables:
    variables[name] = variables[name].replace("0.0.0.0", "host.docker.internal")
# A parameter without a default, which SAM would hand on as its name; empty,
# it lets the keys above count.
variables["UPSTREAM_SECRET_ARN"] = ""
# There is no queue here: runs fetch what is due themselves.
variables["REFRESH_QUEUE_URL"] = ""
json.dump({"Parameters": variables}, sys.stdout)
EOF
sed -n 's/^  export //p' "$work/services" | python3 "$work/env.py" >"$work/env.json"
options+=(--env-vars "$work/env.json")

cat >"$work/check.py" <<'EOF'
"""Whether an answer, on standard input, is as an expression says."""

import base64, gzip, json, sys

answer = json.load(sys.stdin)
names = {"answer": answer}
if isinstance(answer, dict) and "statusCode" in answer:
    headers = {name.lower(): values[0] for name, values in (answer.get("multiValueHeaders") or {}).items()}
    headers |= {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
    body = (answer.get("body") or "").encode()
    if answer.get("isBase64Encoded"):
        body = base64.b64decode(body)
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    names |= {"status": answer["statusCode"], "headers": headers, "body": json.loads(body) if body else None}
sys.exit(not eval(sys.argv[1], names))
EOF

step "sam local invoke"
declare -A invocations
# Both take a line of the table.
begin() {
    local event=${1%% *}
    sam local invoke "$(function_of "$event")" --event "events/$event.json" "${options[@]}" \
        >"$work/$event.answer" 2>"$work/$event.log" </dev/null &
    invocations[$event]=$!
}
finish() {
    local event check
    read -r event check <<<"$1"
    wait "${invocations[$event]}" || true
    if python3 "$work/check.py" "$check" <"$work/$event.answer" 2>"$work/reason"; then
        echo "ok $event"
    else
        wrong "$event: $check" "$work/reason" "$work/$event.answer" "$work/$event.log"
    fi
}
mapfile -t lines < <(checks)
# SAM mostly waits: one invocation is under way while another one ends.
ahead=2
for line in "${lines[@]:0:ahead}"; do
    begin "$line"
done
for i in "${!lines[@]}"; do
    finish "${lines[i]}"
    if [ "$((i + ahead))" -lt "${#lines[@]}" ]; then
        begin "${lines[i + ahead]}"
    fi
done

step "sam local start-api"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
api="http://127.0.0.1:$port"
# A container serves until the end, instead of one request. SAM stumbles over an
# authorizer that depends on a condition, and would check no tokens anyway.
sam local start-api --port "$port" --warm-containers LAZY --disable-authorizer "${options[@]}" >"$work/api" 2>&1 </dev/null &
serving=$!
for _ in $(seq 300); do
    curl -s -o /dev/null "$api/" && break
    kill -0 "$serving" 2>/dev/null || break
    sleep 0.2
done

# expect STATUS PATTERN PATH [OPTION...]: the pattern is looked for in the
# headers and the body; the body is left in $work/body.
expect() {
    local status=$1 pattern=$2 path=$3 got
    shift 3
    : >"$work/headers"
    : >"$work/body"
    got=$(curl -s --compressed --max-time 60 -D "$work/headers" -o "$work/body" -w '%{http_code}' "$@" "$api$path" || true)
    if [ "$got" = "$status" ] && grep -qsF -- "$pattern" "$work/headers" "$work/body"; then
        echo "ok $got $pattern: $path $*"
    else
        wrong "$got instead of $status, or no $pattern: $path $*" "$work/headers" "$work/body" "$work/api"
    fi
}
wallet=/v1/wallets/0x2002def1c8a94b7e60d3f5a2197bc4e8d60f2002
# So that nothing expires between these requests; SAM asks for no signature.
expect 204 '' "$wallet/cache" -X DELETE
expect 200 'structure; fwd=miss; stored' "$wallet/aggregate"
# The containers share the table.
expect 200 'structure; hit' "$wallet/defi"
expect 200 '"scope":"aggregate"' "$wallet/aggregate"
expect 200 '"scope":"defi"' "$wallet/defi"
expect 200 '"scope":"wallet"' "$wallet/wallet"
etag=$(sed -n 's/^etag: *\(.*\)\r$/\1/Ip' "$work/headers")
expect 304 "${etag:-an ETag}" "$wallet/wallet" -H "If-None-Match: $etag"
expect 400 '"code":"invalid_address"' /v1/wallets/0x12/defi
expect 400 '"code":"invalid_parameter"' "$wallet/aggregate?limit=0"
# By way of the function that takes what the API has no route for.
expect 200 '"scope":"defi"' "$wallet/defi/"
expect 200 'structure; hit' "$wallet/wallet" --head
expect 404 'application/problem+json' /v1/nothing
expect 404 '"code":"not_found"' /v1/nothing
expect 405 '"code":"method_not_allowed"' "$wallet/defi" -X POST

step "done"
[ "$failed" = 0 ] || {
    echo "$failed failed"
    exit 1
}
echo "sam local: as documented"
