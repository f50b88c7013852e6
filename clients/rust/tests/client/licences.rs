//! Every dependency has a permissive licence and builds with the promised compiler.

use std::process::Command;

use serde_json::Value;

const ALLOWED: [&str; 13] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
];

fn packages() -> Vec<Value> {
    let options = ["--format-version", "1", "--locked", "--offline", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = Command::new(env!("CARGO"))
        .arg("metadata")
        .args(options)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = tree["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 50);
    packages
}

#[test]
fn every_dependency_is_permissive() {
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
        assert!(is_permissive(&licence), "{} has the licence {licence:?}", package["name"]);
    }
}

#[test]
fn no_dependency_needs_a_newer_compiler() {
    let number = |text: &str| text.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    let promised = number(env!("CARGO_PKG_RUST_VERSION"));
    for package in packages() {
        let needed = package["rust_version"].as_str().unwrap_or("1.0");
        assert!(number(needed)[..2] <= promised[..2], "{} needs Rust {needed}", package["name"]);
    }
}

/// Whether one alternative of each part is in the list.
fn is_permissive(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], "");
    plain.split(" AND ").all(|needed| needed.split(" OR ").any(|licence| ALLOWED.contains(&licence.trim())))
}

#[test]
fn copyleft_licences_are_refused() {
    assert!(is_permissive("MIT OR GPL-3.0") && is_permissive("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!is_permissive("GPL-3.0") && !is_permissive("MIT AND AGPL-3.0") && !is_permissive(""));
}
