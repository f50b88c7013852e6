//! The address of a server, and whether a connection to it is private.

use std::net::IpAddr;

use crate::error::{Error, Result};

/// The gateway's port.
pub const DEFAULT_PORT: u16 = 7300;

/// The address of a server, and whether to use TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `host:port`, with brackets around an IPv6 host, or the path of a Unix socket.
    pub authority: String,
    /// Whether to use TLS.
    pub tls: bool,
    /// Whether the address is a Unix socket.
    pub unix: bool,
}

impl Address {
    /// Parses `HOST`, `HOST:PORT`, `http://…`, `https://…` or `unix:PATH`.
    ///
    /// Without a scheme, `tls` decides. Without both, every server uses TLS except one on this machine.
    pub fn parse(text: &str, tls: Option<bool>) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::Usage(format!("{text}: a path is missing after unix:")));
            }
            if tls == Some(true) {
                return Err(Error::Usage(format!("{text}: TLS does not work with a Unix socket")));
            }
            return Ok(Self { authority: path.to_owned(), tls: false, unix: true });
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            Some((other, _)) => {
                return Err(Error::Usage(format!("{text}: unknown scheme {other}://; use http://, https:// or none")));
            }
            None => (None, text),
        };
        if scheme.is_some() && tls.is_some() && scheme != tls {
            return Err(Error::Usage(format!("{text}: the scheme contradicts the TLS setting")));
        }
        let authority = with_port(rest.trim_end_matches('/'))
            .ok_or_else(|| Error::Usage(format!("{text}: expected HOST or HOST:PORT")))?;
        let tls = scheme.or(tls).unwrap_or(!is_loopback(host_of(&authority)));
        Ok(Self { authority, tls, unix: false })
    }

    /// Whether the traffic is private: loopback, a Unix socket, or TLS.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.unix || self.tls || is_loopback(host_of(&self.authority))
    }

    /// The host, without port and brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        host_of(&self.authority)
    }

    pub(crate) fn uri(&self) -> String {
        match (self.unix, self.tls) {
            (true, _) => format!("unix://{}", self.authority),
            (_, true) => format!("https://{}", self.authority),
            _ => format!("http://{}", self.authority),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.unix { write!(out, "unix:{}", self.authority) } else { out.write_str(&self.authority) }
    }
}

fn with_port(text: &str) -> Option<String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (format!("[{host}]"), rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None if text.matches(':').count() > 1 => (format!("[{text}]"), Some("")),
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), Some("")),
        },
    };
    let is_name = !host.is_empty() && !host.contains(|each: char| each.is_whitespace() || "/@?#".contains(each));
    let port = match port? {
        "" => DEFAULT_PORT,
        digits => digits.parse().ok().filter(|port| *port > 0)?,
    };
    is_name.then(|| format!("{host}:{port}"))
}

fn host_of(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']'])
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, bool) {
        let address = Address::parse(text, None).unwrap();
        (address.authority, address.tls)
    }

    #[test]
    fn only_loopback_defaults_to_plaintext() {
        assert_eq!(parsed("127.0.0.1:9"), ("127.0.0.1:9".into(), false));
        assert_eq!(parsed("localhost"), ("localhost:7300".into(), false));
        assert_eq!(parsed("::1"), ("[::1]:7300".into(), false));
        assert_eq!(parsed("music.example"), ("music.example:7300".into(), true));
        assert_eq!(parsed("127.0.0.1.example:1"), ("127.0.0.1.example:1".into(), true));
        assert_eq!(parsed("http://music.example:80"), ("music.example:80".into(), false));
        assert_eq!(parsed("https://[2001:db8::1]:443/"), ("[2001:db8::1]:443".into(), true));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for text in ["", "host:0", "host:99999", "host:http", "ftp://host", "unix:", "a b", "u@host:1", "[::1"] {
            assert!(Address::parse(text, None).is_err(), "{text:?} was accepted");
        }
        assert!(Address::parse("http://host", Some(true)).is_err());
    }

    #[test]
    fn a_socket_is_private_and_a_plain_host_is_not() {
        assert!(Address::parse("unix:/run/segue.sock", None).unwrap().is_private());
        assert!(!Address::parse("http://music.example", None).unwrap().is_private());
    }
}
