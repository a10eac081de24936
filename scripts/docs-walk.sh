#!/usr/bin/env bash
# Walks through the documents as a stranger would: takes the commands from
# their `sh` blocks and runs them, in order, with the ports and paths that are
# written there. Needs Rust, curl, and for everything the SAM CLI and
# cargo-lambda (both from PyPI).
#
#   scripts/docs-walk.sh                the whole walk
#   scripts/docs-walk.sh 'Deploy'       the sections whose headings match
#
# A comment before each block says what the walk does with it:
#
#   walk: run                         runs it; it must succeed
#   walk: run, prints TEXT            and print this
#   walk: run unless tested           not if WALK_TESTED is set: CI has just done so
#   walk: background until TEXT       starts it, and waits for this in its output
#   walk: background until http://…   or until something answers there
#   walk: first line in background until TEXT, rest unless tested
#                                     the one and then the other
#   walk: needs …                     does not run it: it needs what a walk lacks
#
# A block without such a comment is an error. What a block exports holds until
# the section ends (a heading of the second level), and so does what runs in
# the background; what that prints as `export` holds as well, and what it
# prints as curl lines must stand in the document. Blocks that are not run must
# at least be bash, name files that exist and parameters that template.yaml has.
#
# With WALK_ARCHITECTURE, `sam build` builds for that architecture, into
# target/sam-local: what scripts/sam-local.sh has compiled is not compiled again.
set -euo pipefail
cd "$(dirname "$0")/.."
documents=(README.md CONTRIBUTING.md docs/OPERATIONS.md docs/COSTS.md)
only=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Everything is to be a stand-in, and no AWS account is to be asked.
unset ZERION_BASE_URL ZERION_API_KEY CMC_BASE_URL CMC_API_KEY DEFILLAMA_BASE_URL AWS_ENDPOINT_URL_DYNAMODB \
    AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
export SAM_CLI_TELEMETRY=0 AWS_EC2_METADATA_DISABLED=true AWS_REGION=us-east-1 \
    AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null

# What a reader would see at once: an answer that is an error.
curl() { command curl --fail-with-body --max-time 900 "$@"; }
sam() {
    if [ "$1" = build ] && [ -n "${WALK_ARCHITECTURE:-}" ]; then
        command sam build --build-dir target/sam-local --parameter-overrides "Architecture=$WALK_ARCHITECTURE" "${@:2}"
    else
        command sam "$@"
    fi
}

# Writes every block of a document to a file of its own, and a line for it:
# its file, place, mark and section.
blocks() {
    local document=$1 line mark="" section="" block="" number=0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        if [ -n "$block" ]; then
            if [ "$line" = '```' ]; then
                block=""
            else
                printf '%s\n' "$line" >>"$block"
            fi
        elif [[ $line =~ ^'<!-- walk: '(.*)' -->'$ ]]; then
            mark=${BASH_REMATCH[1]}
        elif [[ $line =~ ^' '*'```'(sh|bash|shell|console)$ ]]; then
            if [ -z "$mark" ] || [ "$line" != '```sh' ]; then
                echo "$document:$number: a block of commands without a mark (<!-- walk: … -->), or not a plain sh block" >&2
                return 1
            fi
            block="$work/block-${document//\//-}-$number"
            : >"$block"
            printf '%s\t%s\t%s\t%s\n' "$block" "$document:$number" "$mark" "$section"
            mark=""
        elif [ -n "$mark" ]; then
            echo "$document:$number: a mark that no block follows" >&2
            return 1
        elif [[ $line == '## '* || $line == '# '* ]]; then
            section=$line
        elif [ "${line:0:3}" = '```' ]; then
            # Another language; only its end matters.
            block=/dev/null
        fi
    done <"$document"
}

# What holds of a block whether it can be run or not.
read_only() {
    local block=$1 place=$2 name
    bash -n "$block"
    while read -r name; do
        [ -e "$name" ] || { echo "$place: there is no $name"; return 1; }
    done < <(grep -oE '(^|[ "/])(events|scripts|tests|local|fuzz|docs)/[A-Za-z0-9_./-]+' "$block" | sed 's/^[ "/]//')
    while read -r name; do
        grep -q "^  $name:\$" template.yaml || { echo "$place: template.yaml has no parameter $name"; return 1; }
    done < <(sed -n '/parameter-overrides/,$p' "$block" | grep -oE '\b[A-Z][A-Za-z]+=' | tr -d = | sort -u)
}

# Waits until a process in the background is there.
wait_for() {
    local pid=$1 output=$2 until=$3
    for _ in $(seq 3000); do
        case $until in
            http*) command curl -s -o /dev/null "$until" && return ;;
            *) grep -qF -- "$until" "$output" && return ;;
        esac
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    echo "it ended or was too slow, before: $until"
    tail -n 40 "$output"
    return 1
}

