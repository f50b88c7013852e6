//! `segue doctor`: checks the connection step by step.

use std::{env, time::Duration};

use segue_client::{
    Error,
    proto::segue::composer::v1::{GetStatsRequest, ListModelsRequest},
    sanitize,
};
use serde_json::json;
use tokio::{net, time::timeout};
use tonic::Code;

use crate::{
    exit::CliError,
    session::settings::Server,
    ui::{format, palette::Palette, printer::Printer},
};

const TIMEOUT: Duration = Duration::from_secs(5);
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

pub async fn run(server: &Server, printer: &Printer) -> Result<(), CliError> {
    let connection = &server.connection;
    let address = &connection.address;
    let tls = if address.tls { "with TLS" } else { "without TLS" };
    let token = if connection.token.is_empty() { "no token" } else { "a token" };
    good(printer, "settings", &format!("server {address}, {tls}, {token} (from {})", server.origin))?;
    let proxies: Vec<&str> =
        PROXIES.into_iter().filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty())).collect();
    if !proxies.is_empty() {
        note(printer, "proxy", &format!("{} set, but segue does not use a proxy", proxies.join(", ")))?;
    }
    if !address.unix {
        check_host(printer, server).await?;
    }
    let mut client = match connection.open().await {
        Ok(client) => client,
        Err(error) => {
            let hint = connection_hint(&error, address.tls);
            return Err(bad(printer, "connection", &error.to_string(), CliError::UNREACHABLE, hint));
        }
    };
    let text = if address.tls { "TLS works, and the certificate is trusted" } else { "the server accepts connections" };
    good(printer, "connection", text)?;
    match client.get_stats(GetStatsRequest {}).await {
        Ok(stats) => {
            let version = sanitize(&stats.version);
            good(printer, "service", &format!("the server is a Segue service, version {version}"))?;
            let own = env!("CARGO_PKG_VERSION");
            if release(&version) != release(own) {
                let text =
                    format!("segue has version {own}: features that one side does not know are skipped or refused");
                note(printer, "version", &text)?;
            }
        }
        Err(error) => {
            let hint = call_hint(&error, connection.token.is_empty(), address.tls);
            let text = error.to_string();
            return Err(bad(printer, "service", &text, CliError::from(error).code(), hint));
        }
    }
    match client.list_models(ListModelsRequest {}).await {
        Ok(answer) => {
            let models = format::count(answer.models.len() as u32, "model");
            good(printer, "models", &format!("{models} can play"))
        }
        Err(error) => {
            let text = format!("the models cannot be listed: {error}");
            Err(bad(printer, "models", &text, CliError::from(error).code(), "check the renderers of the service"))
        }
    }
}

async fn check_host(printer: &Printer, server: &Server) -> Result<(), CliError> {
    let address = &server.connection.address;
    let unreachable = |check: &str, text: &str, hint: &str| Err(bad(printer, check, text, CliError::UNREACHABLE, hint));
    let found = timeout(TIMEOUT, net::lookup_host(&address.authority)).await;
    let addresses: Vec<String> = match found {
        Ok(Ok(addresses)) => addresses.map(|each| each.ip().to_string()).collect(),
        Ok(Err(error)) => {
            return unreachable("name", &format!("{} has no address: {error}", address.host()), "check the name");
        }
        Err(_) => return unreachable("name", "the name server does not answer", "check the network"),
    };
    good(printer, "name", &format!("{} has the address {}", address.host(), addresses.join(", ")))?;
    match timeout(TIMEOUT, net::TcpStream::connect(&address.authority)).await {
        Ok(Ok(_)) => good(printer, "port", "the port is open"),
        Ok(Err(error)) => unreachable(
            "port",
            &format!("{address} does not accept connections: {error}"),
            "check that `segued serve` runs there and uses this port",
        ),
        Err(_) => {
            let text = format!("{address} does not answer within {} s", TIMEOUT.as_secs());
            unreachable("port", &text, "a firewall may block the connection")
        }
    }
}

fn connection_hint(error: &Error, tls: bool) -> &'static str {
    let text = error.to_string().to_ascii_lowercase();
    match tls {
        true if text.contains("unknownissuer") || text.contains("certificate") => {
            "set the certificate to trust with --tls-ca; it must contain the name of the host"
        }
        true => "the server may not use TLS: try http://",
        false => "the server may use TLS: try https://",
    }
}

fn call_hint(error: &Error, has_no_token: bool, tls: bool) -> &'static str {
    match error {
        Error::Server(failure) if failure.code == Code::Unauthenticated && has_no_token => {
            "the server requires a token: set SEGUE_CLIENT_TOKEN, or use --token-file"
        }
        Error::Server(failure) if failure.code == Code::Unauthenticated => "the server has another token",
        Error::Server(failure) if failure.code == Code::Unimplemented => {
            "another program, or an older version, listens there"
        }
        Error::Unreachable { .. } if !tls => "another program listens there, or the server uses TLS: try https://",
        Error::Unreachable { .. } => "the server may require a client certificate: use --tls-cert and --tls-key",
        _ => "another program may listen there",
    }
}

/// The major and minor version.
fn release(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn good(printer: &Printer, check: &str, text: &str) -> Result<(), CliError> {
    if printer.json {
        return printer.object(&json!({"check": check, "ok": true, "text": text}));
    }
    printer.line(&format!("{} {text}", printer.out_palette.paint(Palette::GOOD, "ok")))
}

/// Prints a fact that may explain a later error.
fn note(printer: &Printer, check: &str, text: &str) -> Result<(), CliError> {
    if printer.json { good(printer, check, text) } else { printer.line(&format!("  {text}")) }
}

fn bad(printer: &Printer, check: &str, text: &str, code: u8, hint: &str) -> CliError {
    if printer.json
        && let Err(stop) = printer.object(&json!({"check": check, "ok": false, "text": text, "hint": hint}))
    {
        return stop;
    }
    CliError::new(code, text, hint)
}
