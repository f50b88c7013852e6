//! How to reach the server: flags, then variables, then `segue.toml`, then this machine.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use segue_client::{Address, Connection};
use toml::Value;

use crate::{args::Common, exit::Stop};

const FILE: &str = "segue.toml";
const DEFAULT_SERVER: &str = "127.0.0.1:7300";
/// What the file's `[client]` section may hold; `segued` reads the same section.
const KEYS: [&str; 4] = ["server", "token", "tls", "tls_ca"];

/// The server, and where its address came from.
pub struct Reach {
    pub connection: Connection,
    pub origin: String,
}

/// Finds out which server to talk to, and how.
pub fn reach(common: &Common) -> Result<Reach, Stop> {
    let files = read_files()?;
    let from_file = |key: &str| {
        files.iter().find_map(|(path, values)| Some((values.get(key)?.clone(), path.display().to_string())))
    };
    let text = |key: &str| match from_file(key) {
        Some((Value::String(text), origin)) => Ok(Some((text, origin))),
        Some((_, origin)) => Err(Stop::usage(format!("{origin}: client.{key} must be a text"), "put it in quotes")),
        None => Ok(None),
    };
    let variable =
        |name: &str| env::var(name).ok().filter(|value| !value.is_empty()).map(|value| (value, name.to_owned()));

    let (server, origin) = match common.server.clone().map(|server| (server, "--server".to_owned())) {
        Some(chosen) => chosen,
        None => match variable("SEGUE_CLIENT_SERVER").or_else(|| variable("SEGUE_SERVER")) {
            Some(chosen) => chosen,
            None => text("server")?.unwrap_or_else(|| (DEFAULT_SERVER.into(), "default".into())),
        },
    };
    let token = match &common.token_file {
        Some(path) => read_token(path)?,
        None => match variable("SEGUE_CLIENT_TOKEN") {
            Some((token, _)) => token,
            None => text("token")?.map_or(String::new(), |(token, _)| token),
        },
    };
    let ca = match common.tls_ca.clone() {
        Some(path) => Some(path),
        None => variable("SEGUE_CLIENT_TLS_CA").or(text("tls_ca")?).map(|(path, _)| PathBuf::from(path)),
    };
    let identity = match (&common.tls_cert, &common.tls_key) {
        (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
        _ => None,
    };
    let tls = if common.tls || ca.is_some() || identity.is_some() {
        Some(true)
    } else {
        wants_tls(variable("SEGUE_CLIENT_TLS"), from_file("tls"))?
    };
    let trusted = match &ca {
        Some(path) => read(path)?,
        None => Vec::new(),
    };
    let address = Address::parse(&server, tls)?;
    Ok(Reach { connection: Connection { address, token: token.trim().to_owned(), trusted, identity }, origin })
}

/// What is set on TLS; without a setting the address decides.
fn wants_tls(variable: Option<(String, String)>, file: Option<(Value, String)>) -> Result<Option<bool>, Stop> {
    let wrong = |text: String| Err(Stop::usage(text, "write true or false"));
    match (variable, file) {
        (Some((value, name)), _) => match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Some(true)),
            "0" | "false" | "no" | "off" => Ok(Some(false)),
            _ => wrong(format!("{name}: {value:?} is neither true nor false")),
        },
        (None, Some((Value::Boolean(value), _))) => Ok(Some(value)),
        (None, Some((_, origin))) => wrong(format!("{origin}: client.tls must be true or false")),
        (None, None) => Ok(None),
    }
}

fn read_token(path: &Path) -> Result<String, Stop> {
    let token = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    token.map_err(|error| Stop::usage(format!("{}: {error}", path.display()), "check the path"))
}

fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    fs::read(path).map_err(|error| Stop::usage(format!("{}: {error}", path.display()), "check the path"))
}

fn read_files() -> Result<Vec<(PathBuf, toml::Table)>, Stop> {
    let paths = match env::var_os("SEGUE_CONFIG").filter(|path| !path.is_empty()) {
        Some(path) if Path::new(&path).is_file() => vec![PathBuf::from(path)],
        Some(path) => {
            return Err(Stop::usage(
                format!("SEGUE_CONFIG: there is no file {}", path.display()),
                "correct it, or unset it",
            ));
        }
        None => [Some(PathBuf::from(FILE)), user_file()].into_iter().flatten().filter(|path| path.is_file()).collect(),
    };
    paths.into_iter().map(|path| Ok((path.clone(), read_file(&path)?))).collect()
}

fn read_file(path: &Path) -> Result<toml::Table, Stop> {
    let wrong = |error: &dyn std::fmt::Display| Stop::usage(format!("{}: {error}", path.display()), "correct the file");
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let mut tree: toml::Table = text.parse().map_err(|error| wrong(&error))?;
    let section = match tree.remove("client") {
        Some(Value::Table(section)) => section,
        Some(_) => return Err(wrong(&"client must be a section")),
        None => toml::Table::new(),
    };
    match section.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(Stop::usage(
            format!("{}: there is no setting client.{key}", path.display()),
            format!("there are: {}", KEYS.join(", ")),
        )),
        None => Ok(section),
    }
}

fn user_file() -> Option<PathBuf> {
    let folder = if cfg!(target_os = "macos") {
        PathBuf::from(env::var_os("HOME")?).join("Library/Application Support")
    } else if cfg!(windows) {
        PathBuf::from(env::var_os("APPDATA")?)
    } else {
        match env::var_os("XDG_CONFIG_HOME").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(env::var_os("HOME")?).join(".config"),
        }
    };
    Some(folder.join("segue").join(FILE))
}
