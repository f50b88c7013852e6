//! Signals, closed pipes and sleep while a composition is followed, and `segue watch`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, Stdio},
    time::Duration,
};

use segue_client::{proto::segue::composer::v1::State, wav};
use tonic::{Code, Status};

use super::{FORMAT, NAME, check, files, finish, interrupt, segue, signal, start, wait_for, whole_wav};
use crate::{
    fake::{Fake, StreamFault},
    pieces::{ended, piece},
    transfers::folder,
};

/// Never ends.
fn stuck() -> StreamFault {
    StreamFault::Hold(Some(State::Rendering), |sent, _| sent < 20)
}

/// Ends only after a cancellation.
fn until_cancelled() -> StreamFault {
    StreamFault::Hold(Some(State::Rendering), |sent, state| sent < 20 || !state.cancelled.is_empty())
}

/// Waits for the first audio of the draft.
fn wait_for_sound(folder: &Path, name: &str) {
    let draft = folder.join(name);
    wait_for("the draft", || draft.metadata().is_ok_and(|file| file.len() > 200_000));
}

#[cfg(unix)]
#[test]
fn the_first_ctrl_c_cancels_and_the_second_leaves() {
    let cancelled = ended(piece(NAME, 1), State::Cancelled, Code::Cancelled, "cancelled");
    let fake = Fake::start(vec![cancelled]).with(|state| state.always = Some(until_cancelled()));
    let folder = folder("ctrl_c");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    wait_for_sound(&folder, "song.draft.wav");
    interrupt(&child);
    wait_for("the cancel", || fake.state.lock().unwrap().cancelled == [NAME]);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the draft so far is in song.draft.wav"), "{}", outcome.stderr);

    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.always = Some(stuck()));
    let child = start(&fake, &folder, &["compose", "rain", "-o", "other.flac"]);
    wait_for_sound(&folder, "other.draft.wav");
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
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.always = Some(stuck()));
    let folder = folder("detach");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--detach"]);
    wait_for_sound(&folder, "song.draft.wav");
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130));
    assert!(outcome.stderr.contains(&format!("segue watch {NAME}")), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().cancelled.is_empty());
}

#[test]
fn a_closed_pipe_ends_the_program_without_an_error() {
    let fake = Fake::start(vec![piece(NAME, 4)])
        .with(|state| state.always = Some(StreamFault::Slow(Duration::from_millis(5))));
    let mut child = start(&fake, &folder("pipe"), &["compose", "rain", "-o", "-"]);
    let mut some = [0; 1000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130));
    assert!(!outcome.stderr.contains("error"), "{}", outcome.stderr);
}

#[test]
fn watch_without_a_file_receives_no_audio() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let (outcome, folder) = check("watch", &fake, &["watch", "00c0ffee"]);
    assert_eq!((outcome.code, files(&folder)), (Some(0), Vec::new()));
}

