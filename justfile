# The commands of README.md and CONTRIBUTING.md, by name: `just --list`.
# `pip install rust-just` or `cargo install just` brings just; nothing needs it.

# Shows what there is.
[private]
default:
    @just --list

# The whole product on this machine; options as for `cargo run`.
run *options:
    cargo run -- {{ options }}

# All tests that need nothing but Rust.
test *options:
    cargo test --workspace {{ options }}

# Format and clippy.
lint:
    cargo fmt --check && cargo clippy --workspace --all-targets -- -D warnings

# Circles among the imports of files; `--graph` for Graphviz's dot.
imports *options:
    scripts/imports.py {{ options }}

# Everything that is checked before a change lands, with its tools.
ci:
    .ci/run

# Every fuzz target for so many seconds; needs cargo-fuzz.
fuzz seconds="300":
    scripts/fuzz.sh {{ seconds }}

# Figures of `load`, `memory`, `warm` or `zipf`.
bench name="load":
    cargo bench --workspace --profile load --bench {{ name }}

# The instructions of each stage of an answer, against those in benches/.
instructions *options:
    scripts/instructions.sh {{ options }}

# Random requests and faults for so many seconds.
soak seconds="600":
    SOAK_SECONDS={{ seconds }} cargo test --workspace --test it soak:: -- --nocapture

# So many random steps of three processes with copies of wallets.
coherence steps="10000":
    COHERENCE_STEPS={{ steps }} cargo test --workspace --test it coherence:: -- --nocapture

# Several processes over a simulated table; `--seed N` for one with its trace.
simulation *options="--seeds 100000":
    cargo run --release -p portfolio-simulation -- {{ options }}

# What the price book costs where wallets are asked for once a minute.
price-load seed="1":
    cargo run --profile load -p portfolio-simulation -- --price-load {{ seed }}

# Whether tests notice changes to the rules in .cargo/mutants.toml; needs cargo-mutants.
mutants *options:
    cargo mutants --package portfolio-domain --package portfolio {{ options }}

# The templates; needs the SAM CLI and cfn-lint.
sam-validate:
    scripts/sam-validate.sh

# The gateway against docs/openapi.json; needs schemathesis.
api-check:
    scripts/schemathesis.sh

# Writes docs/openapi.json anew.
openapi:
    cargo run --quiet -- openapi >target/openapi.json && mv target/openapi.json docs/openapi.json
