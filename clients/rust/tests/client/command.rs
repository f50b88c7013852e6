//! The `segue` command as people meet it: exit code, standard output, standard error, and the files that it leaves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use segue_client::{
    Format,
    proto::{
        google::rpc,
        segue::{
            audio::v1::SampleFormat,
            composer::v1::{Composition, CompositionEvent, State, composition_event::Event},
        },
    },
    wav,
};
use tonic::{Code, Status};

use crate::{
    fake::{Fake, Trick, packed, refusal},
    pieces::{Piece, ended, mastering, piece, rewound_piece},
    proxy::Proxy,
    snapshots::assert_matches,
    transfers::folder,
};

pub const NAME: &str = "compositions/00c0ffee";
pub const FORMAT: Format = Format { sample_rate: 48_000, channels: 2, samples: SampleFormat::F32le };

pub fn command(server: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEGUE_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .current_dir(folder)
        .envs([("SEGUE_CLIENT_SERVER", server), ("HOME", folder.to_str().unwrap()), ("COLUMNS", "80")])
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::null());
    command
}

/// What a run left behind, with the address of the fake taken out.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    pub fn new(output: Output, server: &str) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap().replace(server, "SERVER");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }

    fn text(&self, server: &str) -> String {
        let stdout = String::from_utf8(self.stdout.clone()).unwrap().replace(server, "SERVER");
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        format!("exit code {code}\n--- standard output\n{stdout}--- standard error\n{}", self.stderr)
    }
}

pub fn segue(fake: &Fake, folder: &Path, arguments: &[&str]) -> Outcome {
    let server = fake.address.to_string();
    Outcome::new(command(&server, folder, arguments).output().unwrap(), &server)
}

pub fn check(snapshot: &str, fake: &Fake, arguments: &[&str]) -> (Outcome, PathBuf) {
    let folder = folder(snapshot);
    let outcome = segue(fake, &folder, arguments);
    let text = outcome.text(&fake.address.to_string());
    assert!(!text.contains(|each: char| each.is_control() && each != '\n'), "escape codes came through:\n{text:?}");
    assert_matches(snapshot, &text);
    (outcome, folder)
}

pub fn whole_wav(piece: &Piece) -> Vec<u8> {
    let mut bytes = wav::header(FORMAT, Some(piece.pcm.len() as u64));
    bytes.extend(&piece.pcm);
    bytes
}

pub fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn compose_tells_every_step_and_leaves_the_finished_files() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let (outcome, folder) = check("compose", &fake, &["compose", "rain on glass", "-o", "song.flac", "--stems"]);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(files(&folder), ["song.bass.flac", "song.flac"]);
    assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
    assert!(fs::read(folder.join("song.bass.flac")).unwrap() == piece.files[1].1);
}

#[test]
fn what_is_asked_for_arrives() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("asked");
    let asked = "compose rain -o a.flac --duration 1m20s --bpm 60 --metre 6/8 --key Fm --seed 0 --form intro,pre-chorus \
        --with bass --without vocals --instrument cello,piano --negative-prompt drums --midi --loop --title Rain \
        --loudness club --bit-depth 16 --time-limit 10m --label album=wet --allow-degraded --private-prompt --session s";
    let outcome = segue(&fake, &folder, &asked.split_whitespace().collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let spec = fake.state.lock().unwrap().specs[0].clone();
    let json = segue_client::json::to_value("segue.composer.v1.CompositionSpec", &spec).unwrap();
    assert_matches("spec", &format!("{json:#}\n"));
}

#[test]
fn json_is_one_event_a_line_and_nothing_else() {
    let fake = Fake::start(vec![rewound_piece(NAME, 1)]);
    let (outcome, _) = check("compose_json", &fake, &["compose", "rain", "-o", "song.flac", "--json"]);
    for line in String::from_utf8(outcome.stdout).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value.get("event").is_some() != value.get("client").is_some(), "{line}");
    }
    assert_eq!(outcome.stderr, "");
}