#[test]
fn several_compositions_are_watched_at_once() {
    let failed =
        ended(piece("compositions/00c0fff0", 1), State::Failed, Code::DataLoss, "the renderer\u{1b} gave silence");
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1), failed])
        .with(|state| state.faults.push_back(StreamFault::Break(9, Status::unavailable("connection reset"))));
    let folder = folder("together");
    let lines = |arguments: &[&str]| {
        let outcome = segue(&fake, &folder, arguments);
        assert!(!outcome.stderr.contains('\u{1b}'));
        let mut lines: Vec<String> = outcome.stderr.lines().map(str::to_owned).collect();
        lines.sort();
        (outcome.code, lines, String::from_utf8(outcome.stdout).unwrap())
    };
    let (code, printed, _) = lines(&["watch", NAME, "00c0ffef", NAME]);
    assert_eq!(code, Some(0), "{printed:#?}");
    for id in ["00c0ffee", "00c0ffef"] {
        assert!(printed.contains(&format!("{id}: verse: joined (0.97)")), "{printed:#?}");
        assert_eq!(printed.iter().filter(|line| line.starts_with(&format!("{id}: succeeded, 82.0 bpm"))).count(), 1);
    }
    let (code, printed, _) = lines(&["watch", NAME, "00c0fff0", "0badc0de"]);
    assert_eq!(code, Some(4), "a missing composition: {printed:#?}");
    assert!(printed.iter().any(|line| line.contains("failed, the renderer")), "{printed:#?}");
    let (code, printed, _) = lines(&["watch", NAME, "00c0fff0"]);
    assert_eq!(code, Some(1), "{printed:#?}");
    let (_, printed, data) = lines(&["watch", NAME, "00c0ffef", "--json"]);
    assert_eq!(printed, Vec::<String>::new());
    for id in ["00c0ffee", "00c0ffef"] {
        let of_it = data.lines().filter(|line| line.contains(id)).filter(|line| line.contains("sectionMixed"));
        assert_eq!(of_it.count(), 4);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_a_watched_composition_running() {
    let fake =
        Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1)]).with(|state| state.always = Some(stuck()));
    for names in [&["watch", NAME][..], &["watch", NAME, "00c0ffef"]] {
        let mut child = start(&fake, &folder("leave"), names);
        let mut printed = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(printed.any(|line| line.contains("planned")));
        interrupt(&child);
        let rest: Vec<String> = printed.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(rest.last().unwrap().contains("segue watch compositions/00c0ffee"), "{rest:?}");
    }
    assert!(fake.state.lock().unwrap().cancelled.is_empty());
}

#[cfg(unix)]
#[test]
fn the_stream_resumes_after_sleep() {
    let piece = piece(NAME, 2);
    let fake = Fake::start(vec![piece.clone()])
        .with(|state| state.faults.push_back(StreamFault::Slow(Duration::from_millis(10))));
    let folder = folder("sleep");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--keep-draft", "--heartbeat", "0.5"]);
    wait_for_sound(&folder, "song.draft.wav");
    signal(&child, "STOP");
    // Longer than the silence limit of the connection.
    std::thread::sleep(Duration::from_secs(2));
    signal(&child, "CONT");
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&piece));
}

#[cfg(unix)]
#[test]
fn ctrl_c_without_a_connection_cancels_after_the_reconnection() {
    let cancelled = ended(piece(NAME, 1), State::Cancelled, Code::Cancelled, "cancelled");
    let gone = Status::unavailable("the service restarts");
    let fake = Fake::start(vec![cancelled]).with(|state| {
        state.away = Some(gone.clone());
        let back = StreamFault::Hold(Some(State::Rendering), |_, state| !state.cancelled.is_empty());
        state.faults.extend([StreamFault::Break(20, gone), back]);
    });
    let mut child = start(&fake, &folder("away"), &["compose", "rain", "-o", "song.flac", "--json"]);
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(printed.any(|line| line.contains("\"lost\"")));
    interrupt(&child);
    wait_for("a cancel in vain", || fake.state.lock().unwrap().away.is_none());
    let rest: Vec<String> = printed.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(fake.state.lock().unwrap().cancelled, [NAME]);
}

#[cfg(unix)]
#[test]
fn a_failure_after_ctrl_c_is_a_failure() {
    let failed = ended(piece(NAME, 1), State::Failed, Code::DataLoss, "the renderer gave silence");
    let fake = Fake::start(vec![failed]).with(|state| state.always = Some(until_cancelled()));
    let folder = folder("failed_meanwhile");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    wait_for_sound(&folder, "song.draft.wav");
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the renderer gave silence"), "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_download_and_tells_how_to_continue() {
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.slow_files = Duration::from_secs(600));
    let folder = folder("slow_files");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    wait_for("the download", || folder.join("song.flac.part").exists());
    interrupt(&child);
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(130), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("segue download 00c0ffee"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("song.draft.wav"), "{}", outcome.stderr);
}

/// Reads standard error up to a line with these words.
fn read_until(child: &mut Child, words: &str) -> BufReader<ChildStderr> {
    let mut printed = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(printed.read_line(&mut line).unwrap() > 0, "{words:?} was not printed");
    }
    printed
}

