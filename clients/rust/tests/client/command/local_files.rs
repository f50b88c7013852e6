//! Tests of local files: existing files, read-only folders, full disks and damaged downloads.

use std::{fs, path::PathBuf};

use super::{NAME, files, segue};
use crate::{fake::Fake, pieces::piece, transfers::folder};

#[test]
fn an_existing_file_is_refused_and_unchanged() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("exists");
    fs::write(folder.join("song.flac"), "mine").unwrap();
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!((outcome.code, fs::read(folder.join("song.flac")).unwrap()), (Some(2), b"mine".to_vec()));
    assert!(fake.state.lock().unwrap().specs.is_empty(), "the work began without a place for its result");
    assert!(outcome.stderr.contains("--force"));
    assert_eq!(segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--force"]).code, Some(0));
}

#[test]
fn an_error_names_the_path_that_cannot_be_written() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("unwritable");
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "none/song.flac"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("none/song.draft.wav"), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().specs.is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_command_and_not_the_composition() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("full");
    std::os::unix::fs::symlink("/dev/full", folder.join("song.draft.wav")).unwrap();
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--force"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("free some disk space"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("segue watch compositions/00c0ffee"), "{}", outcome.stderr);
    assert!(!folder.join("song.flac").exists() && fake.state.lock().unwrap().cancelled.is_empty());
}

#[test]
fn a_damaged_master_never_gets_its_name() {
    let mut piece = piece(NAME, 1);
    piece.files[0].1[100] ^= 1;
    let (outcome, folder) = {
        let fake = Fake::start(vec![piece]);
        let folder = folder("digest_command");
        (segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]), folder)
    };
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    for words in ["segue download 00c0ffee", "the draft is in song.draft.wav"] {
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert!(!folder.join("song.flac").exists());
    assert!(folder.join("song.draft.wav").exists(), "the draft was removed without a master");
}

#[test]
fn other_files_beside_the_output_are_not_replaced() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("beside");
    fs::write(folder.join("song.bass.flac"), "mine").unwrap();
    fs::write(folder.join("song.draft.wav"), "mine").unwrap();
    let compose = ["compose", "rain", "-o", "song.flac", "--stems", "--keep-draft"];
    assert_eq!(segue(&fake, &folder, &compose).code, Some(0));
    let expected = ["song.bass-2.flac", "song.bass.flac", "song.draft-2.wav", "song.draft.wav", "song.flac"];
    assert_eq!(files(&folder), expected);
    for mine in ["song.bass.flac", "song.draft.wav"] {
        assert_eq!(fs::read(folder.join(mine)).unwrap(), b"mine");
    }
    assert!(fs::read(folder.join("song.bass-2.flac")).unwrap() == piece.files[1].1);
}

#[cfg(target_os = "linux")]
#[test]
fn an_error_names_a_read_only_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("read_only");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // Root can write to every folder except those of the kernel.
    let is_root = fs::File::create(folder.join("probe")).is_ok();
    let file = if is_root { PathBuf::from("/proc/self/song.flac") } else { folder.join("song.flac") };
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("song.draft.wav") && outcome.stderr.contains("hint: "), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().specs.is_empty(), "the work began without a place for its result");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_during_the_download_is_reported_with_the_path() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("full_end");
    std::os::unix::fs::symlink("/dev/full", folder.join("song.flac.part")).unwrap();
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("writing song.flac.part: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("free some disk space"), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == super::whole_wav(&piece));
}