#[test]
fn sound_goes_to_standard_output_as_wav_and_nothing_else_does() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let outcome = segue(&fake, &folder("stdout"), &["compose", "rain", "-o", "-"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut expected = wav::header(FORMAT, None);
    expected.extend(&piece.pcm);
    assert!(outcome.stdout == expected);
}

#[test]
fn the_draft_through_faults_and_a_rewind_is_that_of_an_undisturbed_run() {
    let piece = rewound_piece(NAME, 4);
    let fake = Fake::start(vec![piece.clone()]);
    let proxy = Proxy::start(fake.address, 7, 8, 300_000);
    let folder = folder("faulty");
    let server = proxy.address.to_string();
    let arguments = ["compose", "rain", "-o", "song.flac", "--keep-draft", "--heartbeat", "0.2"];
    let outcome = Outcome::new(command(&server, &folder, &arguments).output().unwrap(), &server);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("nothing is missing"), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&piece), "the draft differs");
    assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
}

#[test]
fn an_existing_file_is_refused_and_stays_as_it_is() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("exists");
    fs::write(folder.join("song.flac"), "mine").unwrap();
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!((outcome.code, fs::read(folder.join("song.flac")).unwrap()), (Some(2), b"mine".to_vec()));
    assert!(fake.state.lock().unwrap().specs.is_empty(), "work was begun that could not be kept");
    assert!(outcome.stderr.contains("--force"));
    assert_eq!(segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--force"]).code, Some(0));
}

#[test]
fn a_failed_composition_ends_with_1_and_keeps_what_was_finished() {
    let failed = ended(piece(NAME, 1), State::Failed, Code::DataLoss, "the renderer gave silence");
    let fake = Fake::start(vec![failed.clone()]);
    let (outcome, folder) = check("compose_failed", &fake, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!((outcome.code, files(&folder)), (Some(1), vec!["song.draft.wav".to_owned()]));
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&failed));
}

#[test]
fn refusals_have_their_exit_codes_and_hints() {
    let retry = rpc::RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 7, nanos: 0 }) };
    let info = rpc::ErrorInfo { reason: "QUEUE_FULL".into(), domain: "segue.dev".into(), ..Default::default() };
    let violation = rpc::bad_request::FieldViolation {
        field: "spec.brief.duration".into(),
        description: "at most 1800 s; suggested: 1800s".into(),
        ..Default::default()
    };
    let bad = rpc::BadRequest { field_violations: vec![violation] };
    let pack = |message: &dyn Fn() -> Vec<u8>| message();
    let cases = [
        (
            "busy",
            packed(
                Code::ResourceExhausted,
                "the queue is full",
                vec![
                    ("google.rpc.ErrorInfo", pack(&|| prost::Message::encode_to_vec(&info))),
                    ("google.rpc.RetryInfo", pack(&|| prost::Message::encode_to_vec(&retry))),
                ],
            ),
            5,
        ),
        (
            "refused",
            packed(
                Code::InvalidArgument,
                "the request breaks a rule\u{1b}[2J",
                vec![("google.rpc.BadRequest", pack(&|| prost::Message::encode_to_vec(&bad)))],
            ),
            4,
        ),
        (
            "no_model",
            refusal(
                Code::NotFound,
                "MODEL_NOT_FOUND",
                "no renderer plays 'x'; there are: sketch",
                &[("models", "sketch")],
            ),
            4,
        ),
        ("unauthenticated", refusal(Code::Unauthenticated, "UNAUTHENTICATED", "a token is needed", &[]), 4),
    ];
    for (name, status, code) in cases {
        let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.refuse_compose = Some(status));
        let (outcome, folder) = check(&format!("compose_{name}"), &fake, &["compose", "rain", "-o", "song.flac"]);
        assert_eq!((outcome.code, files(&folder)), (Some(code), Vec::new()), "{name}");
    }
}

