//! Compares text with a file; `UPDATE_SNAPSHOTS=1` replaces the files.

use std::{env, fs, path::PathBuf};

pub fn assert_matches(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/client/snapshots").join(format!("{name}.txt"));
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let known = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(known == text, "{name} differs.\n--- expected\n{known}\n--- found\n{text}");
}
