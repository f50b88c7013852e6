//! Tests of the `segue` command: exit code, standard output, standard error and files.

mod compose;
mod edit;
mod interruptions;
mod local_files;
mod other_commands;
mod refusals;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use segue_client::{PcmFormat, proto::segue::audio::v1::SampleFormat, wav};

use crate::{fake::Fake, pieces::Piece, snapshots::assert_matches, transfers::folder};

pub const NAME: &str = "compositions/00c0ffee";
pub const FORMAT: PcmFormat = PcmFormat { sample_rate: 48_000, channels: 2, samples: SampleFormat::F32le };

pub fn command(server: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    isolate(&mut command, server, folder).args(arguments).env("COLUMNS", "80").stdin(Stdio::null());
    command
}

/// Hides the settings of this machine from the command.
pub fn isolate<'a>(command: &'a mut Command, server: &str, folder: &Path) -> &'a mut Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEGUE_")) {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .env_remove("XDG_CONFIG_HOME")
        .envs([("SEGUE_CLIENT_SERVER", server), ("HOME", folder.to_str().unwrap())])
}

/// An address where no server listens. Only root can listen at port 1; another free port could be taken at any time.
pub const UNREACHABLE: &str = "127.0.0.1:1";

/// The result of a run, with the address of the fake replaced.
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

/// Waits for the end of a program. A program that does not end fails the test.
pub fn finish(child: Child) -> Outcome {
    finish_within(child, Duration::from_secs(120))
}

/// Reads the output meanwhile: a program that fills a pipe without a reader does not end.
pub fn finish_within(child: Child, limit: Duration) -> Outcome {
    let (id, (tell, told)) = (child.id(), std::sync::mpsc::channel());
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(limit) else {
        kill(id, "KILL");
        panic!("the program did not end");
    };
    Outcome::new(output.unwrap(), "no server")
}

pub fn interrupt(child: &Child) {
    signal(child, "INT");
}

fn signal(child: &Child, name: &str) {
    kill(child.id(), name);
}

/// Every shell has `kill`, but not every machine has a program for it.
pub fn kill(id: u32, signal: &str) {
    let line = format!("kill -{signal} {id}");
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}
