//! Tests of the other commands, of settings and of colours.

use std::{fs, process::Command};

use segue_client::proto::segue::{
    analyzer::v1::SeparatorKind,
    audio::v1::FileFormat,
    composer::v1::{Analysis, Checkpoint, CompositionEvent, Finished, State, composition_event::Event},
    music::v1::Warning,
};

use super::{NAME, Outcome, UNREACHABLE, check, command, files, finish, segue, start};
use crate::{
    fake::Fake,
    pieces::{mastering, piece},
    snapshots::assert_matches,
    transfers::folder,
};

#[test]
fn the_output_of_the_other_commands_is_unchanged() {
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1)]);
    check("list", &fake, &["list"]);
    check("list_json", &fake, &["list", "--json", "-n", "1"]);
    check("get", &fake, &["get", NAME]);
    check("models", &fake, &["models"]);
    check("models_json", &fake, &["models", "--json"]);
    check("stats", &fake, &["stats"]);
    check("usage", &fake, &["usage", "--all", "--first-day", "2026-11-29"]);
    check("usage_json", &fake, &["usage", "--json"]);
    check("doctor", &fake, &["doctor"]);
    check("analyze_output", &fake, &["analyze", "compositions/00c0ffee/outputs/master.flac"]);
    check("plan", &fake, &["plan", "rain"]);
    check("cancel", &fake, &["cancel", NAME]);
    let (_, folder) = check("download", &fake, &["download", NAME, "-o", "out"]);
    assert_eq!(files(&folder.join("out")), ["master.flac", "stem-bass.flac"]);
    check("delete", &fake, &["delete", "--yes", NAME]);
    check("get_missing", &fake, &["get", NAME]);
    check("help", &fake, &["--help"]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let completions = segue(&fake, &folder, &["completions", shell]);
        assert_eq!(completions.code, Some(0));
        assert!(String::from_utf8(completions.stdout).unwrap().contains("download"), "{shell}");
    }
}

#[test]
fn get_names_the_model_of_a_section_that_has_its_own() {
    let mut piece = piece(NAME, 1);
    for event in &mut piece.events {
        if let Some(Event::Finished(Finished { composition: Some(composition) })) = &mut event.event {
            composition.plan.as_mut().unwrap().sections[1].spec.as_mut().unwrap().model = "hum".into();
        }
    }
    let outcome = segue(&Fake::start(vec![piece]), &folder("get-model"), &["get", NAME]);
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert!(text.contains("2  0:01  verse   verse   8 bars  played by hum\n3  0:02"), "{text}");
    assert_eq!(text.matches("played by").count(), 1, "{text}");
}

#[test]
fn an_empty_list_prints_a_note() {
    let fake = Fake::start(Vec::new());
    for (arguments, note) in [
        (["list", "compositions"], "no compositions yet\n"),
        (["list", "uploads"], "no uploads\n"),
        (["list", "analyses"], "no analyses yet\n"),
        (["list", "separations"], "no separations yet\n"),
    ] {
        let outcome = segue(&fake, &folder("nothing"), &arguments);
        assert_eq!((outcome.code, outcome.stdout, outcome.stderr.as_str()), (Some(0), Vec::new(), note));
    }
}

#[test]
fn uploads_and_analyses_are_listed_deleted_and_cancelled_by_their_names() {
    let analysis = Analysis {
        name: "analyses/0123456789".into(),
        source: "uploads/00000001".into(),
        state: State::Rendering as i32,
        ..Default::default()
    };
    let fake = Fake::start(Vec::new()).with(|state| {
        state.analysis = Some(analysis);
        state.uploads.insert("uploads/00000001".into(), vec![0; 3_000_000]);
        state.uploads.insert("uploads/00000002".into(), vec![0; 1_000]);
    });
    check("list_uploads", &fake, &["list", "uploads"]);
    check("list_analyses", &fake, &["list", "analyses"]);
    check("cancel_analysis", &fake, &["cancel", "analyses/0123456789"]);
    check("delete_upload", &fake, &["delete", "--yes", "uploads/00000001"]);
    let folder = folder("gone");
    assert_eq!(segue(&fake, &folder, &["delete", "--yes", "uploads/00000001"]).code, Some(4));
    for (what, name) in [("uploads", "uploads/00000002"), ("analyses", "analyses/0123456789")] {
        let listed = segue(&fake, &folder, &["list", what, "--json"]);
        let line: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(line["name"], name);
    }
    let state = fake.state.lock().unwrap();
    assert_eq!(state.cancelled, ["analyses/0123456789"]);
    assert!(state.uploads.keys().eq(["uploads/00000002"]));
}

