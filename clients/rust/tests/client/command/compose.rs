//! Tests of `segue compose` with good streams, broken streams and newer servers.

use std::fs;

use segue_client::{
    proto::segue::composer::v1::{
        Composition, CompositionEvent, State, composition_event::Event, melody::Melody as Tune,
    },
    proto::segue::music::v1::Warning,
    wav,
};
use tonic::{Code, Status};

use super::{FORMAT, NAME, Outcome, check, command, files, segue, whole_wav};
use crate::{
    fake::{Fake, StreamFault},
    pieces::{ended, last, piece, rewound_piece},
    proxy::Proxy,
    snapshots::assert_matches,
    transfers::folder,
};

#[test]
fn compose_prints_every_step_and_writes_the_files() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let (outcome, folder) = check("compose", &fake, &["compose", "rain on glass", "-o", "song.flac", "--stems"]);
    assert_eq!(outcome.code, Some(0));
    assert_eq!(files(&folder), ["song.bass.flac", "song.flac"]);
    assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
    assert!(fs::read(folder.join("song.bass.flac")).unwrap() == piece.files[1].1);
}

#[test]
fn every_flag_reaches_the_service() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("asked");
    fs::write(folder.join("words.txt"), "[verse]\r\nStay\twith me\r\n").unwrap();
    let asked = "compose rain -o a.flac --duration 1m20s --bpm 60 --metre 6/8 --key Fm --seed 0 --form intro,pre-chorus \
        --with bass --without vocals --instrument cello,piano --negative-prompt drums --midi --loop --title Rain \
        --preset club --lufs -10.5 --ceiling -2 --genre folk --model sketch --sample-rate 44100 --bit-depth 16 --time-limit 10m --label album=wet --allow-degraded --private-prompt --session s --lrc --lyrics words.txt --lyrics-language en --tempo-within 3 --same-key --level-within 2.5 --redos 4";
    let outcome = segue(&fake, &folder, &asked.split_whitespace().collect::<Vec<_>>());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let spec = fake.state.lock().unwrap().specs[0].clone();
    let json = segue_client::json::to_value("segue.composer.v1.CompositionSpec", &spec).unwrap();
    assert_matches("spec", &format!("{json:#}\n"));
}

#[test]
fn words_that_cannot_be_sung_are_refused_before_anything_is_sent() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("words");
    let long = "x".repeat(20_000);
    let wrong: [(&[u8], &str); 5] = [
        (long.as_bytes(), "more than 16 KiB"),
        (b"la\nla \x1b[31m", "line 2 has a control character"),
        ("la \u{2066}".as_bytes(), "line 1 has a control character"),
        (b"\xff", "not UTF-8"),
        (b" \n", "no words"),
    ];
    for (content, words) in wrong {
        fs::write(folder.join("words.txt"), content).unwrap();
        let outcome = segue(&fake, &folder, &["compose", "rain", "--lyrics", "words.txt", "-o", "song.flac"]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    assert!(fake.state.lock().unwrap().specs.is_empty());
}

#[test]
fn json_output_is_one_event_a_line() {
    let fake = Fake::start(vec![rewound_piece(NAME, 1)]);
    let (outcome, _) = check("compose_json", &fake, &["compose", "rain", "-o", "song.flac", "--json"]);
    for line in String::from_utf8(outcome.stdout).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value.get("event").is_some() != value.get("client").is_some(), "{line}");
    }
    assert_eq!(outcome.stderr, "");
}

#[test]
fn every_warning_is_shown_once_and_names_its_section() {
    let warning =
        |text: &str, section: &str| Warning { code: "odd".into(), text: text.into(), section_id: section.into() };
    let mut piece = piece(NAME, 1);
    let planned = piece.events.iter().position(|event| matches!(event.event, Some(Event::Planned(_)))).unwrap();
    let section = last(&mut piece).plan.as_ref().unwrap().sections[1].spec.clone().unwrap();
    let warned = warning("sent as an event", &section.section_id);
    let event = CompositionEvent { event: Some(Event::Warned(warned.clone())), ..piece.events[planned].clone() };
    piece.events.insert(planned + 1, event);
    for (index, event) in piece.events.iter_mut().enumerate() {
        event.sequence = index as i64 + 1;
    }
    // A service of an earlier release tells most warnings in the composition only.
    last(&mut piece).warnings = vec![warned, warning("only in the composition", "")];
    let fake = Fake::start(vec![piece]);
    let folder = folder("warnings");
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
    let shown: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains("warning:")).collect();
    assert_eq!(shown, ["warning: verse: sent as an event", "warning: only in the composition"]);
    let outcome = segue(&fake, &folder, &["watch", NAME, "--json"]);
    let events = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(events.matches("\"warned\"").count(), 1);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn standard_output_gets_wav_and_nothing_else() {
    let piece = piece(NAME, 1);
    let fake = Fake::start(vec![piece.clone()]);
    let outcome = segue(&fake, &folder("stdout"), &["compose", "rain", "-o", "-"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let mut expected = wav::header(FORMAT, None);
    expected.extend(&piece.pcm);
    assert!(outcome.stdout == expected);
    assert!(outcome.stderr.contains("segue download 00c0ffee"), "{}", outcome.stderr);
}

#[test]
fn faults_and_a_rewind_do_not_change_the_draft() {
    let piece = rewound_piece(NAME, 4);
    let fake = Fake::start(vec![piece.clone()]);
    let proxy = Proxy::start(fake.address, 7, 8, 300_000);
    let folder = folder("faulty");
    let server = proxy.address.to_string();
    let arguments = ["compose", "rain", "-o", "song.flac", "--keep-draft", "--heartbeat", "0.2"];
    let outcome = Outcome::new(command(&server, &folder, &arguments).output().unwrap(), &server);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("no data is missing"), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&piece), "the draft differs");
    assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
}

