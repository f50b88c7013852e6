//! The settings of the server: flags, then environment variables, then `segue.toml`, then this machine.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use segue_client::{Address, Connection};
use toml::Value;

use crate::{args::CommonOptions, exit::CliError};

const FILE: &str = "segue.toml";
const DEFAULT_SERVER: &str = "127.0.0.1:7300";
/// The keys of the file's `[client]` section. `segued` reads the same section.
const KEYS: [&str; 6] = ["server", "token", "tls", "tls_ca", "tls_cert", "tls_key"];

/// A server, and the setting that its address came from.
pub struct Server {
    pub connection: Connection,
    pub origin: String,
}

/// Reads the settings of the server.
pub fn server(options: &CommonOptions) -> Result<Server, CliError> {
    let settings = Settings { files: read_files()? };
    let (address, origin) = match &options.server {
        Some(address) => (address.clone(), "--server".to_owned()),
        None => settings.text("server")?.unwrap_or_else(|| (DEFAULT_SERVER.into(), "default".into())),
    };
    let token = match &options.token_file {
        Some(path) => read_token(path)?,
        None => settings.text("token")?.map_or(String::new(), |(token, _)| token),
    };
    let ca = settings.path(options.tls_ca.as_ref(), "tls_ca")?;
    let identity = match (
        settings.path(options.tls_cert.as_ref(), "tls_cert")?,
        settings.path(options.tls_key.as_ref(), "tls_key")?,
    ) {
        (Some(certificate), Some(key)) => Some((read(&certificate)?, read(&key)?)),
        (None, None) => None,
        _ => {
            let text = "a client certificate and its private key are needed together";
            return Err(CliError::usage(text, "set both --tls-cert and --tls-key"));
        }
    };
    let tls = if options.tls || ca.is_some() || identity.is_some() { Some(true) } else { settings.tls()? };
    let trusted = ca.map(|path| read(&path)).transpose()?.unwrap_or_default();
    let address = Address::parse(&address, tls)?;
    Ok(Server { connection: Connection { address, token: token.trim().to_owned(), trusted, identity }, origin })
}

/// The settings of the environment and the files.
struct Settings {
    files: Vec<(PathBuf, toml::Table)>,
}

impl Settings {
    /// Returns a setting and its origin: the environment variable, or else the first file that has the key.
    fn text(&self, key: &str) -> Result<Option<(String, String)>, CliError> {
        if let Some(found) = variable(key) {
            return Ok(Some(found));
        }
        match self.in_file(key) {
            Some((Value::String(text), origin)) => Ok(Some((text.clone(), origin))),
            Some((_, origin)) => {
                Err(CliError::usage(format!("{origin}: client.{key} must be a string"), "put the value in quotes"))
            }
            None => Ok(None),
        }
    }

    /// Returns the path of a flag or of a setting.
    fn path(&self, flag: Option<&PathBuf>, key: &str) -> Result<Option<PathBuf>, CliError> {
        match flag {
            Some(path) => Ok(Some(path.clone())),
            None => Ok(self.text(key)?.map(|(path, _)| PathBuf::from(path))),
        }
    }

    /// Returns whether to use TLS. Without a setting the address decides.
    fn tls(&self) -> Result<Option<bool>, CliError> {
        let error = |text: String| Err(CliError::usage(text, "write true or false"));
        match (variable("tls"), self.in_file("tls")) {
            (Some((value, name)), _) => match value.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Ok(Some(true)),
                "0" | "false" | "no" | "off" => Ok(Some(false)),
                _ => error(format!("{name}: {value:?} is neither true nor false")),
            },
            (None, Some((Value::Boolean(value), _))) => Ok(Some(*value)),
            (None, Some((_, origin))) => error(format!("{origin}: client.tls must be true or false")),
            (None, None) => Ok(None),
        }
    }

    fn in_file(&self, key: &str) -> Option<(&Value, String)> {
        self.files.iter().find_map(|(path, values)| Some((values.get(key)?, path.display().to_string())))
    }
}

/// Returns the environment variable of a setting and its name.
fn variable(key: &str) -> Option<(String, String)> {
    let name = format!("SEGUE_CLIENT_{}", key.to_ascii_uppercase());
    env::var(&name).ok().filter(|value| !value.is_empty()).map(|value| (value, name))
}

fn read_token(path: &Path) -> Result<String, CliError> {
    let token = if path == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(path) };
    token.map_err(|error| CliError::usage(format!("{}: {error}", path.display()), "check the path"))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    fs::read(path).map_err(|error| CliError::usage(format!("{}: {error}", path.display()), "check the path"))
}

fn read_files() -> Result<Vec<(PathBuf, toml::Table)>, CliError> {
    let paths = match env::var_os("SEGUE_CONFIG").filter(|path| !path.is_empty()) {
        Some(path) if Path::new(&path).is_file() => vec![PathBuf::from(path)],
        Some(path) => {
            return Err(CliError::usage(
                format!("SEGUE_CONFIG: there is no file {}", path.display()),
                "correct or unset SEGUE_CONFIG",
            ));
        }
        None => [Some(PathBuf::from(FILE)), user_file()].into_iter().flatten().filter(|path| path.is_file()).collect(),
    };
    paths.into_iter().map(|path| Ok((path.clone(), read_file(&path)?))).collect()
}

fn read_file(path: &Path) -> Result<toml::Table, CliError> {
    let invalid =
        |error: &dyn std::fmt::Display| CliError::usage(format!("{}: {error}", path.display()), "correct the file");
    let text = fs::read_to_string(path).map_err(|error| invalid(&error))?;
    let mut tree: toml::Table = text.parse().map_err(|error| invalid(&error))?;
    let section = match tree.remove("client") {
        Some(Value::Table(section)) => section,
        Some(_) => return Err(invalid(&"client must be a section")),
        None => toml::Table::new(),
    };
    match section.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(CliError::usage(
            format!("{}: unknown setting client.{key}", path.display()),
            format!("known settings are {}", KEYS.join(", ")),
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