#[test]
fn a_file_is_separated_and_separations_are_listed_cancelled_and_deleted() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("separate");
    fs::write(folder.join("mix.wav"), [0; 64]).unwrap();
    let made = segue(&fake, &folder, &["separate", "mix.wav", "--out", "stems", "--stems", "two", "--format", "wav"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stderr.contains("ready in") && made.stderr.contains("separated by median-17"), "{}", made.stderr);
    let written = fs::read_dir(folder.join("stems")).unwrap().count();
    assert!(written > 0);
    let again = segue(&fake, &folder, &["separate", "mix.wav", "-o", "stems"]);
    assert_eq!(again.code, Some(2), "{}", again.stderr);
    let forced = segue(&fake, &folder, &["separate", "mix.wav", "-o", "stems", "--force", "--json"]);
    let line: serde_json::Value =
        serde_json::from_slice(forced.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(line["separator"]["name"], "median-17");
    assert!(fake.state.lock().unwrap().uploads.is_empty(), "an upload was left behind");
    {
        let state = fake.state.lock().unwrap();
        let asked = &state.separations[0];
        assert_eq!((asked.kind, asked.file_format), (SeparatorKind::HarmonicPercussive as i32, FileFormat::Wav as i32));
        assert_eq!((state.separations[1].kind, state.separations[1].file_format), (0, FileFormat::Flac as i32));
    }
    let name = "separations/0123456789";
    let listed = segue(&fake, &folder, &["list", "separations"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(name));
    assert_eq!(segue(&fake, &folder, &["cancel", name]).code, Some(0));
    assert_eq!(fake.state.lock().unwrap().cancelled, [name]);
    assert_eq!(segue(&fake, &folder, &["delete", "--yes", name]).code, Some(0));
    assert!(fake.state.lock().unwrap().separations.is_empty());
    let failed = segue(&Fake::start(Vec::new()), &folder, &["separate", "uploads/00000001", "-o", "stems"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
}

#[test]
fn a_retry_is_followed_and_downloaded() {
    let again = piece("compositions/0badc0de", 1);
    let fake = Fake::start(vec![piece(NAME, 1), again.clone()]).with(|state| state.retried = again.name.clone());
    let (_, folder) = check("retry", &fake, &["retry", NAME, "-o", "song.flac"]);
    assert_eq!(files(&folder), ["song.bass.flac", "song.flac"]);
    assert!(fs::read(folder.join("song.flac")).unwrap() == again.files[0].1);
    let outcome = segue(&fake, &folder, &["retry", NAME, "--json"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(String::from_utf8(outcome.stdout).unwrap().lines().all(|line| line.contains(&again.name)));
    let outcome = segue(&fake, &folder, &["retry", "0bad"]);
    assert!(outcome.stderr.contains("segue download 0badc0de"), "{}", outcome.stderr);
    assert_eq!(segue(&fake, &folder, &["retry", "compositions/00000000"]).code, Some(4));
}

#[test]
fn waiting_for_a_role_is_shown() {
    let mut waits = piece(NAME, 1);
    let checkpoint = |role: &str| {
        let checkpoint = Checkpoint { state: State::Rendering as i32, waiting_for: role.into(), ..Default::default() };
        CompositionEvent { event: Some(Event::Checkpoint(checkpoint)), ..waits.events[2].clone() }
    };
    let events = [checkpoint("renderer"), checkpoint("renderer"), checkpoint("")];
    waits.events.splice(3..3, events);
    let fake = Fake::start(vec![waits]);
    let outcome = segue(&fake, &folder("waiting"), &["watch", NAME]);
    assert_eq!(
        outcome.stderr.matches("waiting for the renderer, which does not answer").count(),
        1,
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_plan_can_be_written_and_used() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("plan_file");
    assert_eq!(segue(&fake, &folder, &["plan", "rain", "-o", "plan.json"]).code, Some(0));
    let outcome = segue(&fake, &folder, &["compose", "--plan", "plan.json", "-o", "song.flac"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let plan = fake.state.lock().unwrap().specs.pop().unwrap().plan.unwrap();
    assert_eq!((plan.sections.len(), plan.quarters_per_minute), (4, 82.0));
}

#[test]
fn a_plan_shows_what_was_not_understood_in_one_line() {
    let mut piece = piece(NAME, 1);
    let unread = "not understood, without effect: 'zeusaphone', 'smells of lavender'";
    for event in &mut piece.events {
        if let Some(Event::Planned(planned)) = &mut event.event {
            planned.plan.as_mut().unwrap().warnings =
                vec![Warning { code: "prompt_not_read".into(), text: unread.into(), section_id: String::new() }];
        }
    }
    let fake = Fake::start(vec![piece]);
    let outcome = segue(&fake, &folder("unread"), &["plan", "rain with a zeusaphone that smells of lavender"]);
    let shown: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("not understood")).collect();
    assert_eq!(shown, [format!("warning: {unread}")]);
}

#[test]
fn a_local_file_is_uploaded_and_measured() {
    let fake = Fake::start(Vec::new());
    let folder = folder("analyze");
    fs::write(folder.join("song.wav"), vec![9; 2_000_000]).unwrap();
    let outcome = segue(&fake, &folder, &["analyze", "song.wav"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    {
        let state = fake.state.lock().unwrap();
        assert_eq!(state.finished_uploads, [vec![9; 2_000_000]]);
        assert!(state.uploads.is_empty(), "what it uploaded is deleted");
    }
    let refused = segue(&fake, &folder, &["master", "song.wav", "-o", "loud.wav"]);
    assert_eq!((refused.code, files(&folder)), (Some(4), vec!["song.wav".to_owned()]), "{}", refused.stderr);
}

#[test]
fn a_folder_and_an_output_are_measured_as_a_table() {
    let fake = Fake::start(Vec::new());
    let folder = folder("analyze-many");
    fs::create_dir_all(folder.join("songs/more")).unwrap();
    for name in ["songs/more/b.flac", "songs/a, \"live\".WAV", "songs/cover.jpg"] {
        fs::write(folder.join(name), vec![9; 3_000]).unwrap();
    }
    let output = "compositions/00c0ffee/outputs/master.flac";
    let outcome = segue(&fake, &folder, &["analyze", "songs", output, "--csv"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_matches("analyze_csv", &outcome.text("SERVER"));
    let outcome = segue(&fake, &folder, &["analyze", "songs", "--json"]);
    let text = String::from_utf8(outcome.stdout).unwrap();
    let files: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["file"].clone()).collect();
    assert_eq!(files, ["songs/a, \"live\".WAV", "songs/more/b.flac"]);
    // A file that fails does not end the others.
    fs::remove_file(folder.join("songs/more/b.flac")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    let outcome = segue(&fake, &folder, &["analyze", "empty"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    let outcome = segue(&fake, &folder, &["analyze", "songs", "uploads/00c0ffee", output, "--csv"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert_matches("analyze_csv_failed", &outcome.text("SERVER"));
}

#[test]
fn the_tracks_of_a_recording_are_printed_and_written_as_a_cue_sheet() {
    let fake = Fake::start(Vec::new());
    let folder = folder("tracks");
    fs::write(folder.join("a \"set\".MP3"), vec![9; 3_000]).unwrap();
    let asked = ["analyze", "a \"set\".MP3", "--tracks", "--cue", "set.cue"];
    let outcome = segue(&fake, &folder, &asked);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_matches("analyze_tracks", &outcome.text("SERVER"));
    let sheet = fs::read_to_string(folder.join("set.cue")).unwrap();
    assert_matches("cue_sheet", &sheet);
    // Another run replaces no file without --force.
    let outcome = segue(&fake, &folder, &asked);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    let outcome = segue(&fake, &folder, &[&asked[..], &["--force", "--json"]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let value: serde_json::Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert_eq!(value["report"]["tracks"].as_array().unwrap().len(), 3);
    for wrong in [&["--cue", "x.cue"][..], &["--tracks", "--csv"], &["b.wav", "--tracks", "--cue", "x.cue"]] {
        fs::write(folder.join("b.wav"), vec![9; 3_000]).unwrap();
        let outcome = segue(&fake, &folder, &[&["analyze", "a \"set\".MP3"][..], wrong].concat());
        assert_eq!((outcome.code, folder.join("x.cue").exists()), (Some(2), false), "{}", outcome.stderr);
    }
}

#[test]
fn a_local_file_is_mastered() {
    let piece = mastering(NAME);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("master");
    fs::write(folder.join("song.wav"), vec![9; 3_000]).unwrap();
    let outcome = segue(&fake, &folder, &["master", "song.wav", "--preset", "club", "-o", "loud.flac"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_matches("master", &outcome.text("SERVER"));
    assert_eq!(files(&folder), ["loud.flac", "song.wav"]);
    assert!(fs::read(folder.join("loud.flac")).unwrap() == piece.files[0].1);
    let asked = fake.state.lock().unwrap().masters.pop().unwrap();
    assert_eq!((asked.source.as_str(), asked.settings.unwrap().preset), ("uploads/0123456789", 3));
    assert!(!asked.request_id.is_empty());
    let flags =
        ["--lufs", "-10.5", "--ceiling", "-2", "--format", "flac", "--sample-rate", "44100", "--bit-depth", "16"];
    let outcome = segue(&fake, &folder, &[&["master", "song.wav", "-o", "loud"][..], &flags].concat());
    assert_eq!((outcome.code, folder.join("loud").exists()), (Some(0), true), "{}", outcome.stderr);
    let asked = fake.state.lock().unwrap().masters.pop().unwrap();
    let (settings, export) = (asked.settings.unwrap(), asked.exports[0]);
    assert_eq!((settings.preset, settings.target_lufs, settings.ceiling_dbtp), (0, Some(-10.5), Some(-2.0)));
    assert_eq!((export.file_format, export.sample_rate, export.bit_depth), (FileFormat::Flac as i32, 44_100, 16));
    let listed = String::from_utf8(segue(&fake, &folder, &["list"]).stdout).unwrap();
    assert!(listed.ends_with("  mastering of a file, 0:04\n"), "{listed:?}");
}

#[test]
fn settings_come_from_flags_then_variables_then_the_file() {
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.token = "secret".into());
    let folder = folder("settings");
    let server = fake.address.to_string();
    fs::write(
        folder.join("segue.toml"),
        format!("[client]\nserver = \"{server}\"\ntoken = \"secret\"\n[queue]\nlimit = 3\n"),
    )
    .unwrap();
    fs::write(folder.join("token"), "wrong\n").unwrap();
    let run = |set: &dyn Fn(&mut Command) -> &mut Command, arguments: &[&str]| {
        let mut command = command("", &folder, arguments);
        Outcome::new(set(&mut command).output().unwrap(), &server)
    };
    let found = run(&|command| command, &["stats"]);
    assert_eq!(found.code, Some(0), "{}", found.stderr);
    assert_eq!(run(&|command| command.env("SEGUE_CLIENT_TOKEN", "wrong"), &["stats"]).code, Some(4));
    assert_eq!(
        run(&|command| command.env("SEGUE_CLIENT_TOKEN", "secret"), &["stats", "--token-file", "token"]).code,
        Some(4)
    );
    assert_eq!(run(&|command| command.env("SEGUE_CLIENT_SERVER", UNREACHABLE), &["stats"]).code, Some(3));
    assert_eq!(
        run(&|command| command.env("SEGUE_CLIENT_SERVER", UNREACHABLE), &["stats", "--server", &server]).code,
        Some(0)
    );
    let open = run(&|command| command, &["stats", "--server", "http://music.invalid"]);
    assert_eq!(open.code, Some(2), "a token was sent without encryption: {}", open.stderr);
    fs::write(folder.join("segue.toml"), "[client]\nsever = \"x\"\n").unwrap();
    let misspelt = run(&|command| command, &["stats"]);
    assert!(misspelt.code == Some(2) && misspelt.stderr.contains("sever"), "{}", misspelt.stderr);
}

#[test]
fn colours_follow_the_flag_and_never_the_server() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("colour");
    let coloured = segue(&fake, &folder, &["plan", "rain", "--color", "always"]);
    let plain = segue(&fake, &folder, &["plan", "rain", "--color", "never"]);
    let coloured = String::from_utf8(coloured.stdout).unwrap();
    assert!(coloured.contains("\x1b["));
    assert!(!coloured.contains("\x1b[31m"), "the title's escape code came through");
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped.into_bytes(), plain.stdout);
}

#[test]
fn an_unknown_final_state_ends_an_analysis() {
    let ended = Analysis {
        name: "analyses/00c0ffee".into(),
        state: 42,
        end_time: Some(prost_types::Timestamp::default()),
        ..Analysis::default()
    };
    let fake = Fake::start(Vec::new()).with(|state| state.analysis = Some(ended));
    let folder = folder("unknown_end");
    fs::write(folder.join("song.wav"), vec![9; 3_000]).unwrap();
    let outcome = finish(start(&fake, &folder, &["analyze", "song.wav"]));
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("state 42"), "{}", outcome.stderr);
}