#[test]
fn a_failed_composition_ends_with_1_and_keeps_the_draft() {
    let failed = ended(piece(NAME, 1), State::Failed, Code::DataLoss, "the renderer gave silence");
    let fake = Fake::start(vec![failed.clone()]);
    let (outcome, folder) = check("compose_failed", &fake, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!((outcome.code, files(&folder)), (Some(1), vec!["song.draft.wav".to_owned()]));
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&failed));
}

#[test]
fn json_names_the_kept_draft_and_standard_error_has_only_the_error() {
    let failed = ended(piece(NAME, 1), State::Failed, Code::DataLoss, "the renderer gave silence");
    let outcome =
        segue(&Fake::start(vec![failed]), &folder("json_failed"), &["compose", "x", "-o", "a.flac", "--json"]);
    assert_eq!(outcome.stderr, "error: the renderer gave silence\n");
    let printed = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(
        printed.lines().last(),
        Some("{\"client\":{\"composition\":\"compositions/00c0ffee\",\"draft\":\"a.draft.wav\"}}")
    );
}

#[test]
fn verbose_reports_unknown_events_once() {
    let mut piece = piece(NAME, 1);
    let unknown = CompositionEvent { event: None, ..piece.events[4].clone() };
    piece.events.splice(4..4, [unknown.clone(), unknown]);
    let fake = Fake::start(vec![piece]);
    let folder = folder("unknown");
    let quiet = segue(&fake, &folder, &["watch", NAME]);
    let verbose = segue(&fake, &folder, &["watch", NAME, "--verbose"]);
    assert_eq!((quiet.code, verbose.code), (Some(0), Some(0)));
    assert_eq!(quiet.stderr.matches("skipped").count(), 0);
    assert_eq!(verbose.stderr.matches("skipped").count(), 1, "{}", verbose.stderr);
}

#[test]
fn unknown_values_of_a_newer_server_do_no_harm() {
    let mut piece = piece(NAME, 1);
    let audio = |each: &CompositionEvent| matches!(each.event, Some(Event::Audio(_)));
    let mut other_stage = piece.events.iter().find(|each| audio(each)).unwrap().clone();
    if let Some(Event::Audio(chunk)) = &mut other_stage.event {
        chunk.stage = 9;
    }
    let place = piece.events.iter().position(audio).unwrap();
    piece.events.insert(place, other_stage);
    for event in &mut piece.events {
        match &mut event.event {
            Some(Event::Planned(planned)) => {
                let plan = planned.plan.as_mut().unwrap();
                plan.sections[0].spec.as_mut().unwrap().role = 99;
                plan.key.as_mut().unwrap().mode = 99;
            }
            Some(Event::Finished(finished)) => finished.composition.as_mut().unwrap().outputs[1].kind = 99,
            _ => {}
        }
    }
    let fake = Fake::start(vec![piece.clone()]);
    let folder = folder("newer");
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--keep-draft", "--verbose"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(fs::read(folder.join("song.draft.wav")).unwrap() == whole_wav(&piece));
    assert_eq!(outcome.stderr.matches("skipped").count(), 1, "{}", outcome.stderr);

    if let Some(Event::Finished(finished)) = &mut piece.events.last_mut().unwrap().event {
        finished.composition.as_mut().unwrap().state = 42;
    }
    let outcome = segue(&Fake::start(vec![piece]), &folder, &["compose", "rain", "-o", "other.flac"]);
    assert_eq!(outcome.code, Some(1), "an unknown final state is a failure: {}", outcome.stderr);
    assert!(outcome.stderr.contains("state 42"), "{}", outcome.stderr);
    assert!(!folder.join("other.flac").exists());
}

