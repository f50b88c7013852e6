//! Tests of `segue doctor`, and of the other commands when a server cannot be reached.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::{
    command::{NAME, Outcome, command},
    fake::Fake,
    pieces::piece,
    transfers::folder,
};

/// A certificate authority for one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns a certificate for a host, and its key.
    pub fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn run(folder: &Path, server: &str, variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = command(server, folder, arguments);
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let outcome = Outcome::new(output, server);
    (outcome.code, stdout + &outcome.stderr)
}

#[track_caller]
fn expect((found, text): (Option<i32>, String), code: i32, words: &[&str]) {
    assert_eq!(found, Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[test]
fn tls_works_with_a_trusted_certificate_and_the_doctor_explains_others() {
    let folder = folder("tls");
    let (ours, other) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.sign("localhost");
    let fake = Fake::start_with(
        vec![piece(NAME, 1)],
        Some(ServerTlsConfig::new().identity(Identity::from_pem(certificate, key))),
    );
    fs::write(folder.join("ours.pem"), &ours.pem).unwrap();
    fs::write(folder.join("other.pem"), &other.pem).unwrap();
    let port = fake.address.port();
    let server = format!("https://localhost:{port}");
    let doctor = |server: &str, more: &[&str]| run(&folder, server, &[], &[&["doctor"], more].concat());

    expect(doctor(&server, &["--tls-ca", "ours.pem"]), 0, &["TLS works", "the server is a Segue service"]);
    expect(doctor(&server, &["--tls-ca", "other.pem"]), 3, &["hint: set the certificate to trust with --tls-ca"]);
    expect(doctor(&server, &[]), 3, &["hint: set the certificate to trust with --tls-ca"]);
    let elsewhere = format!("https://127.0.0.1:{port}");
    expect(doctor(&elsewhere, &["--tls-ca", "ours.pem"]), 3, &["it must contain the name of the host"]);
    expect(doctor(&format!("http://localhost:{port}"), &[]), 3, &["the server uses TLS: try https://"]);
    let listed = run(&folder, &server, &[], &["list", "--tls-ca", "ours.pem"]);
    expect(listed, 0, &[NAME]);
    let compose = ["compose", "rain", "-o", "song.flac", "--tls-ca", "ours.pem"];
    expect(run(&folder, &server, &[], &compose), 0, &["song.flac"]);
    expect(run(&folder, &server, &[("SEGUE_CLIENT_TLS_CA", "ours.pem")], &["stats"]), 0, &[]);
    expect(run(&folder, &server, &[], &["stats", "--tls-ca", "none.pem"]), 2, &["none.pem"]);
}

#[test]
fn a_client_certificate_is_sent_to_a_server_that_requires_one() {
    let folder = folder("mutual");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.sign("localhost");
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(&authority.pem));
    let fake = Fake::start_with(vec![piece(NAME, 1)], Some(tls));
    fs::write(folder.join("ca.pem"), &authority.pem).unwrap();
    for (name, signer) in [("own", &authority), ("strange", &stranger)] {
        let (certificate, key) = signer.sign("me");
        fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
        fs::write(folder.join(format!("{name}.key")), key).unwrap();
    }
    let server = format!("https://localhost:{}", fake.address.port());
    let stats = |more: &[&str]| run(&folder, &server, &[], &[&["stats", "--tls-ca", "ca.pem"], more].concat());
    expect(stats(&["--tls-cert", "own.pem", "--tls-key", "own.key"]), 0, &["1 running"]);
    let variables = [("SEGUE_CLIENT_TLS_CERT", "own.pem"), ("SEGUE_CLIENT_TLS_KEY", "own.key")];
    expect(run(&folder, &server, &variables, &["stats", "--tls-ca", "ca.pem"]), 0, &["1 running"]);
    expect(run(&folder, &server, &variables[..1], &["stats", "--tls-ca", "ca.pem"]), 2, &["--tls-key"]);
    assert_eq!(stats(&[]).0, Some(3));
    assert_eq!(stats(&["--tls-cert", "strange.pem", "--tls-key", "strange.key"]).0, Some(3));
}

#[test]
fn the_doctor_reports_token_version_and_proxy() {
    let folder = folder("doctor");
    let fake = Fake::start(vec![piece(NAME, 1)]).with(|state| {
        state.token = "secret".into();
        state.version = "9.1.0\u{1b}[2J".into();
    });
    let server = fake.address.to_string();
    let doctor = |variables: &[(&str, &str)]| run(&folder, &server, variables, &["doctor"]);
    expect(doctor(&[]), 4, &["hint: the server requires a token"]);
    expect(doctor(&[("SEGUE_CLIENT_TOKEN", "wrong")]), 4, &["hint: the server has another token"]);
    let variables = [("SEGUE_CLIENT_TOKEN", "secret"), ("HTTPS_PROXY", "http://proxy:1")];
    let found = doctor(&variables);
    assert!(!found.1.contains('\u{1b}'), "{:?}", found.1);
    expect(found, 0, &["version 9.1.0", "segue has version", "HTTPS_PROXY set", "2 models can play"]);
    let (code, json) = run(&folder, &server, &variables, &["doctor", "--json"]);
    assert_eq!(code, Some(0), "{json}");
    for line in json.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["check"].is_string() && value["text"].is_string(), "{line}");
    }
}

#[test]
fn other_programs_at_the_address_are_recognised() {
    let folder = folder("strangers");
    let answer_all = |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut some = [0; 64];
                let _ = stream.read(&mut some);
                let _ = stream.write_all(answer);
            }
        });
        address.to_string()
    };
    for answer in [&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], b"SSH-2.0-thing\r\n", b""] {
        let server = answer_all(answer);
        expect(run(&folder, &server, &[], &["doctor"]), 3, &["ok the port is open", "another program"]);
        expect(run(&folder, &server, &[], &["compose", "rain", "-o", "song.flac"]), 3, &["hint: "]);
        let over_tls = run(&folder, &format!("https://{server}"), &[], &["doctor"]);
        expect(over_tls, 3, &["hint: the server may not use TLS"]);
    }
    // A name with two dots is invalid, so no name server is asked.
    expect(run(&folder, "music..invalid:7300", &[], &["doctor"]), 3, &["has no address", "hint: check the name"]);
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
}
