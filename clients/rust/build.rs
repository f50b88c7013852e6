//! Generates the client, the tests' server and the descriptors for JSON from the contract. It does not need protoc.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::prost_reflect::{DescriptorPool, DynamicMessage};

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
    let mut compiler = protox::Compiler::new(roots)?;
    compiler.include_source_info(true).include_imports(true).open_files(contract)?;
    let formats = file_formats(&compiler.descriptor_pool()).ok_or("FileFormat lacks an option file_format")?;
    fs::write(out.join("file_formats.rs"), formats)?;
    let mut files = compiler.file_descriptor_set();
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

/// Writes the options of the values of `FileFormat` as a Rust table: number, suffixes without the dot, media type.
fn file_formats(contract: &DescriptorPool) -> Option<String> {
    let option = contract.get_extension_by_name("segue.audio.v1.file_format")?;
    let mut rows = Vec::new();
    for value in contract.get_enum_by_name("segue.audio.v1.FileFormat")?.values().filter(|each| each.number() != 0) {
        let options = value.options();
        if !options.has_extension(&option) {
            return None;
        }
        let format = options.get_extension(&option);
        let format: &DynamicMessage = format.as_message()?;
        let suffixes = format.get_field_by_name("suffixes")?;
        let suffixes: Vec<&str> =
            suffixes.as_list()?.iter().filter_map(|each| each.as_str()?.strip_prefix('.')).collect();
        let media_type = format.get_field_by_name("media_type")?;
        rows.push(format!("({}, &{suffixes:?}, {:?})", value.number(), media_type.as_str()?));
    }
    Some(format!("const TABLE: &[(i32, &[&str], &str)] = &[{}];\n", rows.join(", ")))
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