fn finished(event: &mut CompositionEvent) -> &mut Composition {
    match &mut event.event {
        Some(Event::Finished(finished)) => finished.composition.as_mut().unwrap(),
        _ => panic!("it is not the last event"),
    }
}

#[test]
fn a_damaged_last_event_is_requested_again() {
    let piece = piece(NAME, 1);
    let last = piece.events.len() - 1;
    let corruptions: [fn(&mut CompositionEvent); 2] =
        [|event| finished(event).draft_frames ^= 1, |event| finished(event).outputs[0].sha256 = "0".repeat(64)];
    for (index, corrupt) in corruptions.into_iter().enumerate() {
        let fake =
            Fake::start(vec![piece.clone()]).with(|state| state.faults.push_back(StreamFault::Corrupt(last, corrupt)));
        let folder = folder(&format!("last_{index}"));
        let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(fs::read(folder.join("song.flac")).unwrap() == piece.files[0].1);
    }
}

#[test]
fn a_broken_connection_is_one_line() {
    let fake = Fake::start(vec![piece(NAME, 1)])
        .with(|state| state.faults.push_back(StreamFault::Break(20, Status::unavailable("connection reset"))));
    let (outcome, _) = check("compose_reconnect", &fake, &["compose", "rain", "-o", "song.flac"]);
    assert_eq!(outcome.code, Some(0));
}

#[test]
fn a_server_cannot_write_outside_the_folder() {
    let mut piece = piece(NAME, 1);
    // The server sends a name that leads to another folder.
    for event in &mut piece.events {
        if let Some(Event::Finished(finished)) = &mut event.event {
            let composition = finished.composition.as_mut().unwrap();
            composition.outputs[1].layer = "../../escaped".into();
        }
    }
    let fake = Fake::start(vec![piece]);
    let folder = folder("outside");
    let outcome = segue(&fake, &folder, &["compose", "rain", "-o", "song.flac", "--stems"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(files(&folder), ["song.-..-escaped.flac", "song.flac"]);
}

#[test]
fn the_sound_to_imitate_is_uploaded_before_the_request() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("timbre");
    fs::write(folder.join("sound.wav"), vec![9; 3_000]).unwrap();
    for (timbre, source, same) in [("sound.wav", "uploads/0123456789", false), ("first", "", true)] {
        let outcome = segue(&fake, &folder, &["compose", "rain", "--timbre", timbre, "--force", "-o", "a.flac"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let spec = fake.state.lock().unwrap().specs.pop().unwrap();
        assert_eq!((spec.timbre_source.as_str(), spec.brief.unwrap().same_timbre), (source, same));
    }
    let outcome = segue(&fake, &folder, &["edit", NAME, "--redo", "1", "--timbre", "first", "-o", "b.flac"]);
    assert!(outcome.code == Some(2) && fake.state.lock().unwrap().specs.is_empty(), "{}", outcome.stderr);
}

#[test]
fn the_priority_is_part_of_the_request() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("priority");
    for (flags, number) in [(&[][..], 0), (&["--priority", "low"], 1), (&["--priority", "high"], 3)] {
        let outcome = segue(&fake, &folder, &[&["compose", "rain", "--force", "-o", "a.flac"], flags].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert_eq!(fake.state.lock().unwrap().specs.pop().unwrap().priority, number);
    }
    assert_eq!(segue(&fake, &folder, &["compose", "rain", "--priority", "urgent"]).code, Some(2));
}

#[test]
fn the_melody_is_uploaded_before_the_request() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("melody");
    fs::write(folder.join("tune.wav"), vec![9; 3_000]).unwrap();
    for (melody, expected) in [
        ("tune.wav", Tune::Source("uploads/0123456789".into())),
        ("band", Tune::Band(true)),
        ("compositions/00c0ffee/outputs/master.flac", Tune::Source(format!("{NAME}/outputs/master.flac"))),
    ] {
        let outcome = segue(&fake, &folder, &["compose", "rain", "--melody", melody, "--force", "-o", "a.flac"]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let spec = fake.state.lock().unwrap().specs.pop().unwrap();
        assert_eq!(spec.melody.unwrap().melody, Some(expected));
    }
    assert_eq!(fake.state.lock().unwrap().uploads["uploads/0123456789"], vec![9; 3_000]);
    let outcome = segue(&fake, &folder, &["compose", "rain", "--melody", "none.wav", "-o", "b.flac"]);
    assert!(outcome.code == Some(2) && fake.state.lock().unwrap().specs.is_empty(), "{}", outcome.stderr);
}
