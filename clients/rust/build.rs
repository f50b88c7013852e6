//! Generates the client's code, the tests' server code and the descriptors for JSON from the contract. Needs no protoc.

use std::{env, fs, path::PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

const VALIDATION: &str = "buf/validate/validate.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let house = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let roots = [house.join("protos"), house.join("third_party/protos")];
    for root in &roots {
        println!("cargo:rerun-if-changed={}", root.display());
    }
    let contract =
        ["segue/composer/v1/composer.proto", "segue/errors/v1/errors.proto", "google/rpc/error_details.proto"];
    let mut files = protox::compile(contract, roots)?;
    // The rules of the contract are the server's to enforce; without them half of the generated code is not needed.
    files.file.retain(|file| file.name() != VALIDATION);
    for file in &mut files.file {
        file.dependency.retain(|name| name != VALIDATION);
        if file.package() == "google.rpc" {
            // Its examples are JSON, which the documentation would take for Rust.
            file.source_code_info = None;
        }
    }
    tonic_prost_build::configure()
        .build_server(false)
        .include_file("contract.rs")
        .compile_fds(FileDescriptorSet { file: files.file.clone() })?;

    let server = out.join("server");
    fs::create_dir_all(&server)?;
    let mut composer = files.clone();
    for file in &mut composer.file {
        if !file.name().starts_with("segue/composer/") {
            file.service.clear();
        }
    }
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".segue", "::segue_client::proto::segue")
        .extern_path(".google.rpc", "::segue_client::proto::google::rpc")
        .out_dir(&server)
        .compile_fds(composer)?;

    for file in &mut files.file {
        file.source_code_info = None;
    }
    fs::write(out.join("contract.bin"), files.encode_to_vec())?;
    Ok(())
}
