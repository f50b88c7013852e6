//! Plays the draft with an installed program, for `--play` in the default build.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write},
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    thread::{self, JoinHandle},
};

/// Programs that play WAV from standard input, in order of preference.
static PLAYERS: [(&str, &[&str]); 5] = [
    ("ffplay", &["-nodisp", "-autoexit", "-loglevel", "error", "-i", "-"]),
    ("mpv", &["--no-terminal", "--no-video", "-"]),
    ("aplay", &["-q", "-t", "wav", "-"]),
    ("paplay", &["--file-format=wav", "/dev/stdin"]),
    ("play", &["-q", "-t", "wav", "-"]),
];

/// Finds an installed player. The returned function starts it.
pub fn open() -> Result<impl FnOnce() -> io::Result<Box<dyn Write + Send>>, String> {
    let Some(&(program, arguments)) = PLAYERS.iter().find(|(program, _)| is_installed(program)) else {
        let names: Vec<&str> = PLAYERS.iter().map(|(program, _)| *program).collect();
        return Err(format!("no audio player was found (install one of {})", names.join(", ")));
    };
    Ok(move || {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, errors) = (child.stdin.take(), child.stderr.take());
        let last_error = errors.map(|errors| thread::spawn(move || last_line(errors)));
        Ok(Box::new(Player { program, input, child, last_error }) as _)
    })
}

/// Reads the standard error of the player, so that the player neither blocks nor writes into the drawing.
fn last_line(errors: ChildStderr) -> String {
    let lines = BufReader::new(errors).lines().map_while(Result::ok);
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).last().unwrap_or_default()
}

/// A running player. Dropping it waits until the last sample is played.
struct Player {
    program: &'static str,
    input: Option<ChildStdin>,
    child: Child,
    last_error: Option<JoinHandle<String>>,
}

impl Player {
    /// Adds the player's last error message, or else the error of the system.
    fn explain(&mut self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        self.input = None;
        let message = self.last_error.take().and_then(|reading| reading.join().ok()).unwrap_or_default();
        let cause = if message.is_empty() { error.to_string() } else { message };
        io::Error::new(error.kind(), format!("{}: {cause}", self.program))
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
