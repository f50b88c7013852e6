//! Uploads and downloads under faults.

use std::{fs, path::PathBuf, time::Duration};

use segue_client::Error;

use crate::{
    fake::{Fake, connection},
    pieces::piece,
    proxy::Proxy,
    streams::run,
};

const NAME: &str = "compositions/00c0ffee";

/// A new folder for one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_download_through_faults_has_the_bytes_of_the_output() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let (output, bytes) = fake.state.lock().unwrap().pieces[NAME].files[0].clone();
    let folder = folder("faults");
    for seed in 0..6 {
        let proxy = Proxy::start(fake.address, 100 + seed, 5, 100_000);
        let path = folder.join(format!("{seed}.flac"));
        let part = folder.join(format!("{seed}.flac.part"));
        // The file of an earlier download: empty, a correct part, a wrong part, too long, complete.
        let left = match seed {
            0 => Vec::new(),
            1 => bytes[..10_001].to_vec(),
            2 => vec![7; 5_000],
            3 => vec![7; bytes.len() + 1],
            _ => bytes.clone(),
        };
        fs::write(&part, left).unwrap();
        run(segue_client::download(&connection(proxy.address), &output, &path, Duration::from_secs(1), |_| {}))
            .unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        assert!(!part.exists());
    }
}

#[test]
fn a_file_with_a_wrong_digest_never_gets_its_name() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let (mut output, _) = fake.state.lock().unwrap().pieces[NAME].files[0].clone();
    output.sha256 = "0".repeat(64);
    let path = folder("digest").join("song.flac");
    let error = run(segue_client::download(&fake.connection(), &output, &path, Duration::from_millis(300), |_| {}))
        .unwrap_err();
    assert!(matches!(error, Error::ContractViolation(_)), "{error:?}");
    assert!(!path.exists());
}

#[test]
fn extra_data_of_a_server_is_not_written() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let (mut output, _) = fake.state.lock().unwrap().pieces[NAME].files[0].clone();
    output.size_bytes = 25_000;
    let path = folder("too_much").join("song.flac");
    let mut most = 0;
    let seen = |bytes: i64| most = most.max(bytes);
    let error =
        run(segue_client::download(&fake.connection(), &output, &path, Duration::from_millis(300), seen)).unwrap_err();
    assert!(matches!(error, Error::ContractViolation(_)), "{error:?}");
    assert!(most <= 25_000 && !path.exists(), "{most} bytes were written");
}

#[test]
fn an_upload_arrives_unchanged() {
    let fake = Fake::start(Vec::new());
    let path = folder("upload").join("song.wav");
    let bytes: Vec<u8> = (0..2_500_000_u32).map(|each| (each % 251) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    run(async {
        let mut client = fake.connection().open().await.unwrap();
        segue_client::upload(&mut client, &path, "audio/wav", |_| {}).await.unwrap();
    });
    assert!(fake.state.lock().unwrap().uploads["uploads/0123456789"] == bytes);
}