#[test]
fn wrong_use_ends_with_2_before_anything_is_sent() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("usage");
    fs::write(folder.join("plan.json"), r#"{"titel": "x"}"#).unwrap();
    let cases: [&[&str]; 21] = [
        &[],
        &["compos"],
        &["compose"],
        &["compose", "x", "--key", "H"],
        &["compose", "x", "--duration", "soon"],
        &["compose", "x", "-o", "song.txt"],
        &["compose", "x", "-o", "song"],
        &["compose", "x", "-o", "song.flac", "--format", "mp3"],
        &["compose", "x", "-o", "-", "--json"],
        &["compose", "--plan", "plan.json", "-o", "song.flac"],
        &["compose", "--plan", "none.json", "-o", "song.flac"],
        &["compose", "x", "-o", "-", "--play"],
        &["compose", "x", "-o", "-", "--keep-draft"],
        &["compose", "x", "-o", "song.flac", "--tls-cert", "own.pem"],
        &["compose", "x", "-o", "song.flac", "--server", "ftp://host"],
        &["watch"],
        &["watch", NAME, "00c0ffef", "-o", "song.flac"],
        &["watch", NAME, "00c0ffef", "--play"],
        &["watch", "compositions/../x"],
        &["delete", NAME],
        &["analyze", "none.wav"],
    ];
    for arguments in cases {
        let outcome = segue(&fake, &folder, arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty());
    }
    let inside = fake.state.lock().unwrap();
    assert!(inside.specs.is_empty() && inside.pieces.contains_key(NAME));
    assert_eq!(files(&folder), ["plan.json"]);
}

#[test]
fn a_server_that_is_not_there_ends_with_3() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let folder = folder("nobody");
    for arguments in [&["compose", "rain", "-o", "song.flac"][..], &["list"], &["doctor"]] {
        let outcome = Outcome::new(command(&port, &folder, arguments).output().unwrap(), &port);
        assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("hint: "), "{}", outcome.stderr);
    }
    assert!(files(&folder).is_empty());
}

#[test]
fn places_that_cannot_be_written_to_are_named() {
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
    assert!(outcome.stderr.contains("make room"), "{}", outcome.stderr);
    assert!(!folder.join("song.flac").exists() && fake.state.lock().unwrap().cancelled.is_empty());
}

#[test]
fn a_master_that_came_wrong_never_gets_its_name() {
    let mut piece = piece(NAME, 1);
    piece.files[0].1[100] ^= 1;
    let (outcome, folder) = {
        let fake = Fake::start(vec![piece]);
        let folder = folder("digest_command");
        (segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]), folder)
    };
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(!folder.join("song.flac").exists());
    assert!(folder.join("song.draft.wav").exists(), "the draft was thrown away with nothing in its place");
}

pub fn start(fake: &Fake, folder: &Path, arguments: &[&str]) -> Child {
    let mut command = command(&fake.address.to_string(), folder, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} did not happen");
}

/// Waits for a program to end; one that does not is a failure, not a test that hangs.
pub fn finish(child: Child) -> Outcome {
    finish_within(child, Duration::from_secs(20))
}

pub fn finish_within(mut child: Child, limit: Duration) -> Outcome {
    let mut polls = 0;
    while child.try_wait().unwrap().is_none() {
        polls += 1;
        if polls * 20 > limit.as_millis() {
            child.kill().unwrap();
            panic!("it did not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Outcome::new(child.wait_with_output().unwrap(), "no server")
}

pub fn interrupt(child: &Child) {
    signal(child, "INT");
}

/// Every shell can do this; a program for it is not on every machine.
fn signal(child: &Child, name: &str) {
    let line = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn ctrl_c_cancels_once_and_leaves_at_the_second() {
    let cancelled = ended(piece(NAME, 1), State::Cancelled, Code::Cancelled, "cancelled");
    let fake = Fake::start(vec![cancelled]).with(|state| state.always = Some(Trick::Slow(Duration::from_millis(60))));
    let folder = folder("ctrl_c");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    wait_for("the draft", || folder.join("song.draft.wav").metadata().is_ok_and(|file| file.len() > 200_000));
    interrupt(&child);
    wait_for("the cancel", || fake.state.lock().unwrap().cancelled == [NAME]);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("what was finished is in song.draft.wav"), "{}", outcome.stderr);

    let stuck = Trick::OnlyHeartbeats(20, State::Rendering);
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.always = Some(stuck));
    let child = start(&fake, &folder, &["compose", "rain", "-o", "other.flac"]);
    wait_for("the draft", || folder.join("other.draft.wav").metadata().is_ok_and(|file| file.len() > 200_000));
    interrupt(&child);
    wait_for("the cancel", || !fake.state.lock().unwrap().cancelled.is_empty());
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130));
    assert!(outcome.stderr.contains(&format!("segue watch {NAME}")), "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_with_detach_leaves_the_composition_running() {
    let fake = Fake::start(vec![piece(NAME, 1)])
        .with(|state| state.always = Some(Trick::OnlyHeartbeats(20, State::Rendering)));
    let folder = folder("detach");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--detach"]);
    wait_for("the draft", || folder.join("song.draft.wav").metadata().is_ok_and(|file| file.len() > 200_000));
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130));
    assert!(outcome.stderr.contains(&format!("segue watch {NAME}")), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().cancelled.is_empty());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let fake =
        Fake::start(vec![piece(NAME, 4)]).with(|state| state.always = Some(Trick::Slow(Duration::from_millis(5))));
    let mut child = start(&fake, &folder("pipe"), &["compose", "rain", "-o", "-"]);
    let mut some = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130));
    assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
}

