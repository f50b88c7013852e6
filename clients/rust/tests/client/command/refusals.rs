//! Tests of refusals: exit codes, hints, and wrong usage.

use std::fs;

use segue_client::proto::google::rpc;
use tonic::Code;

use super::{NAME, Outcome, UNREACHABLE, check, command, files, segue};
use crate::{
    fake::{Fake, packed, refusal},
    pieces::piece,
    transfers::folder,
};

#[test]
fn refusals_have_their_exit_codes_and_hints() {
    let retry = rpc::RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 7, nanos: 0 }) };
    let info = rpc::ErrorInfo { reason: "QUEUE_FULL".into(), domain: "segue.dev".into(), ..Default::default() };
    let violation = rpc::bad_request::FieldViolation {
        field: "spec.brief.duration".into(),
        description: "at most 1800 s; suggested: 1800s".into(),
        ..Default::default()
    };
    let bad = rpc::BadRequest { field_violations: vec![violation] };
    let pack = |message: &dyn Fn() -> Vec<u8>| message();
    let cases = [
        (
            "busy",
            packed(
                Code::ResourceExhausted,
                "the queue is full",
                vec![
                    ("google.rpc.ErrorInfo", pack(&|| prost::Message::encode_to_vec(&info))),
                    ("google.rpc.RetryInfo", pack(&|| prost::Message::encode_to_vec(&retry))),
                ],
            ),
            5,
        ),
        (
            "refused",
            packed(
                Code::InvalidArgument,
                "the request breaks a rule\u{1b}[2J",
                vec![("google.rpc.BadRequest", pack(&|| prost::Message::encode_to_vec(&bad)))],
            ),
            4,
        ),
        (
            "no_model",
            refusal(
                Code::NotFound,
                "MODEL_NOT_FOUND",
                "no renderer plays 'x'; there are: sketch",
                &[("models", "sketch")],
            ),
            4,
        ),
        ("unauthenticated", refusal(Code::Unauthenticated, "UNAUTHENTICATED", "a token is needed", &[]), 4),
    ];
    for (name, status, code) in cases {
        let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.refuse_compose = Some(status));
        let (outcome, folder) = check(&format!("compose_{name}"), &fake, &["compose", "rain", "-o", "song.flac"]);
        assert_eq!((outcome.code, files(&folder)), (Some(code), Vec::new()), "{name}");
    }
}

#[test]
fn details_do_not_repeat_the_message() {
    let field = "spec.edits[0].insert.spec.bars";
    let violation = |field: &str, description: &str| rpc::bad_request::FieldViolation {
        field: field.into(),
        description: description.into(),
        ..Default::default()
    };
    let bad = rpc::BadRequest {
        field_violations: vec![
            violation(field, "it is 9999; suggested: 2048"),
            violation("spec.stems", "no stems here"),
        ],
    };
    let details = vec![("google.rpc.BadRequest", prost::Message::encode_to_vec(&bad))];
    let status = packed(Code::InvalidArgument, &format!("{field}: it is 9999"), details);
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| state.refuse_compose = Some(status));
    let outcome = segue(&fake, &folder("twice"), &["compose", "rain", "-o", "song.flac"]);
    let expected = format!("error: {field}: it is 9999\n  suggested: 2048\n  spec.stems: no stems here\n");
    assert_eq!((outcome.code, outcome.stderr), (Some(4), expected));
}

#[test]
fn wrong_usage_ends_with_2_before_anything_is_sent() {
    let fake = Fake::start(vec![piece(NAME, 1)]);
    let folder = folder("usage");
    fs::write(folder.join("plan.json"), r#"{"titel": "x"}"#).unwrap();
    let cases: [&[&str]; 28] = [
        &[],
        &["compos"],
        &["compose"],
        &["compose", "x", "--key", "H"],
        &["compose", "x", "--duration", "soon"],
        &["compose", "x", "-o", "song.txt"],
        &["compose", "x", "-o", "song"],
        &["compose", "x", "-o", "song.flac", "--format", "mp3"],
        &["compose", "x", "-o", "-", "--json"],
        &["compose", "--plan", "plan.json", "-o", "song.flac"],
        &["compose", "--plan", "none.json", "-o", "song.flac"],
        &["compose", "x", "-o", "-", "--play"],
        &["compose", "x", "-o", "-", "--keep-draft"],
        &["compose", "x", "-o", "song.flac", "--tls-cert", "own.pem"],
        &["compose", "x", "-o", "song.flac", "--server", "ftp://host"],
        &["compose", "x", "-o", "song.flac", "--heartbeat", "0"],
        &["compose", "x", "-o", "song.flac", "--heartbeat", "2m"],
        &["compose", "x", "-o", "song.flac", "--time-limit", "1e19"],
        &["compose", "x", "-o", "song.flac", "--tls", "--server", "unix:/nowhere"],
        &["watch"],
        &["watch", NAME, "00c0ffef", "-o", "song.flac"],
        &["watch", NAME, "00c0ffef", "--play"],
        &["watch", "compositions/../x"],
        &["delete", NAME],
        &["analyze", "none.wav"],
        &["master", "plan.json", "-o", "song.flac", "--format", "wav"],
        &["master", "plan.json", "-o", "song"],
        &["compose", "x", "--loudness", "club"],
    ];
    for arguments in cases {
        let outcome = segue(&fake, &folder, arguments);
        assert_eq!(outcome.code, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty());
    }
    let inside = fake.state.lock().unwrap();
    assert!(inside.specs.is_empty() && inside.pieces.contains_key(NAME));
    assert_eq!(files(&folder), ["plan.json"]);
}

#[test]
fn an_unreachable_server_ends_with_3() {
    let folder = folder("nobody");
    for arguments in [&["compose", "rain", "-o", "song.flac"][..], &["list"], &["doctor"]] {
        let outcome = Outcome::new(command(UNREACHABLE, &folder, arguments).output().unwrap(), UNREACHABLE);
        assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("hint: "), "{}", outcome.stderr);
    }
    assert!(files(&folder).is_empty());
}