# Runs the blocks of a section, listed on descriptor 3, one after the other. In
# a subshell, and never in a condition: there, a failure would not end it.
section() {
    # Not local: the trap outlives the function.
    pids=() output="" place=""
    local block mark line until rest count found
    exec 4>&1
    # What runs in the background has children, and a group of its own for them:
    # the whole group goes.
    trap 'code=$?
        for pid in "${pids[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
        # Bash would tell of each of them.
        exec 2>/dev/null
        wait
        if [ "$code" != 0 ]; then
            [ ! -s "$output" ] || tail -n 40 "$output" | cut -c -1000 >&4
            echo "FAILED $place" >&4
        fi' EXIT
    while IFS=$'\t' read -r block place mark <&3; do
        output="$block.out"
        read_only "$block" "$place"
        if [[ $mark == 'needs '* ]]; then
            echo "read  $place: $mark"
            continue
        fi
        if [ "$mark" = 'run unless tested' ] && [ -n "${WALK_TESTED:-}" ]; then
            echo "read  $place: has just been run"
            continue
        fi
        sed 's/^/  $ /' "$block"
        case $mark in
            'background until '* | 'first line in background until '*)
                rest=
                if [[ $mark == 'first line'* ]]; then
                    mark=${mark%, rest unless tested} rest="$block.rest"
                    tail -n +2 "$block" >"$rest"
                    sed -i '2,$d' "$block"
                fi
                until=${mark#*background until }
                if [[ $until == http* ]] && command curl -s -o /dev/null "$until"; then
                    echo "something else answers at $until"
                    exit 1
                fi
                set -m
                # shellcheck disable=SC1090
                source "$block" >"$output" 2>&1 3<&- 4>&- </dev/null &
                set +m
                pids+=("$!")
                wait_for "$!" "$output" "$until"
                # It may still be printing.
                sleep 0.5
                eval "$(grep '^  export ' "$output" || true)"
                while IFS= read -r line; do
                    grep -qxF -- "$line" "${place%:*}" || { echo "it prints what the document does not say: $line"; exit 1; }
                done < <(grep -oE 'curl -.*' "$output")
                if [ -n "$rest" ] && [ -z "${WALK_TESTED:-}" ]; then
                    output="$rest.out"
                    # shellcheck disable=SC1090
                    source "$rest" >"$output" 2>&1 3<&- 4>&- </dev/null
                fi
                ;;
            'run unless tested' | run | 'run, prints '*)
                # shellcheck disable=SC1090
                source "$block" >"$output" 2>&1 3<&- 4>&- </dev/null
                if [[ $mark == *prints* ]]; then
                    # Once for each request.
                    count=$(grep -c '^curl' "$block" || true)
                    found=$(grep -oF -- "${mark#run, prints }" "$output" | wc -l)
                    [ "$found" -ge "$((count > 0 ? count : 1))" ] || { echo "not printed (often enough): ${mark#*prints }"; exit 1; }
                fi
                ;;
            *)
                echo "no such mark: $mark"
                exit 1
                ;;
        esac
        echo "ok    $place (${SECONDS}s)"
    done
}

# Links within the repository lead somewhere.
for document in *.md docs/*.md docs/adr/*.md fuzz/*.md; do
    while read -r link; do
        [ -e "$(dirname "$document")/$link" ] || { echo "$document: there is no $link"; exit 1; }
    done < <(sed -n 's/](/\n](/gp' "$document" | sed -n 's/^](\([^)# ]*\)[^)]*).*/\1/p' | grep -vE '^(https?:.*|)$')
done

for document in "${documents[@]}"; do
    blocks "$document"
done >"$work/all"
mapfile -t sections < <(cut -f 2,4 "$work/all" | sed 's/:[0-9]*\t/\t/' | uniq)
walked=0
for entry in "${sections[@]}"; do
    document=${entry%%$'\t'*}
    heading=${entry#*$'\t'}
    [[ $heading =~ $only ]] || continue
    printf '\n%s: %s\n' "$document" "${heading##*# }"
    awk -F '\t' -v OFS='\t' -v document="$document:" -v heading="$heading" \
        'index($2, document) == 1 && $4 == heading { print $1, $2, $3 }' "$work/all" >"$work/section"
    (section) 3<"$work/section"
    walked=$((walked + $(wc -l <"$work/section")))
done
[ "$walked" -gt 0 ] || { echo "no section matches '$only'"; exit 1; }
echo
echo "docs: $walked blocks of commands, as documented"
