//! Tests of `segue edit`, and of the names of compositions and sections.

use std::fs;

use segue_client::{
    json,
    proto::segue::{
        composer::v1::{Finished, MasterMode, composition_event::Event},
        mixer::v1::MasterPreset,
    },
};

use super::{NAME, check, files, segue};
use crate::{
    fake::{Fake, StreamFault},
    pieces::{editable, last, mastering, piece},
    snapshots::assert_matches,
    transfers::folder,
};

#[test]
fn an_edit_lists_new_sections_and_chooses_a_file_name() {
    let piece = editable(piece(NAME, 1));
    let last_one = piece.events.len() - 1;
    let fake = Fake::start(vec![piece]).with(|state| {
        state.faults.push_back(StreamFault::Corrupt(last_one, |event| {
            if let Some(Event::Finished(Finished { composition: Some(composition) })) = &mut event.event {
                composition.sections[2].take = "another take".into();
            }
        }));
    });
    let (outcome, folder) = check("edit", &fake, &["edit", "00c0", "--redo", "3"]);
    assert_eq!((outcome.code, files(&folder)[1].as_str()), (Some(0), "rain-31m-on-glass.flac"));
    let spec = fake.state.lock().unwrap().specs.pop().unwrap();
    assert_eq!((spec.parent.as_str(), spec.brief, spec.plan), (NAME, None, None));
    // Without options, the service uses the master settings and the format of the parent.
    assert_eq!((spec.master, spec.exports), (None, Vec::new()));
    let again = segue(&fake, &folder, &["edit", NAME, "--redo", "chorus", "--preset", "none"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(files(&folder).contains(&"rain-31m-on-glass-2.flac".to_owned()), "{:?}", files(&folder));
    let spec = fake.state.lock().unwrap().specs.pop().unwrap();
    assert_eq!(spec.master.unwrap().preset, MasterPreset::None as i32);
    let quieter = segue(&fake, &folder, &["edit", NAME, "--redo", "chorus", "--lufs", "-12"]);
    assert_eq!(quieter.code, Some(0), "{}", quieter.stderr);
    let settings = fake.state.lock().unwrap().specs.pop().unwrap().master.unwrap();
    assert_eq!((settings.preset, settings.target_lufs), (MasterPreset::Club as i32, Some(-12.0)));
    for (flag, value) in [("--bit-depth", "16"), ("--sample-rate", "44100"), ("--format", "mp3")] {
        assert_eq!(
            segue(&fake, &folder, &["edit", NAME, flag, value]).code,
            Some(if flag == "--format" { 4 } else { 0 })
        );
        let spec = fake.state.lock().unwrap().specs.pop().unwrap();
        assert_eq!(spec.exports.len(), 1, "{flag} had no effect");
    }
}

#[test]
fn changes_are_applied_in_the_order_of_the_command_line() {
    let fake = Fake::start(vec![editable(piece(NAME, 1))]);
    let folder = folder("edits");
    let asked = [
        "edit",
        NAME,
        "--remove",
        "2",
        "--insert",
        "3:8 bars bridge, F# minor, 3/4",
        "--move",
        "outro:bridge",
        "--redo",
        "3@7:darker, no drums",
        "--insert",
        "end:{\"role\": \"ROLE_CHORUS\", \"bars\": 2, \"energy\": [1, 0.5]}",
        "--replace",
        "3:",
        "--replace",
        "1:solo",
        "--move",
        "bridge:end",
        "--stems",
        "-o",
        "song.flac",
    ];
    let wrong = segue(&fake, &folder, &asked);
    assert_eq!(wrong.code, Some(2), "an empty section was accepted: {}", wrong.stderr);
    let asked = asked.map(|each| if each == "3:" { "3:16 bars" } else { each });
    let outcome = segue(&fake, &folder, &asked);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let spec = fake.state.lock().unwrap().specs.pop().unwrap();
    let json = json::to_value("segue.composer.v1.CompositionSpec", &spec).unwrap();
    assert_matches("edit_spec", &format!("{json:#}\n"));
}

#[test]
fn a_frozen_edit_has_no_master_settings() {
    let fake = Fake::start(vec![editable(piece(NAME, 1))]);
    let folder = folder("frozen");
    let edit = ["edit", NAME, "--redo", "verse", "--frozen", "-o", "song.flac"];
    assert_eq!(segue(&fake, &folder, &edit).code, Some(0));
    let spec = fake.state.lock().unwrap().specs.pop().unwrap();
    assert_eq!((spec.master, spec.master_mode), (None, MasterMode::Frozen as i32));
}

#[test]
fn an_edit_without_changes_can_write_other_files() {
    let mut wav = editable(piece(NAME, 1));
    for output in &mut last(&mut wav).outputs {
        output.name = output.name.replace("master.flac", "master.wav");
    }
    wav.files[0].0.name = wav.files[0].0.name.replace("master.flac", "master.wav");
    let fake = Fake::start(vec![wav]);
    let folder = folder("other_files");
    let outcome = segue(&fake, &folder, &["edit", NAME, "--stems"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(folder.join("rain-31m-on-glass.wav").exists(), "the file has another format: {:?}", files(&folder));
    let spec = fake.state.lock().unwrap().specs.pop().unwrap();
    assert!(spec.stems && spec.edits.is_empty());
}

#[test]
fn impossible_edits_are_refused_before_anything_is_sent() {
    let fake = Fake::start(vec![editable(piece(NAME, 1))]);
    let folder = folder("edit_wrong");
    check("edit_nothing", &fake, &["edit", NAME]);
    check("edit_unknown", &fake, &["edit", NAME, "--redo", "chorus-2"]);
    let cases: [(&[&str], &str); 13] = [
        (&["--redo", "5"], "4  0:03  outro"),
        (&["--redo", "0"], "no section 0"),
        (&["--remove", "2", "--redo", "2"], "no section verse any more"),
        (&["--remove", "1", "--remove", "2", "--remove", "3", "--remove", "4"], "no section would be left"),
        (&["--move", "2:verse"], "cannot be moved before itself"),
        (&["--move", "2"], "3:1 or 3:end"),
        (&["--insert", "2:bridge"], "a number of bars"),
        (&["--insert", "2:brigde, 8 bars"], "\"brigde\" is not a role"),
        (&["--insert", "9:bridge, 8 bars"], "no section 9"),
        (&["--replace", "2:{\"brs\": 3}"], "brs"),
        (&["--insert", "1:solo, 4 bars", "--replace", "solo:bridge"], "solo is a new section"),
        (&["--redo", "1", "--frozen", "--preset", "club"], "--preset"),
        (&["--redo", "1", "--frozen", "--lufs", "-12"], "--lufs"),
    ];
    for (changes, words) in cases {
        let outcome = segue(&fake, &folder, &[&["edit", NAME, "-o", "song.flac"], changes].concat());
        assert_eq!(outcome.code, Some(2), "{changes:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(words), "{changes:?}: {}", outcome.stderr);
    }
    let mastered = Fake::start(vec![mastering(NAME)]);
    let outcome = segue(&mastered, &folder, &["edit", NAME, "--redo", "1"]);
    assert!(outcome.code == Some(2) && outcome.stderr.contains("has no plan"), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().specs.is_empty() && files(&folder).is_empty());
}

#[test]
fn a_unique_prefix_is_enough_to_name_a_composition() {
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1), piece("compositions/0badc0de", 1)]);
    let folder = folder("names");
    let get = |name: &str| {
        let outcome = segue(&fake, &folder, &["get", name]);
        (outcome.code, String::from_utf8(outcome.stdout).unwrap() + &outcome.stderr)
    };
    for name in ["0bad", "compositions/0badc", "0badc0de"] {
        let (code, printed) = get(name);
        assert!(code == Some(0) && printed.starts_with("compositions/0badc0de"), "{name}: {printed}");
    }
    let (code, printed) = get("00c0ffe");
    assert!(code == Some(2) && printed.contains("00c0ffee (") && printed.contains("00c0ffef ("), "{printed}");
    for (name, expected) in [("0bae", 4), ("0badc0df", 4), ("0ba", 2), ("song", 2), ("0badc0de/x", 2)] {
        let (code, printed) = get(name);
        assert_eq!(code, Some(expected), "{name}: {printed}");
    }
    let one = segue(&fake, &folder, &["download", "0bad/outputs/master.flac", "-o", "one.flac"]);
    assert_eq!(one.code, Some(0), "{}", one.stderr);
    assert_eq!(segue(&fake, &folder, &["delete", "--yes", "00c0ffe"]).code, Some(2));
    assert_eq!(fake.state.lock().unwrap().pieces.len(), 3, "another composition was deleted");
}

#[test]
fn all_files_can_be_downloaded_beside_a_named_master() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("download_to");
    let download = ["download", NAME, "-o", "song.flac"];
    assert_eq!(segue(&fake, &folder, &download).code, Some(0));
    assert_eq!(files(&folder), ["song.bass.flac", "song.flac"]);
    assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
    assert_eq!(segue(&fake, &folder, &download).code, Some(2), "a file was replaced");
}
