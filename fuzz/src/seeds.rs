//! The seeds, for tests.

use std::{fs, path::Path};

/// Names and contents of a target's seeds; what a run has added is left out.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of seeds") {
        let path = entry.expect("a seed").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name").to_owned();
        if name.contains('.') {
            seeds.push((name, fs::read(path).expect("a seed")));
        }
    }
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}
