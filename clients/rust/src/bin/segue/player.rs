//! A program of this machine that plays, for `--play` in the default build.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write},
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    thread::{self, JoinHandle},
};

/// Programs that play WAV from their standard input, the best first.
static PLAYERS: [(&str, &[&str]); 5] = [
    ("ffplay", &["-nodisp", "-autoexit", "-loglevel", "error", "-i", "-"]),
    ("mpv", &["--no-terminal", "--no-video", "-"]),
    ("aplay", &["-q", "-t", "wav", "-"]),
    ("paplay", &["--file-format=wav", "/dev/stdin"]),
    ("play", &["-q", "-t", "wav", "-"]),
];

/// Finds a player. It is started when it is asked for sound.
pub fn open() -> Result<impl FnOnce() -> io::Result<Box<dyn Write + Send>>, String> {
    let Some(&(program, arguments)) = PLAYERS.iter().find(|(program, _)| is_installed(program)) else {
        let names: Vec<&str> = PLAYERS.iter().map(|(program, _)| *program).collect();
        return Err(format!("nothing here can play (install one of {})", names.join(", ")));
    };
    Ok(move || {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, errors) = (child.stdin.take(), child.stderr.take());
        let complaint = errors.map(|errors| thread::spawn(move || last_line(errors)));
        Ok(Box::new(Player { program, input, child, complaint }) as _)
    })
}

/// Reads all that a program complains of, so that it neither waits nor writes into our drawing.
fn last_line(errors: ChildStderr) -> String {
    let lines = BufReader::new(errors).lines().map_while(Result::ok);
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).last().unwrap_or_default()
}

/// A program that plays; it is waited for, so that the last seconds are heard.
struct Player {
    program: &'static str,
    input: Option<ChildStdin>,
    child: Child,
    complaint: Option<JoinHandle<String>>,
}

impl Player {
    /// What the program said when it ended before its time; else what the system says.
    fn explain(&mut self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        self.input = None;
        let complaint = self.complaint.take().and_then(|reading| reading.join().ok()).unwrap_or_default();
        let why = if complaint.is_empty() { error.to_string() } else { complaint };
        io::Error::new(error.kind(), format!("{}: {why}", self.program))
    }
}

impl Write for Player {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.input.as_mut().map_or(Ok(0), |input| input.write(bytes));
        written.map_err(|error| self.explain(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}