#[test]
fn an_unknown_kind_of_event_is_mentioned_once_and_only_to_who_asked() {
    let mut piece = piece(NAME, 1);
    let unknown = CompositionEvent { event: None, ..piece.events[4].clone() };
    piece.events.splice(4..4, [unknown.clone(), unknown]);
    let fake = Fake::start(vec![piece]);
    let folder = folder("unknown");
    let quiet = segue(&fake, &folder, &["watch", NAME]);
    let verbose = segue(&fake, &folder, &["watch", NAME, "--verbose"]);
    assert_eq!((quiet.code, verbose.code), (Some(0), Some(0)));
    assert_eq!(quiet.stderr.matches("skipped").count(), 0);
    assert_eq!(verbose.stderr.matches("skipped").count(), 1, "{}", verbose.stderr);
}

#[test]
fn watch_needs_no_file_and_takes_no_sound_then() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let (outcome, folder) = check("watch", &fake, &["watch", "00c0ffee"]);
    assert_eq!((outcome.code, files(&folder)), (Some(0), Vec::new()));
}

#[test]
fn the_other_commands_answer_as_they_always_did() {
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1)]);
    check("list", &fake, &["list"]);
    check("list_json", &fake, &["list", "--json", "-n", "1"]);
    check("get", &fake, &["get", NAME]);
    check("models", &fake, &["models"]);
    check("models_json", &fake, &["models", "--json"]);
    check("stats", &fake, &["stats"]);
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
fn several_are_watched_at_once() {
    let failed =
        ended(piece("compositions/00c0fff0", 1), State::Failed, Code::DataLoss, "the renderer\u{1b} gave silence");
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1), failed])
        .with(|state| state.tricks.push_back(Trick::Break(9, Status::unavailable("connection reset"))));
    let folder = folder("together");
    let lines = |arguments: &[&str]| {
        let outcome = segue(&fake, &folder, arguments);
        assert!(!outcome.stderr.contains('\u{1b}'));
        let mut lines: Vec<String> = outcome.stderr.lines().map(str::to_owned).collect();
        lines.sort();
        (outcome.code, lines, String::from_utf8(outcome.stdout).unwrap())
    };
    let (code, said, _) = lines(&["watch", NAME, "00c0ffef", NAME]);
    assert_eq!(code, Some(0), "{said:#?}");
    for id in ["00c0ffee", "00c0ffef"] {
        assert!(said.contains(&format!("{id}: verse: joined (0.97)")), "{said:#?}");
        assert_eq!(said.iter().filter(|line| line.starts_with(&format!("{id}: succeeded, 82.0 bpm"))).count(), 1);
    }
    let (code, said, _) = lines(&["watch", NAME, "00c0fff0", "0badc0de"]);
    assert_eq!(code, Some(4), "one that is not there: {said:#?}");
    assert!(said.iter().any(|line| line.contains("failed, the renderer")), "{said:#?}");
    let (code, said, _) = lines(&["watch", NAME, "00c0fff0"]);
    assert_eq!(code, Some(1), "{said:#?}");
    let (_, said, data) = lines(&["watch", NAME, "00c0ffef", "--json"]);
    assert_eq!(said, Vec::<String>::new());
    for id in ["00c0ffee", "00c0ffef"] {
        let of_it = data.lines().filter(|line| line.contains(id)).filter(|line| line.contains("sectionMixed"));
        assert_eq!(of_it.count(), 4);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_is_watched_running() {
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1)])
        .with(|state| state.always = Some(Trick::OnlyHeartbeats(20, State::Rendering)));
    for names in [&["watch", NAME][..], &["watch", NAME, "00c0ffef"]] {
        let mut child = start(&fake, &folder("leave"), names);
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line.contains("planned")));
        interrupt(&child);
        let rest: Vec<String> = said.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(rest.last().unwrap().contains("segue watch compositions/00c0ffee"), "{rest:?}");
    }
    assert!(fake.state.lock().unwrap().cancelled.is_empty());
}

