//! The `segue` command against the real service of this checkout: `make setup`, then `cargo test -- --include-ignored`.

use std::{
    collections::hash_map::RandomState,
    env, fs,
    hash::{BuildHasher as _, Hasher as _},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use crate::{
    command::{Outcome, command, finish, finish_within, wait_for},
    doctor::Authority,
    proxy::{Chance, Proxy},
    streams::seeds,
    transfers::folder,
};

const COMPOSE: [&str; 12] = [
    "compose",
    "rainy lo-fi, 82 bpm, F minor",
    "--duration",
    "15s",
    "--seed",
    "7",
    "--keep-draft",
    "--heartbeat",
    "1",
    "--force",
    "-o",
    "song.flac",
];

/// A free port outside the range that the kernel assigns, so that it stays free until the service starts.
fn free_port() -> u16 {
    let mut chance = Chance::new(RandomState::new().build_hasher().finish());
    let ports = std::iter::from_fn(|| Some(20_000 + chance.below(12_000) as u16));
    ports.into_iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

/// A running `segued serve`. Dropping it kills the process.
struct Segued {
    child: Child,
    address: SocketAddr,
    home: PathBuf,
    flags: Vec<String>,
}

impl Segued {
    fn start(home: &Path) -> Self {
        Self::start_with(home, Vec::new())
    }

    fn start_with(home: &Path, flags: Vec<String>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self { child: Self::run(home, address, &flags), address, home: home.to_owned(), flags }
    }

    fn run(home: &Path, address: SocketAddr, flags: &[String]) -> Child {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/segued");
        let segued = env::var_os("SEGUED").map_or(here, PathBuf::from);
        assert!(segued.is_file(), "there is no {}: run `make setup`, or name another one in SEGUED", segued.display());
        let log = fs::OpenOptions::new().create(true).append(true).open(home.join("segued.log")).unwrap();
        let mut child = Command::new(segued)
            .args(["serve", "--listen", &address.to_string()])
            // Short leases, so that a restarted conductor continues the work soon.
            .args(["--conductor-lease", "2s", "--conductor-heartbeat", "0.3s"])
            .args(flags)
            .env("SEGUE_HOME", home)
            // The backend of examples/vowels, for those who name it.
            .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/vowels"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("ready on"))), "segued did not start");
        child
    }

    /// Runs a command that must succeed.
    fn segue(&self, folder: &Path, arguments: &[&str]) -> Outcome {
        let mut command = command(&self.address.to_string(), folder, arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let outcome = finish_within(child, Duration::from_secs(60));
        assert_eq!(outcome.code, Some(0), "{arguments:?}: {}", outcome.stderr);
        outcome
    }

    /// Kills the service as a power failure would, and starts it again.
    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = Self::run(&self.home, self.address, &self.flags);
    }
}

impl Drop for Segued {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn compose(server: SocketAddr, folder: &Path) -> Child {
    command(&server.to_string(), folder, &COMPOSE).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The streamed draft and the finished file.
fn files(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    (fs::read(folder.join("song.draft.wav")).unwrap(), fs::read(folder.join("song.flac")).unwrap())
}

/// The files of a run without faults.
fn undisturbed(segued: &Segued, folder: &Path) -> (Vec<u8>, Vec<u8>) {
    let outcome = finish(compose(segued.address, folder));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    files(folder)
}

#[test]
#[ignore = "needs `make setup`"]
fn killing_the_service_at_any_moment_changes_no_byte() {
    let expected = {
        let folder = folder("mesh_plain");
        undisturbed(&Segued::start(&folder), &folder)
    };
    let folder = folder("mesh_kill");
    let mut segued = Segued::start(&folder);
    let draft = folder.join("song.draft.wav");
    // At the first audio, in the middle, and during the mastering.
    for draft_bytes in [1, expected.0.len() / 2, expected.0.len()] {
        fs::remove_file(&draft).ok();
        let child = compose(segued.address, &folder);
        wait_for("the draft", || draft.metadata().is_ok_and(|file| file.len() >= draft_bytes as u64));
        segued.kill_and_restart();
        let outcome = finish_within(child, Duration::from_secs(120));
        assert_eq!(outcome.code, Some(0), "killed at {draft_bytes}: {}", outcome.stderr);
        assert!(files(&folder) == expected, "killed at {draft_bytes}: the files differ");
    }
}

#[test]
#[ignore = "needs `make setup`"]
fn fifty_faults_on_the_way_change_no_byte() {
    let folder = folder("mesh_faults");
    let segued = Segued::start(&folder);
    let expected = undisturbed(&segued, &folder);
    for seed in seeds() {
        let proxy = Proxy::start(segued.address, 2024 + seed, 50, 150_000);
        while proxy.faults_left.load(Ordering::SeqCst) > 0 {
            let outcome = finish_within(compose(proxy.address, &folder), Duration::from_secs(240));
            assert_eq!(outcome.code, Some(0), "seed {seed}: {}", outcome.stderr);
            assert!(files(&folder) == expected, "seed {seed}: the files differ: {}", outcome.stderr);
        }
    }
}

#[test]
#[ignore = "needs `make setup`"]
fn the_commands_work_with_the_real_service() {
    let folder = folder("mesh_commands");
    let segued = Segued::start(&folder);
    let run = |arguments: &[&str]| String::from_utf8_lossy(&segued.segue(&folder, arguments).stdout).into_owned();
    assert!(run(&["doctor"]).contains("Segue service"));
    assert!(run(&["models"]).contains("sketch"));
    run(&["plan", "a waltz", "--duration", "10s", "--metre", "3/4", "-o", "plan.json"]);
    fs::write(folder.join("words.txt"), "Swing with me\naround").unwrap();
    let words = ["--lyrics", "words.txt", "--lyrics-language", "en"];
    assert!(run(&[&["plan", "--plan", "plan.json"], &words[..]].concat()).contains("0:00  Swing with me"));
    let files = ["compose", "--plan", "plan.json", "-o", "waltz.flac", "--stems", "--midi", "--lrc"];
    run(&[&files[..], &words].concat());
    let made = fs::read_dir(&folder).unwrap().count();
    assert!(made > 5, "stems and MIDI are missing");
    assert!(fs::read_to_string(folder.join("waltz.lrc")).unwrap().contains("]Swing with me"));
    let listed = run(&["list"]);
    let name = listed.split_whitespace().next().unwrap();
    assert!(run(&["get", name]).contains("succeeded"));
    assert!(run(&["watch", name, "--json"]).lines().last().unwrap().contains("finished"));
    run(&["download", name, "-o", "again"]);
    assert_eq!(fs::read(folder.join("again/master.flac")).unwrap(), fs::read(folder.join("waltz.flac")).unwrap());
    assert!(run(&["analyze", "waltz.flac"]).contains("LUFS"));
    let mastered = run(&["master", "waltz.flac", "--preset", "club", "-o", "loud.flac", "--json"]);
    let accepted: serde_json::Value = serde_json::from_str(mastered.lines().next().unwrap()).unwrap();
    assert!(run(&["analyze", "loud.flac"]).contains("-9.0 LUFS"));
    assert!(run(&["list"]).contains("mastering of a file, 0:10, -9.0 LUFS"));
    run(&["watch", name, accepted["event"]["composition"].as_str().unwrap()]);
    assert!(run(&["stats"]).contains("renderer"));
    assert!(run(&["list", "analyses", "--filter", "state = \"SUCCEEDED\""]).contains("uploads/"));
    run(&["separate", "waltz.flac", "--out", "stems", "--format", "wav"]);
    assert_eq!(fs::read_dir(folder.join("stems")).unwrap().count(), 2);
    let separations = run(&["list", "separations"]);
    let separation = separations.split_whitespace().next().unwrap();
    run(&["delete", "--yes", separation]);
    assert!(!run(&["list", "separations"]).contains(separation));
    let uploads = run(&["list", "uploads"]);
    let upload = uploads.split_whitespace().next().unwrap();
    run(&["delete", "--yes", upload]);
    assert!(!run(&["list", "uploads"]).contains(upload));
    run(&["delete", "--yes", name]);
    assert!(!run(&["list"]).contains(name));
}

#[test]
#[ignore = "needs `make setup`"]
fn an_edit_changes_only_its_section_and_keeps_the_loudness() {
    let folder = folder("mesh_edit");
    let segued = Segued::start(&folder);
    let prompt = "funk, 120 bpm, E minor, intro verse chorus outro";
    let compose = [
        "compose",
        prompt,
        "--duration",
        "24s",
        "--preset",
        "club",
        "--bit-depth",
        "16",
        "--keep-draft",
        "-o",
        "funk.flac",
    ];
    segued.segue(&folder, &compose);
    let listed = segued.segue(&folder, &["list"]).stdout;
    let id = std::str::from_utf8(&listed).unwrap()["compositions/".len()..][..6].to_owned();
    let shown = String::from_utf8(segued.segue(&folder, &["get", &id]).stdout).unwrap();
    assert!(shown.contains("\n2  0:04  verse   verse   "), "{shown}");

    let edited = segued.segue(&folder, &["edit", &id, "--redo", "2", "--keep-draft"]);
    assert!(edited.stderr.contains("new: verse; kept: intro, chorus, outro"), "{}", edited.stderr);
    assert!(edited.stderr.contains("-9.0 LUFS") && edited.stderr.contains("16 bit"), "{}", edited.stderr);
    let json = segued.segue(&folder, &["get", &id, "--json"]).stdout;
    let plan = &serde_json::from_slice::<serde_json::Value>(&json).unwrap()["plan"];
    let edge = |section: usize| {
        let frame = plan["sections"][section]["firstFrame"].as_str().map_or(0, |text| text.parse::<usize>().unwrap());
        80 + 8 * frame
    };
    let [old, new] = ["funk.draft.wav", "funk-2.draft.wav"].map(|name| fs::read(folder.join(name)).unwrap());
    assert_eq!(old.len(), new.len());
    assert!(old[..edge(1)] == new[..edge(1)], "the section before the change differs");
    assert!(old[edge(1)..edge(2)] != new[edge(1)..edge(2)], "the edited section did not change");
    assert!(old[edge(3)..] == new[edge(3)..], "the last section differs");
    assert!(folder.join("funk-2.flac").exists());
    let quieter = segued.segue(&folder, &["edit", &id, "--lufs", "-16", "-o", "quieter.flac"]);
    assert!(quieter.stderr.contains("new: none") && quieter.stderr.contains("-16.0 LUFS"), "{}", quieter.stderr);
    let again = segued.segue(&folder, &["edit", &id, "--redo", "verse", "--redo", "2", "-o", "third.wav"]);
    assert!(again.stderr.contains("Verse: rendered"), "the first take was used again: {}", again.stderr);
    for (output, words) in [("seven.flac", "Verse: rendered"), ("as_seven.flac", "Verse: reused")] {
        let chosen = segued.segue(&folder, &["edit", &id, "--redo", "verse@7", "-o", output]);
        assert!(chosen.stderr.contains(words), "{}", chosen.stderr);
    }
    assert_eq!(fs::read(folder.join("seven.flac")).unwrap(), fs::read(folder.join("as_seven.flac")).unwrap());
}

#[test]
#[ignore = "needs `make setup`"]
fn a_failed_piece_says_what_is_kept_and_a_retry_keeps_it() {
    let folder = folder("mesh_retry");
    // The band has about thirty events in a section: the second one fails, at each of its attempts.
    let flags = ["--failpoints-active", "renderer.before_event=error*42"].map(str::to_owned);
    let mut segued = Segued::start_with(&folder, flags.to_vec());
    let prompt = "calm piano, 120 bpm, C major, a verse and a chorus";
    let compose = ["compose", prompt, "--duration", "16s", "-o", "piece.flac"];
    let mut failing = command(&segued.address.to_string(), &folder, &compose);
    let failing = failing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let failed = finish_within(failing, Duration::from_secs(60));
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(!folder.join("piece.flac").exists());
    let listed = segued.segue(&folder, &["list"]).stdout;
    let name = std::str::from_utf8(&listed).unwrap().split_whitespace().next().unwrap().to_owned();
    let shown = String::from_utf8(segued.segue(&folder, &["get", &name]).stdout).unwrap();
    let draft = format!("the finished part is kept: {name}/outputs/draft.flac");
    for told in [&failed.stderr, &shown] {
        for line in
            ["it ended while rendering chorus; complete: planning", "a retry does not render again: verse", &draft]
        {
            assert!(told.contains(line), "{line}: {told}");
        }
    }

    segued.flags.clear();
    segued.kill_and_restart();
    let retried = segued.segue(&folder, &["retry", &name, "-o", "piece.flac"]);
    for line in ["Verse: reused", "Chorus: rendered", "piece.flac, 0:16"] {
        assert!(retried.stderr.contains(line), "{line}: {}", retried.stderr);
    }
    assert!(folder.join("piece.flac").exists());
}

#[test]
#[ignore = "needs `make setup`"]
fn a_section_is_made_again_by_another_model() {
    let folder = folder("mesh_redo_model");
    let segued = Segued::start_with(&folder, ["--renderer", "sketch,vowels:make_backend"].map(str::to_owned).to_vec());
    let prompt = "calm piano, 120 bpm, C major, a verse and a chorus";
    segued.segue(&folder, &["compose", prompt, "--duration", "12s", "-o", "piece.flac"]);
    let listed = segued.segue(&folder, &["list"]).stdout;
    let name = std::str::from_utf8(&listed).unwrap().split_whitespace().next().unwrap().to_owned();
    let edited = segued.segue(&folder, &["edit", &name, "--redo", "2=vowels", "-o", "sung.flac"]);
    for line in ["new: chorus; kept: verse", "Chorus: rendering with vowels", "sung.flac, 0:12"] {
        assert!(edited.stderr.contains(line), "{line}: {}", edited.stderr);
    }
    let files = ["piece.flac", "sung.flac"].map(|file| fs::read(folder.join(file)).unwrap());
    assert!(files[0] != files[1]);
    let mut refused = command(&segued.address.to_string(), &folder, &["edit", &name, "--redo", "2=nobody"]);
    let refused = finish(refused.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(refused.code, Some(4), "{}", refused.stderr);
    assert!(refused.stderr.contains("nobody") && refused.stderr.contains("vowels"), "{}", refused.stderr);
}

#[test]
#[ignore = "needs `make setup`"]
fn tls_and_token_work_with_the_real_service() {
    let folder = folder("mesh_tls");
    let authority = Authority::new();
    let (certificate, key) = authority.sign("localhost");
    for (name, text) in [("ca.pem", &authority.pem), ("server.pem", &certificate), ("server.key", &key)] {
        fs::write(folder.join(name), text).unwrap();
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let flags =
        ["--server-tls-cert", &path("server.pem"), "--server-tls-key", &path("server.key"), "--server-token", "secret"];
    let segued = Segued::start_with(&folder, flags.map(str::to_owned).to_vec());
    let server = format!("localhost:{}", segued.address.port());
    let run = |token: &str, arguments: &[&str]| {
        let mut command = command(&server, &folder, arguments);
        command.args(["--tls-ca", "ca.pem"]).env("SEGUE_CLIENT_TOKEN", token);
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let composed = run("secret", &["compose", "a waltz", "--duration", "8s", "-o", "w.flac"]);
    assert_eq!(composed.code, Some(0), "{}", composed.stderr);
    assert_eq!(run("secret", &["doctor"]).code, Some(0));
    for wrong in ["", "wrong"] {
        let refused = run(wrong, &["list"]);
        assert_eq!(refused.code, Some(4), "{}", refused.stderr);
        assert!(refused.stderr.contains("SEGUE_CLIENT_TOKEN"), "{}", refused.stderr);
    }
}
