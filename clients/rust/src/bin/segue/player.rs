//! A program of this machine that plays, for `--play` in the default build.

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
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
    let Some(&(player, arguments)) = PLAYERS.iter().find(|(player, _)| is_installed(player)) else {
        let names: Vec<&str> = PLAYERS.iter().map(|(player, _)| *player).collect();
        return Err(format!("nothing here can play (install one of {})", names.join(", ")));
    };
    Ok(move || {
        let mut child = Command::new(player).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Box::new(Player { input: Some(input), child }) as _)
    })
}

/// A program that plays; it is waited for, so that the last seconds are heard.
struct Player {
    input: Option<ChildStdin>,
    child: Child,
}

impl Write for Player {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.input.as_mut().map_or(Ok(0), |input| input.write(bytes))
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