fn rest(mut printed: BufReader<ChildStderr>) -> String {
    let mut rest = String::new();
    printed.read_to_string(&mut rest).unwrap();
    rest
}

#[cfg(unix)]
#[test]
fn ctrl_c_before_the_first_answer_waits_for_the_name() {
    let unanswered = StreamFault::Hold(None, |sent, state| match sent {
        0 => state.may_go_on,
        _ => !state.cancelled.is_empty(),
    });
    let begin = |detach: &[&str], name: &str| {
        let cancelled = ended(piece(NAME, 1), State::Cancelled, Code::Cancelled, "cancelled");
        let fake = Fake::start(vec![cancelled]).with(|state| state.always = Some(unanswered.clone()));
        let compose = [&["compose", "rain", "-o", "song.flac", "--heartbeat", "60"], detach].concat();
        let mut child = start(&fake, &folder(name), &compose);
        wait_for("the request", || !fake.state.lock().unwrap().specs.is_empty());
        interrupt(&child);
        let printed = read_until(&mut child, "waiting for the server's answer");
        (fake, child, printed)
    };
    let go_on = |fake: &Fake| fake.state.lock().unwrap().may_go_on = true;

    let (fake, mut child, printed) = begin(&[], "unanswered");
    go_on(&fake);
    assert_eq!((child.wait().unwrap().code(), rest(printed).contains("cancelled")), (Some(130), true));
    assert_eq!(fake.state.lock().unwrap().cancelled, [NAME]);

    let (fake, mut child, printed) = begin(&["--detach"], "unanswered_detached");
    go_on(&fake);
    let printed = rest(printed);
    assert!(child.wait().unwrap().code() == Some(130) && printed.contains(&format!("segue watch {NAME}")), "{printed}");
    assert!(fake.state.lock().unwrap().cancelled.is_empty());

    let (_fake, mut child, printed) = begin(&[], "unanswered_twice");
    interrupt(&child);
    let printed = rest(printed);
    assert!(child.wait().unwrap().code() == Some(130) && printed.contains("`segue list` shows it"), "{printed}");
}

#[cfg(unix)]
#[test]
fn a_failed_cancellation_is_reported() {
    let held = StreamFault::Hold(Some(State::Rendering), |sent, state| sent < 20 || state.may_go_on);
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| {
        state.always = Some(held);
        state.away = Some(Status::unavailable("unused: the stream is open"));
    });
    let folder = folder("not_cancelled");
    let mut child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    wait_for_sound(&folder, "song.draft.wav");
    interrupt(&child);
    let printed = read_until(&mut child, "could not be cancelled: not now");
    fake.state.lock().unwrap().may_go_on = true;
    let printed = rest(printed);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{printed}");
}

#[cfg(unix)]
#[test]
fn sigterm_leaves_the_composition_running_and_a_readable_draft() {
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.always = Some(stuck()));
    let folder = folder("dismissed");
    let child = start(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    wait_for_sound(&folder, "song.draft.wav");
    signal(&child, "TERM");
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(143), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("segue watch {NAME}")), "{}", outcome.stderr);
    assert!(fake.state.lock().unwrap().cancelled.is_empty());
    let draft = fs::read(folder.join("song.draft.wav")).unwrap();
    assert!(draft.starts_with(&wav::header(FORMAT, Some(draft.len() as u64 - 80))), "the header is wrong");
}

#[cfg(unix)]
#[test]
fn nohup_ignores_sighup() {
    let held = StreamFault::Hold(Some(State::Rendering), |sent, state| sent < 20 || state.may_go_on);
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.always = Some(held));
    let folder = folder("nohup");
    // Like `nohup`.
    let line = format!("trap '' HUP; exec {} compose rain -o song.flac", env!("CARGO_BIN_EXE_segue"));
    let mut shell = std::process::Command::new("sh");
    super::isolate(shell.args(["-c", &line]), &fake.address.to_string(), &folder);
    let child = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_sound(&folder, "song.draft.wav");
    signal(&child, "HUP");
    fake.state.lock().unwrap().may_go_on = true;
    let outcome = finish(child);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}
