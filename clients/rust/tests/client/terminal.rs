//! Tests in a terminal: drawings of any width, and questions to the user.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    time::Duration,
};

use segue_client::proto::segue::composer::v1::{CompositionEvent, State, composition_event::Event};

use crate::{
    command::{NAME, finish, isolate, kill, wait_for},
    fake::{Fake, StreamFault},
    pieces::{mastering, piece, rewound_piece},
    transfers::folder,
};

/// Runs the command in a new terminal. Returns the exit code and everything that was sent to the terminal.
fn in_terminal(fake: &Fake, folder: &Path, columns: u32, no_colour: bool, line: &str) -> (Option<i32>, String) {
    in_terminal_with(fake, folder, columns, no_colour, line, |_| {})
}

/// The user at the terminal.
struct User {
    keyboard: ChildStdin,
    sent: PathBuf,
}

impl User {
    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until this text was sent to the terminal.
    fn sees(&self, text: &str) {
        wait_for(text, || String::from_utf8_lossy(&fs::read(&self.sent).unwrap()).contains(text));
    }
}

fn in_terminal_with(
    fake: &Fake,
    folder: &Path,
    columns: u32,
    no_colour: bool,
    line: &str,
    act: impl FnOnce(&mut User),
) -> (Option<i32>, String) {
    // Without a pipe, the command replaces the shell and keeps its process id.
    let line = format!("stty cols {columns} rows 24; echo $$ >pid; exec {} {line}", env!("CARGO_BIN_EXE_segue"));
    // The test reads this file while the command writes it.
    let sent = folder.with_extension("terminal");
    let mut child = isolate(&mut Command::new("script"), &fake.address.to_string(), folder)
        .args(["-qefc", &line, "/dev/null"])
        .env("NO_COLOR", if no_colour { "1" } else { "" })
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&sent).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Standard input stays open until the end: a closed one would be another test.
    let mut user = User { keyboard: child.stdin.take().unwrap(), sent };
    act(&mut user);
    let outcome = finish(child);
    (outcome.code, fs::read_to_string(&user.sent).unwrap())
}

/// Whether every drawing that hid the cursor also showed it again.
fn has_cursor(sent: &str) -> bool {
    let after: Vec<&str> = sent.split("\x1b[?25l").skip(1).collect();
    !after.is_empty() && after.iter().all(|drawing| drawing.contains("\x1b[?25h"))
}

/// The lines that a terminal shows: a small emulator for the codes of the live display.
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
                    other => panic!("unexpected escape code: {code}{other}"),
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
        let (code, sent) = in_terminal(&fake, &folder, columns, no_colour, line);
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
        assert!(has_cursor(&sent), "the cursor is hidden: {sent:?}");
    }
}

#[test]
fn a_section_that_another_conductor_finds_stays_joined() {
    let mut piece = piece(NAME, 1);
    let finished = |event: &&CompositionEvent| matches!(event.event, Some(Event::SectionFinished(_)));
    let mut found = piece.events.iter().find(finished).unwrap().clone();
    if let Some(Event::SectionFinished(section)) = &mut found.event {
        (section.section_id, section.reused) = ("verse".into(), true);
    }
    let end = piece.events.iter().position(|event| matches!(event.event, Some(Event::DraftFinished(_)))).unwrap();
    piece.events.insert(end, found);
    for (index, event) in piece.events.iter_mut().enumerate() {
        event.sequence = index as i64 + 1;
    }
    let fake = Fake::start(vec![piece]);
    let (code, sent) = in_terminal(&fake, &folder("found"), 80, true, &format!("watch {NAME}"));
    let shown = screen(&sent);
    assert_eq!((code, shown.iter().filter(|line| line.contains("joined 0.97")).count()), (Some(0), 3), "{shown:#?}");
}

#[test]
fn the_note_about_a_closed_pipe_is_above_the_drawing() {
    let held = StreamFault::Hold(Some(State::Rendering), |sent, _| sent < 20);
    let fake = Fake::start(vec![piece(NAME, 4)]).with(|state| state.always = Some(held));
    let (_, sent) = in_terminal(&fake, &folder("closed"), 80, true, "compose rain -o - | head -c 100 >/dev/null");
    let shown = screen(&sent);
    assert!(shown.iter().any(|line| line.starts_with("standard output is closed")), "{shown:#?}");
    assert_eq!(shown.iter().filter(|line| line.contains("F minor · 82")).count(), 1, "{shown:#?}");
}

