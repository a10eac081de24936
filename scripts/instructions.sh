#!/usr/bin/env bash
# Counts the processor's instructions of each stage of an answer and of each kind of
# request, and the peak memory of a large miss in MB, and compares them with those in
# benches/. Unlike times they are the same on a busy machine, but others for another
# processor architecture or compiler.
# Needs valgrind; as root on Debian it is installed.
#
#   scripts/instructions.sh           fails if something takes a twentieth more
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

# Builds a bench with these options; prints its program.
build() {
    cargo bench --quiet "$@" --no-run --message-format json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

# The instructions of so many rounds, start and preparation included.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

measured=$(mktemp)
trap 'rm -f "$measured"' EXIT

# Adds the instructions of one round, worked out from so many, to what was measured.
measure() {
    local program=$1 what=$2 positions=$3 rounds=${4:-10} few many
    few=$(count "$program" "$what" "$positions" 2)
    many=$(count "$program" "$what" "$positions" $((2 + rounds)))
    echo "$what,$positions,$(((many - few) / rounds))" >>"$measured"
}

stages=$(build --package portfolio-domain --bench instructions)
for stage in decode value render page-of-one; do
    for positions in 30 300; do
        measure "$stages" "$stage" "$positions"
    done
done

requests=$(build --profile load --workspace --bench requests)
for kind in distinct price-miss structure-miss; do
    measure "$requests" "$kind" 300
done
# So small that the start's own differences would show.
for kind in repeated unmodified; do
    measure "$requests" "$kind" 300 300
done
measure "$requests" page 10000

memory=$(build --profile load --workspace --bench memory)
peak=$("$memory" 20000 | awk '$1 == 20000 { print $5 }')
echo "memory,20000,$peak" >>"$measured"

if [ "${1:-}" = --update ]; then
    { echo "what,positions,instructions" && cat "$measured"; } >"$figures"
    cat "$figures"
    exit
fi

if [ ! -f "$figures" ]; then
    echo "instructions: there is no $figures to compare with; --update writes it"
    cat "$measured"
    exit
fi

failed=0
while IFS=, read -r what positions now; do
    before=$(sed -n "s/^$what,$positions,//p" "$figures")
    if [ -z "$before" ]; then
        echo "instructions: $what of $positions positions: $now, and no figure in $figures"
        failed=1
        continue
    fi
    change=$(((now - before) * 1000 / before))
    printf 'instructions: %-14s %5s positions %10s, was %10s (%s per mille)\n' \
        "$what" "$positions" "$now" "$before" "$change"
    if [ "$change" -gt $((tolerance * 10)) ]; then
        echo "instructions: $what of $positions positions takes more than $tolerance % more"
        failed=1
    fi
done <"$measured"
exit "$failed"
