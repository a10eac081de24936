//! Writes the seeds that are no text: what the cache stores of a sample, and
//! bytes that wallets are made of. Run it when a stored format has changed:
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, bytes) in portfolio_fuzz::cache::stored_seeds() {
        fs::write(corpus.join("cache_stored").join(name), bytes)?;
    }
    for (name, bytes) in portfolio_fuzz::cache::made_up_seeds() {
        fs::write(corpus.join("cache_round_trip").join(name), bytes)?;
    }
    let whole = portfolio_fuzz::cursor::whole_seed();
    fs::write(corpus.join("cursor").join("whole-positive.txt"), whole)
}