#[test]
fn several_compositions_have_one_line_each() {
    let fake = Fake::start(vec![piece(NAME, 1), piece("compositions/00c0ffef", 1)]);
    let line = format!("watch {NAME} 00c0ffef");
    let (code, sent) = in_terminal(&fake, &folder("lines"), 80, true, &line);
    assert_eq!(code, Some(0), "{sent}");
    let shown = screen(&sent);
    for id in ["00c0ffee ", "00c0ffef "] {
        let lines: Vec<&String> = shown.iter().filter(|line| line.starts_with(id)).collect();
        assert!(lines.len() == 1 && lines[0].contains("succeeded"), "{shown:#?}");
    }
}

#[test]
fn compositions_that_do_not_fit_are_counted() {
    let names: Vec<String> = (0..30).map(|index| format!("compositions/00c0ff{index:02}")).collect();
    let fake = Fake::start(names.iter().map(|name| mastering(name)).collect());
    let line = format!("watch {}", names.join(" "));
    let (code, sent) = in_terminal(&fake, &folder("many"), 80, true, &line);
    let shown = screen(&sent);
    assert!(code == Some(0) && shown.iter().any(|line| line == " … 9 more"), "{shown:#?}");
}

#[test]
fn a_list_in_a_terminal_has_short_names() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let (code, sent) = in_terminal(&fake, &folder("listed"), 80, true, "list");
    assert!(code == Some(0) && sent.starts_with("00c0ffee  2023-11-14 22:13:20  succeeded   Rain"), "{sent:?}");
}

#[test]
fn the_user_is_asked_before_a_file_is_replaced() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("asked_about");
    let song = folder.join("song.flac");
    fs::write(&song, "mine").unwrap();
    let answer = |typed: &'static str| {
        in_terminal_with(&fake, &folder, 80, true, "compose rain -o song.flac", |user| {
            user.sees("[y/N]");
            user.types(typed);
        })
    };
    let (code, sent) = answer("n\n");
    assert_eq!((code, fs::read(&song).unwrap()), (Some(2), b"mine".to_vec()), "{sent}");
    assert!(sent.contains("song.flac exists. Replace it? [y/N]"), "{sent}");
    let (code, sent) = answer("y\n");
    assert_eq!(code, Some(0), "{sent}");
    assert!(fs::read(&song).unwrap() == piece.files[0].1);
}

#[test]
fn ctrl_c_restores_the_cursor() {
    let fake = Fake::start(Vec::new()).with(|state| state.slow_files = Duration::from_secs(600));
    let folder = folder("cursor");
    fs::write(folder.join("song.wav"), vec![9; 5_000_000]).unwrap();
    let (code, sent) = in_terminal_with(&fake, &folder, 80, true, "analyze song.wav", |user| {
        user.sees("uploading: ");
        user.types("\x03");
    });
    assert_eq!(code, Some(130), "{sent:?}");
    assert!(has_cursor(&sent), "{sent:?}");
}

#[test]
fn closing_the_terminal_leaves_the_composition_running() {
    let held = StreamFault::Hold(Some(State::Rendering), |sent, _| sent < 20);
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.always = Some(held));
    for (signal, expected) in [("HUP", 129), ("TERM", 143)] {
        let folder = folder(signal);
        let (code, sent) = in_terminal_with(&fake, &folder, 80, true, "compose rain -o song.flac", |user| {
            user.sees("rendering · 0:02 of 0:04 received");
            kill(fs::read_to_string(folder.join("pid")).unwrap().trim().parse().unwrap(), signal);
        });
        assert_eq!(code, Some(expected), "{sent:?}");
        assert!(has_cursor(&sent) && sent.contains(&format!("segue watch {NAME}")), "{sent:?}");
    }
    assert!(fake.state.lock().unwrap().cancelled.is_empty());
}

#[test]
fn an_unreachable_server_leaves_no_drawing() {
    let line = "compose rain -o song.flac --server 127.0.0.1:1";
    let (code, sent) = in_terminal(&Fake::start(Vec::new()), &folder("nobody_there"), 80, true, line);
    assert_eq!(code, Some(3), "{sent}");
    let shown = screen(&sent);
    assert!(shown.iter().all(|line| !line.contains("queued") && !line.contains("connecting")), "{shown:#?}");
    assert!(shown[0].starts_with("error: "), "{shown:#?}");
}