#[test]
fn values_that_only_a_newer_server_knows_do_no_harm() {
    let mut piece = piece(NAME, 1);
    let audio = |each: &CompositionEvent| matches!(each.event, Some(Event::Audio(_)));
    let mut other_stage = piece.events.iter().find(|each| audio(each)).unwrap().clone();
    if let Some(Event::Audio(chunk)) = &mut other_stage.event {
        chunk.stage = 9;
    }
    let place = piece.events.iter().position(audio).unwrap();
    piece.events.insert(place, other_stage);
    for event in &mut piece.events {
        match &mut event.event {
            Some(Event::Planned(planned)) => {
                let plan = planned.plan.as_mut().unwrap();
                plan.sections[0].spec.as_mut().unwrap().role = 99;
                plan.key.as_mut().unwrap().mode = 99;
            }
            Some(Event::Finished(finished)) => finished.composition.as_mut().unwrap().outputs[1].kind = 99,
            _ => {}
        }
    }
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("newer");
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--keep-draft", "--verbose"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&piece));
    assert_eq!(outcome.stderr.matches("skipped").count(), 1, "{}", outcome.stderr);

    if let Some(Event::Finished(finished)) = &mut piece.events.last_mut().unwrap().event {
        finished.composition.as_mut().unwrap().state = 42;
    }
    let outcome = segue(&Fake::start(vec![piece]), &folder, &["compose", "rain", "-o", "other.flac"]);
    assert_eq!(outcome.code, Some(1), "an unknown end is no success: {}", outcome.stderr);
    assert!(outcome.stderr.contains("state 42"), "{}", outcome.stderr);
    assert!(!folder.join("other.flac").exists());
}

fn finished(event: &mut CompositionEvent) -> &mut Composition {
    match &mut event.event {
        Some(Event::Finished(finished)) => finished.composition.as_mut().unwrap(),
        _ => panic!("it is not the last event"),
    }
}

#[test]
fn a_last_event_that_was_damaged_on_its_way_is_asked_for_again() {
    let piece = piece(NAME, 1);
    let last = piece.events.len() - 1;
    let lies: [fn(&mut CompositionEvent); 2] =
        [|event| finished(event).draft_frames ^= 1, |event| finished(event).outputs[0].sha256 = "0".repeat(64)];
    for (index, lie) in lies.into_iter().enumerate() {
        let fake = Fake::start(vec![piece.clone()]).with(|state| state.tricks.push_back(Trick::Lie(last, lie)));
        let folder = folder(&format!("last_{index}"));
        let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
    }
}

#[test]
fn what_lies_beside_the_file_is_not_written_over() {
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
fn a_folder_that_is_read_only_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("read_only");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    // Nothing is closed to root; the folders of the kernel's own files are.
    let is_root = fs::File::create(folder.join("probe")).is_ok();
    let file = if is_root { PathBuf::from("/proc/self/song.flac") } else { folder.join("song.flac") };
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", file.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("song.draft.wav") && outcome.stderr.contains("hint: "), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().specs.is_empty(), "work was begun that could not be kept");
}

