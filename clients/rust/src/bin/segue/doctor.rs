//! `segue doctor`: why a server cannot be reached, step by step.

use std::{env, time::Duration};

use segue_client::{
    Error, clean,
    proto::segue::composer::v1::{GetStatsRequest, ListModelsRequest},
};
use serde_json::json;
use tokio::{net, time::timeout};
use tonic::Code;

use crate::{
    exit::Stop,
    settings::Reach,
    talk::{Palette, Talk},
    words,
};

const LIMIT: Duration = Duration::from_secs(5);
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// `segue doctor`.
pub async fn doctor(reach: &Reach, talk: &Talk) -> Result<(), Stop> {
    let connection = &reach.connection;
    let address = &connection.address;
    let way = if address.tls { "with TLS" } else { "without TLS" };
    let token = if connection.token.is_empty() { "no token" } else { "a token" };
    good(talk, "settings", &format!("server {address}, {way}, {token} (from {})", reach.origin))?;
    let proxies: Vec<&str> =
        PROXIES.into_iter().filter(|name| env::var_os(name).is_some_and(|value| !value.is_empty())).collect();
    if !proxies.is_empty() {
        aside(talk, "proxy", &format!("{} set: this program does not use a proxy", proxies.join(", ")))?;
    }
    if !address.unix {
        reach_host(talk, reach).await?;
    }
    let mut client = match connection.open().await {
        Ok(client) => client,
        Err(error) => {
            let hint = connection_hint(&error, address.tls);
            return Err(bad(talk, "connection", &error.to_string(), Stop::UNREACHABLE, hint));
        }
    };
    let way = if address.tls { "it speaks TLS, and its certificate is trusted" } else { "it accepts connections" };
    good(talk, "connection", way)?;
    match client.get_stats(GetStatsRequest {}).await {
        Ok(stats) => {
            let version = clean(&stats.version);
            good(talk, "service", &format!("it is a Segue service, version {version}"))?;
            let own = env!("CARGO_PKG_VERSION");
            if release(&version) != release(own) {
                let text = "what one of them does not know is skipped or refused";
                aside(talk, "version", &format!("this program is version {own}: {text}"))?;
            }
        }
        Err(error) => {
            let hint = call_hint(&error, connection.token.is_empty(), address.tls);
            let text = error.to_string();
            return Err(bad(talk, "service", &text, Stop::from(error).code(), hint));
        }
    }
    match client.list_models(ListModelsRequest {}).await {
        Ok(answer) => {
            let models = words::counted(answer.models.len() as u32, "model");
            good(talk, "models", &format!("it can play {models}"))
        }
        Err(error) => {
            let text = format!("it cannot play: {error}");
            Err(bad(talk, "models", &text, Stop::from(error).code(), "look at the renderers of the service"))
        }
    }
}

async fn reach_host(talk: &Talk, reach: &Reach) -> Result<(), Stop> {
    let address = &reach.connection.address;
    let unreachable = |check: &str, text: &str, hint: &str| Err(bad(talk, check, text, Stop::UNREACHABLE, hint));
    let found = timeout(LIMIT, net::lookup_host(&address.authority)).await;
    let places: Vec<String> = match found {
        Ok(Ok(places)) => places.map(|place| place.ip().to_string()).collect(),
        Ok(Err(error)) => {
            return unreachable("name", &format!("{} has no address: {error}", address.host()), "check the name");
        }
        Err(_) => return unreachable("name", "the name server does not answer", "check the network"),
    };
    good(talk, "name", &format!("{} is at {}", address.host(), places.join(", ")))?;
    match timeout(LIMIT, net::TcpStream::connect(&address.authority)).await {
        Ok(Ok(_)) => good(talk, "port", "the port is open"),
        Ok(Err(error)) => unreachable(
            "port",
            &format!("{address} does not accept connections: {error}"),
            "is `segued serve` running there, and on that port?",
        ),
        Err(_) => {
            let text = format!("{address} does not answer within {} s", LIMIT.as_secs());
            unreachable("port", &text, "a firewall may be in between")
        }
    }
}

fn connection_hint(error: &Error, tls: bool) -> &'static str {
    let text = error.to_string().to_ascii_lowercase();
    match tls {
        true if text.contains("unknownissuer") || text.contains("certificate") => {
            "--tls-ca names the certificate to trust; the host's name must be in it"
        }
        true => "the server may speak without TLS: give its address with http://",
        false => "the server may speak TLS: give its address with https://",
    }
}

fn call_hint(error: &Error, has_no_token: bool, tls: bool) -> &'static str {
    match error {
        Error::Failed(failure) if failure.code == Code::Unauthenticated && has_no_token => {
            "it wants a token: set SEGUE_CLIENT_TOKEN, or give --token-file"
        }
        Error::Failed(failure) if failure.code == Code::Unauthenticated => "compare the token with the server's",
        Error::Failed(failure) if failure.code == Code::Unimplemented => {
            "something else, or an older version, listens there"
        }
        Error::Unreachable { .. } if !tls => "something else listens there, or it speaks TLS: try https://",
        Error::Unreachable { .. } => "it may want to see a certificate of yours: --tls-cert and --tls-key",
        _ => "something else may listen there",
    }
}

fn release(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn good(talk: &Talk, check: &str, text: &str) -> Result<(), Stop> {
    if talk.json {
        return talk.object(&json!({"check": check, "ok": true, "text": text}));
    }
    talk.line(&format!("{} {text}", talk.out_palette.paint(Palette::GOOD, "ok")))
}

/// Something that is neither good nor bad, but may explain what follows.
fn aside(talk: &Talk, check: &str, text: &str) -> Result<(), Stop> {
    if talk.json { good(talk, check, text) } else { talk.line(&format!("  {text}")) }
}

fn bad(talk: &Talk, check: &str, text: &str, code: u8, hint: &str) -> Stop {
    if talk.json
        && let Err(stop) = talk.object(&json!({"check": check, "ok": false, "text": text, "hint": hint}))
    {
        return stop;
    }
    Stop::wrong(code, text, hint)
}
