#!/usr/bin/env bash
# Runs every fuzz target for some seconds, 300 unless told otherwise. Needs
# cargo-fuzz (from crates.io) and a nightly toolchain, or a stable one, which
# then takes nightly's options. fuzz/README.md has more.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-300}
targets=("${@:2}")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
[ "${#targets[@]}" -gt 0 ] || { echo "cargo fuzz lists no targets" >&2; exit 1; }

rustc --version | grep -q nightly || export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
    case $target in
        zerion*) dictionary=zerion ;;
        coinmarketcap* | defillama*) dictionary=prices ;;
        lambda*) dictionary=events ;;
        *) dictionary= ;;
    esac
    cargo fuzz run "$target" -- "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=4096 \
        ${dictionary:+"-dict=fuzz/dictionaries/$dictionary.dict"}
done
