//! The `segue` command as people meet it: exit code, standard output, standard error, and the files that it leaves.

mod compose;
mod edit;
mod interruptions;
mod others;
mod places;
mod refusals;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use segue_client::{Format, proto::segue::audio::v1::SampleFormat, wav};

use crate::{fake::Fake, pieces::Piece, snapshots::assert_matches, transfers::folder};

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
