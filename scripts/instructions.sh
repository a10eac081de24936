#!/usr/bin/env bash
# Counts the processor's instructions of each stage of an answer and compares them
# with those in benches/. Unlike times they are the same on a busy machine, but others
# for another processor architecture or compiler.
# Needs valgrind; as root on Debian it is installed.
#
#   scripts/instructions.sh           fails if a stage takes a twentieth more
#   scripts/instructions.sh --update  writes this architecture's figures anew
set -euo pipefail
cd "$(dirname "$0")/.."

figures=benches/instructions-$(uname -m).csv
# What is more than this, in percent, is a regression; what is less is worth an update.
tolerance=5

if ! command -v valgrind >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq valgrind >/dev/null
    else
        echo "instructions: needs valgrind" >&2
        exit 1
    fi
fi

program=$(cargo bench --quiet --package portfolio-domain --bench instructions --no-run \
    --message-format json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)

# The instructions of so many rounds of a stage, start and preparation included.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" "$3" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

measured=$(mktemp)
trap 'rm -f "$measured"' EXIT
for stage in decode value render page-of-one; do
    for tokens in 30 300; do
        few=$(count "$stage" "$tokens" 2)
        many=$(count "$stage" "$tokens" 12)
        echo "$stage,$tokens,$(((many - few) / 10))" >>"$measured"
    done
done

if [ "${1:-}" = --update ]; then
    { echo "stage,tokens,instructions" && cat "$measured"; } >"$figures"
    cat "$figures"
    exit
fi

if [ ! -f "$figures" ]; then
    echo "instructions: there is no $figures to compare with; --update writes it"
    cat "$measured"
    exit
fi

failed=0
while IFS=, read -r stage tokens now; do
    before=$(sed -n "s/^$stage,$tokens,//p" "$figures")
    if [ -z "$before" ]; then
        echo "instructions: $stage of $tokens tokens: $now, and no figure in $figures"
        failed=1
        continue
    fi
    change=$(((now - before) * 1000 / before))
    printf 'instructions: %-12s %5s tokens %10s, was %10s (%s per mille)\n' \
        "$stage" "$tokens" "$now" "$before" "$change"
    if [ "$change" -gt $((tolerance * 10)) ]; then
        echo "instructions: $stage of $tokens tokens takes more than $tolerance % more"
        failed=1
    fi
done <"$measured"
exit "$failed"
