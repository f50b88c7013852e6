//! Playback of the draft: players, slow readers, and constant memory.

#[cfg(all(unix, not(feature = "play")))]
use std::io::{BufRead as _, BufReader};
use std::{
    fs,
    process::{Child, Stdio},
};

use segue_client::proto::segue::composer::v1::State;

use crate::{
    command::{NAME, command, finish, segue, wait_for, whole_wav},
    fake::{Fake, StreamFault},
    pieces::{piece, speech},
    transfers::folder,
};

/// Writes a player with this name that runs a script.
#[cfg(all(unix, not(feature = "play")))]
fn player(folder: &std::path::Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(all(unix, not(feature = "play")))]
#[test]
fn play_starts_a_player_and_waits_for_its_end() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let server = fake.address.to_string();
    let folder = folder("play");
    fs::create_dir(folder.join("bin")).unwrap();
    let compose = |file: &str| {
        let mut command = command(&server, &folder, &["compose", "rain", "--play", "--force", "-o", file]);
        command.env("PATH", folder.join("bin"));
        crate::command::Outcome::new(command.output().unwrap(), &server)
    };
    let without_player = compose("none.flac");
    assert_eq!(without_player.code, Some(0), "{}", without_player.stderr);
    assert!(without_player.stderr.contains("warning: no audio player was found"), "{}", without_player.stderr);

    player(&folder.join("bin"), "aplay", "/bin/cat >heard.wav; /bin/sleep 0.2; echo done >>heard.wav");
    let outcome = compose("song.flac");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut expected = segue_client::wav::header(crate::command::FORMAT, None);
    expected.extend(&piece.pcm);
    expected.extend(b"done\n");
    assert!(
        fs::read(folder.join("heard.wav")).unwrap() == expected,
        "the program did not wait for the player, or the player got other data"
    );
}

#[cfg(all(unix, not(feature = "play")))]
#[test]
fn a_failed_player_is_reported_and_the_work_continues() {
    let piece = piece(NAME, 1);
    let held = StreamFault::Hold(Some(State::Rendering), |sent, state| sent < 30 || state.may_go_on);
    let fake = Fake::start(vec![piece.clone()]).with(|state| state.always = Some(held));
    let folder = folder("broken_player");
    fs::create_dir(folder.join("bin")).unwrap();
    player(&folder.join("bin"), "aplay", "echo many words >&2; echo there is no device >&2; exit 1");
    let mut command = command(&fake.address.to_string(), &folder, &["compose", "rain", "--play", "-o", "broken.flac"]);
    command.env("PATH", folder.join("bin")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut printed = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        printed.extend([&line.unwrap(), "\n"]);
        fake.state.lock().unwrap().may_go_on = printed.contains("the work continues without playback");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0), "{printed}");
    assert!(printed.contains("aplay: there is no device"), "{printed}");
    assert!(!printed.contains("many words"), "a player wrote into the drawing: {printed}");
    assert!(fs::read(folder.join("broken.flac")).unwrap() == piece.files[0].1);
}

