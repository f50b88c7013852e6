//! Generates the client, the tests' server and the descriptors for JSON from the contract. It does not need protoc.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use prost::Message as _;
use prost_types::FileDescriptorSet;

const VALIDATION: &str = "buf/validate/validate.proto";
/// A file of the contract's details that no file of ours imports.
const ERROR_DETAILS: &str = "google/rpc/error_details.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repository = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let protos = repository.join("protos");
    let roots = [protos.clone(), repository.join("third_party/protos")];
    for root in &roots {
        println!("cargo:rerun-if-changed={}", root.display());
    }
    let mut contract = vec![PathBuf::from(ERROR_DETAILS)];
    contract.extend(proto_files(&protos, &protos.join("segue"))?);
    let mut files = protox::compile(contract, roots)?;
    // The server enforces the rules of the contract. Without them, half of the generated code is not needed.
    files.file.retain(|file| file.name() != VALIDATION);
    for file in &mut files.file {
        file.dependency.retain(|name| name != VALIDATION);
        if file.package() == "google.rpc" {
            // rustdoc would compile the JSON examples of its comments as Rust.
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
        if file.package() != "segue.composer.v1" {
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

/// Lists the proto files below a folder, relative to the root, in a stable order.
fn proto_files(root: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.map(|each| Ok(each?.path())).collect::<io::Result<_>>()?;
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(proto_files(root, &path)?);
        } else if path.extension().is_some_and(|each| each == "proto") {
            files.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
        }
    }
    Ok(files)
}