#[cfg(unix)]
#[test]
fn a_machine_that_slept_goes_on() {
    let piece = piece(NAME, 2);
    let fake =
        Fake::start(vec![piece.clone()]).with(|state| state.tricks.push_back(Trick::Slow(Duration::from_millis(10))));
    let folder = folder("sleep");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--keep-draft", "--heartbeat", "0.1"]);
    let draft = folder.join("song.draft.wav");
    wait_for("the draft", || draft.metadata().is_ok_and(|file| file.len() > 200_000));
    signal(&child, "STOP");
    // All that the server has to say is sent, or waits, and the connection's time is over.
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, "CONT");
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(fs::read(draft).unwrap() == whole_wav(&piece));
}

#[test]
fn a_plan_can_be_written_and_handed_in() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("plan_file");
    assert_eq!(segue(&fake, &folder, &["plan", "rain", "-o", "plan.json"]).code, Some(0));
    let outcome = segue(&fake, &folder, &["compose", "--plan", "plan.json", "-o", "song.flac"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let plan = fake.state.lock().unwrap().specs.pop().unwrap().plan.unwrap();
    assert_eq!((plan.sections.len(), plan.quarters_per_minute), (4, 82.0));
}

#[test]
fn a_file_of_one_s_own_is_uploaded_and_measured() {
    let fake = Fake::start(Vec::new());
    let folder = folder("analyze");
    fs::write(folder.join("song.wav"), vec![9; 2_000_000]).unwrap();
    let outcome = segue(&fake, &folder, &["analyze", "song.wav"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(fake.state.lock().unwrap().uploads["uploads/0123456789"], vec![9; 2_000_000]);
    let refused = segue(&fake, &folder, &["master", "song.wav", "-o", "loud.wav"]);
    assert_eq!((refused.code, files(&folder)), (Some(4), vec!["song.wav".to_owned()]), "{}", refused.stderr);
}

#[test]
fn a_file_of_one_s_own_is_mastered() {
    let piece = mastering(NAME);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("master");
    fs::write(folder.join("song.wav"), vec![9; 3_000]).unwrap();
    let outcome = segue(&fake, &folder, &["master", "song.wav", "--loudness", "club", "-o", "loud.flac"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_matches("master", &outcome.text("SERVER"));
    assert_eq!(files(&folder), ["loud.flac", "song.wav"]);
    assert!(fs::read(folder.join("loud.flac")).unwrap() == piece.files[0].1);
    let asked = fake.state.lock().unwrap().masters.pop().unwrap();
    assert_eq!((asked.source.as_str(), asked.settings.unwrap().preset), ("uploads/0123456789", 3));
    assert!(!asked.request_id.is_empty());
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
    assert_eq!(run(&|command| command.env("SEGUE_SERVER", "127.0.0.1:1"), &["stats"]).code, Some(3));
    assert_eq!(
        run(&|command| command.env("SEGUE_SERVER", "127.0.0.1:1"), &["stats", "--server", &server]).code,
        Some(0)
    );
    let open = run(&|command| command, &["stats", "--server", "http://music.invalid"]);
    assert_eq!(open.code, Some(2), "a token was sent in the clear: {}", open.stderr);
    fs::write(folder.join("segue.toml"), "[client]\nsever = \"x\"\n").unwrap();
    let misspelt = run(&|command| command, &["stats"]);
    assert!(misspelt.code == Some(2) && misspelt.stderr.contains("sever"), "{}", misspelt.stderr);
}

#[test]
fn a_broken_connection_is_one_quiet_line() {
    let fake = Fake::start(vec![piece(NAME, 1)])
        .with(|state| state.tricks.push_back(Trick::Break(20, Status::unavailable("connection reset"))));
    let (outcome, _) = check("compose_reconnect", &fake, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn colours_come_when_asked_for_and_never_from_the_server() {
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
fn events_that_are_not_for_files_do_not_matter() {
    let mut piece = piece(NAME, 1);
    // A server that names an output outside of the folder.
    for event in &mut piece.events {
        if let Some(Event::Finished(finished)) = &mut event.event {
            let composition = finished.composition.as_mut().unwrap();
            composition.outputs[1].layer = "../../escaped".into();
        }
    }
    let fake = Fake::start(vec![piece]);
    let folder = folder("outside");
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--stems"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(files(&folder), ["song.-..-escaped.flac", "song.flac"]);
}
