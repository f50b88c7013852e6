//! docs/cli.md agrees with the program.

use std::{fs, path::Path, process::Command};

use crate::{
    command::{UNREACHABLE, command, isolate},
    transfers::folder,
};

#[test]
fn the_page_lists_every_command_and_exit_code() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(house.join("docs/cli.md")).unwrap();
    let output = command("", &folder("documentation"), &["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let listed = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let named = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: Vec<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 12, "{help}");
    for command in commands {
        assert!(page.contains(&format!("`{command}")) || command == "help", "docs/cli.md has no {command}");
    }
    for code in ["0", "1", "2", "3", "4", "5", "130", "128 + n"] {
        assert!(page.contains(&format!("| {code} | ")), "docs/cli.md has no exit code {code}");
    }
}

#[test]
fn the_commands_of_the_page_can_be_typed() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(house.join("docs/cli.md")).unwrap();
    let folder = folder("typed");
    let typed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ segue ")).collect();
    assert!(!typed.is_empty());
    for line in typed {
        // The shell reads the quotes. No server listens, and only a valid command line finds that out.
        let segue = env!("CARGO_BIN_EXE_segue");
        let line = format!("{segue} {}", line.split(" | ").next().unwrap());
        let status = isolate(Command::new("sh").args(["-c", &line]), UNREACHABLE, &folder).output().unwrap();
        assert_eq!(status.status.code(), Some(3), "{line}: {}", String::from_utf8_lossy(&status.stderr));
    }
}
