#!/usr/bin/env bash
# Checks the trees of dependencies, the workspace's and that of fuzz/: licences,
# banned and duplicate crates, where they come from (deny.toml), whether each is
# used (cargo-shear), and whether the lock files fit. Needs cargo-deny and
# cargo-shear.
#
#   scripts/dependencies.sh              what needs no network but crates.io
#   scripts/dependencies.sh advisories   known vulnerabilities; fetches RustSec's
#                                      database from GitHub
set -euo pipefail
cd "$(dirname "$0")/.."

fuzz=(--manifest-path fuzz/Cargo.toml --config deny.toml)

if [ "${1:-}" = advisories ]; then
    cargo deny --locked check advisories
    cargo deny --locked "${fuzz[@]}" check advisories
    exit
fi

# A duplicate that is gone must leave deny.toml as well; that a part of it does
# not concern fuzz/ is no news.
cargo deny --locked check -D unmatched-skip -D unnecessary-skip licenses bans sources
cargo deny --locked "${fuzz[@]}" check -A unmatched-skip -A unnecessary-skip licenses bans sources
cargo shear --locked --deny-warnings
cargo shear --locked --deny-warnings fuzz
echo "dependencies: as deny.toml says, and all of them used"
