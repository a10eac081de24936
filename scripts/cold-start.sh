#!/usr/bin/env bash
# Measures cold starts: builds the functions as for a deployment, and the
# function that does nothing, and starts each of them twenty times under
# Lambda's runtime interface emulator. Prints the times and how they compare.
# Fails only if one takes more than twice as long as its budget allows: machines
# that others use as well are no good at measuring.
#
# Needs cargo-lambda and the SAM CLI, which brings the emulator (both from
# PyPI). With the directory of a `sam build` as its argument it measures those
# functions instead of building its own.
set -euo pipefail
cd "$(dirname "$0")/.."

case $(uname -m) in
    x86_64) architecture=x86_64 option=--x86-64 ;;
    *) architecture=arm64 option=--arm64 ;;
esac
sam=$(readlink -f "$(command -v sam)") || {
    echo "the SAM CLI is not installed" >&2
    exit 1
}
# Next to the libraries of the Python that runs it.
emulator=$(find "$(dirname "$sam")/../lib" -path "*/samcli/local/rapid/aws-lambda-rie-$architecture" -print -quit)
[ -n "$emulator" ] || {
    echo "the SAM CLI at $sam has no aws-lambda-rie-$architecture" >&2
    exit 1
}

# By itself: together with others it would be built with their features.
cargo lambda build --quiet --release "$option" -p hello
built=${CARGO_TARGET_DIR:-$PWD/target}/lambda
functions=()
for name in aggregate defi wallet registry refresh; do
    if [ $# -gt 0 ]; then
        functions+=("$(realpath "$1")/${name^}Function/bootstrap")
    else
        (cd "functions/$name" && cargo lambda build --quiet --release "$option")
        functions+=("$built/$name/bootstrap")
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$emulator" "$work/emulator"
chmod +x "$work/emulator"
cargo bench --quiet --profile load --workspace --bench cold -- "$work/emulator" "$built/hello/bootstrap" "${functions[@]}"
