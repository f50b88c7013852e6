//! What people see: the drawing in a terminal of any width, and questions that wait for an answer.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    command::{NAME, finish},
    fake::Fake,
    pieces::{piece, rewound_piece},
    transfers::folder,
};

/// Runs the command in a terminal of its own; gives the exit code and all that was sent to the terminal.
fn in_terminal(
    fake: &Fake,
    folder: &Path,
    columns: u32,
    no_colour: bool,
    line: &str,
    typed: &str,
) -> (Option<i32>, String) {
    let line = format!("stty cols {columns} rows 24; exec {} {line}", env!("CARGO_BIN_EXE_segue"));
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .current_dir(folder)
        .env("SEGUE_CLIENT_SERVER", fake.address.to_string())
        .env("NO_COLOR", if no_colour { "1" } else { "" })
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It stays open: a terminal whose keyboard is unplugged is another matter.
    let mut keyboard = child.stdin.take().unwrap();
    keyboard.write_all(typed.as_bytes()).unwrap();
    let outcome = finish(child);
    drop(keyboard);
    (outcome.code, String::from_utf8(outcome.stdout).unwrap())
}

/// What a terminal shows after all this: enough of an emulator for what the painter sends.
fn screen(bytes: &str) -> Vec<String> {
    let (mut lines, mut row): (Vec<String>, usize) = (vec![String::new()], 0);
    let mut rest = bytes;
    while let Some(each) = rest.chars().next() {
        rest = &rest[each.len_utf8()..];
        match each {
            '\x1b' => {
                let end = rest.find(|each: char| each.is_ascii_alphabetic()).unwrap();
                let (code, kind) = (&rest[1..end], &rest[end..=end]);
                match kind {
                    "F" => row -= code.parse::<usize>().unwrap(),
                    "J" => {
                        lines.truncate(row);
                        lines.push(String::new());
                    }
                    "h" | "l" | "m" => {}
                    other => panic!("an escape code that nobody expects: {code}{other}"),
                }
                rest = &rest[end + 1..];
            }
            '\r' => {}
            '\n' => {
                row += 1;
                if lines.len() <= row {
                    lines.push(String::new());
                }
            }
            other => lines[row].push(other),
        }
    }
    lines
}

#[test]
fn a_terminal_shows_one_drawing_with_and_without_colour() {
    let fake = Fake::start(vec![rewound_piece(NAME, 1)]);
    let folder = folder("terminal");
    for (columns, no_colour) in [(80, true), (80, false), (160, true), (160, false), (40, true)] {
        let line = "compose 'a waltz' --force -o w.flac --stems";
        let (code, sent) = in_terminal(&fake, &folder, columns, no_colour, line, "");
        assert_eq!(code, Some(0), "{sent}");
        assert_eq!(sent.contains("\x1b[3"), !no_colour, "colours at {columns}: {sent:?}");
        assert!(!sent.contains("\x1b[31m on"), "the title's escape code came through");
        let shown = screen(&sent);
        assert_eq!(shown.iter().filter(|line| line.contains("F minor · 82")).count(), 1, "{shown:#?}");
        assert_eq!(shown.iter().filter(|line| line.contains("joined 0.97")).count(), 3, "{shown:#?}");
        assert!(shown.iter().any(|line| line.starts_with("succeeded")), "{shown:#?}");
        assert!(shown.iter().any(|line| line.contains("is made again")), "{shown:#?}");
        let widest = shown.iter().filter(|line| line.contains('━')).map(|line| line.chars().count()).max();
        assert!(widest.unwrap() < columns as usize, "{shown:#?}");
        assert!(sent.ends_with("\x1b[?25h") || sent.rfind("\x1b[?25h") > sent.rfind("\x1b[?25l"), "the cursor is gone");
    }
}

#[test]
fn several_have_a_line_each() {
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1)]);
    let line = format!("watch {NAME} 00c0ffef");
    let (code, sent) = in_terminal(&fake, &folder("lines"), 80, true, &line, "");
    assert_eq!(code, Some(0), "{sent}");
    let shown = screen(&sent);
    for id in ["00c0ffee ", "00c0ffef "] {
        let lines: Vec<&String> = shown.iter().filter(|line| line.starts_with(id)).collect();
        assert!(lines.len() == 1 && lines[0].contains("succeeded"), "{shown:#?}");
    }
}

#[test]
fn an_existing_file_is_asked_about() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("asked_about");
    let song = folder.join("song.flac");
    fs::write(&song, "mine").unwrap();
    let (code, sent) = in_terminal(&fake, &folder, 80, true, "compose rain -o song.flac", "n\n");
    assert_eq!((code, fs::read(&song).unwrap()), (Some(2), b"mine".to_vec()), "{sent}");
    assert!(sent.contains("song.flac exists. Replace it? [y/N]"), "{sent}");
    let (code, sent) = in_terminal(&fake, &folder, 80, true, "compose rain -o song.flac", "y\n");
    assert_eq!(code, Some(0), "{sent}");
    assert!(fs::read(&song).unwrap() == piece.files[0].1);
}