/// Plugins of ALSA replace the sound device and store what they play.
#[cfg(all(target_os = "linux", feature = "play"))]
#[test]
fn a_sound_device_plays_every_sample_and_a_missing_one_is_a_warning() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("device");
    let without_silence = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<u8>>();
    let received = folder.join("received");
    let device = format!(
        "pcm.!default {{ type file; file \"|tr -d '\\\\000' >{}\"; format raw; slave.pcm null }}\npcm.null {{ type null }}\n",
        received.display()
    );
    fs::write(folder.join(".asoundrc"), device).unwrap();
    let outcome = segue(&fake, &folder, &["compose", "rain", "--play", "-o", "song.flac"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("warning:"), "{}", outcome.stderr);
    assert!(without_silence(&fs::read(received).unwrap()) == without_silence(&piece.pcm));

    fs::write(folder.join(".asoundrc"), "pcm.!default { type hw; card 31 }\n").unwrap();
    let outcome = segue(&fake, &folder, &["compose", "rain", "--play", "-o", "silent.flac"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the piece is made without playback"), "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn a_blocked_player_delays_nothing() {
    let piece = piece(NAME, 2);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("standing");
    let mut command = command(&fake.address.to_string(), &folder, &["compose", "rain", "-o", "-"]);
    command.env("TMPDIR", &folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // Without a reader, the whole draft arrives and is stored for a later reader.
    let kept = || fs::read_dir(&folder).unwrap().next().map_or(0, |file| file.unwrap().metadata().unwrap().len());
    wait_for("all of it", || kept() == 80 + piece.pcm.len() as u64);
    let mut received = Vec::new();
    std::io::Read::read_to_end(&mut stdout, &mut received).unwrap();
    assert_eq!(finish(child).code, Some(0));
    assert!(received[80..] == piece.pcm);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "a temporary file was not removed");
}

/// The largest memory of a running program in kB, as the kernel counts it.
#[cfg(target_os = "linux")]
fn highest_memory(child: &Child) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn an_hour_takes_no_more_memory_than_a_minute() {
    // The fake holds the end back until the memory is measured.
    let held: [(i64, StreamFault); 2] = [
        (60, StreamFault::Hold(Some(State::Rendering), |sent, state| sent < 16 || state.may_go_on)),
        (3600, StreamFault::Hold(Some(State::Rendering), |sent, state| sent < 901 || state.may_go_on)),
    ];
    let measure = |(seconds, held): (i64, StreamFault)| {
        let piece = speech(NAME, seconds);
        let fake = Fake::start(vec![piece]).with(|state| state.always = Some(held));
        let folder = folder(&format!("memory_{seconds}"));
        let mut command = command(&fake.address.to_string(), &folder, &["watch", NAME, "-o", "-"]);
        let sink = fs::File::create(folder.join("sink.wav")).unwrap();
        let mut child = command.stdout(sink).stderr(Stdio::null()).spawn().unwrap();
        let received = || fs::metadata(folder.join("sink.wav")).unwrap().len();
        wait_for("all of it", || received() == 80 + seconds as u64 * 16_000);
        let highest = highest_memory(&child);
        fake.state.lock().unwrap().may_go_on = true;
        assert!(child.wait().unwrap().success());
        assert_eq!(received(), 80 + seconds as u64 * 16_000);
        fs::remove_dir_all(folder).unwrap();
        highest
    };
    let [minute, hour] = held.map(measure);
    assert!(hour > 1000 && hour < minute + 4096, "a minute took {minute} kB, an hour {hour} kB");
}

#[test]
fn a_kept_draft_is_a_complete_file() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("kept");
    let outcome = segue(&fake, &folder, &["watch", NAME, "-o", "song.flac", "--keep-draft"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&piece));
}

#[cfg(all(unix, not(feature = "play")))]
#[test]
fn the_files_are_saved_before_the_playback_ends() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("still_playing");
    fs::create_dir(folder.join("bin")).unwrap();
    let plays_on = "/bin/cat >/dev/null; while [ ! -e enough ]; do /bin/sleep 0.05; done";
    player(&folder.join("bin"), "aplay", plays_on);
    let compose = ["compose", "rain", "--play", "-o", "song.flac"];
    let mut command = command(&fake.address.to_string(), &folder, &compose);
    command.env("PATH", folder.join("bin")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for("the file", || folder.join("song.flac").exists());
    assert!(child.try_wait().unwrap().is_none(), "the program did not wait for the player");
    // Before the last file is saved, the signal would be an interruption.
    wait_for("the end of the draft", || !folder.join("song.draft.wav").exists());
    crate::command::interrupt(&child);
    wait_for("its end", || child.try_wait().unwrap().is_some());
    fs::write(folder.join("enough"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "the files are complete");
    assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
}

#[cfg(all(unix, not(feature = "play")))]
#[test]
fn no_message_names_a_removed_file() {
    let failed =
        crate::pieces::ended(piece(NAME, 1), State::Failed, tonic::Code::DataLoss, "the renderer gave silence");
    let fake = Fake::start(vec![failed]);
    let folder = folder("nothing_kept");
    fs::create_dir(folder.join("bin")).unwrap();
    player(&folder.join("bin"), "aplay", "exec /bin/cat >/dev/null");
    let mut command = command(&fake.address.to_string(), &folder, &["watch", NAME, "--play"]);
    let output = command.env("PATH", folder.join("bin")).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(!printed.contains(".wav"), "a removed file is named: {printed}");
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("quiet");
    // With the feature `play`, ALSA itself would print an error about a missing device.
    fs::write(folder.join(".asoundrc"), "pcm.!default { type null }\n").unwrap();
    let mut command = command(&fake.address.to_string(), &folder, &["compose", "rain", "--play", "-q", "-o", "a.flac"]);
    let output = command.env("PATH", folder.join("bin")).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}
