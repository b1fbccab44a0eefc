//! Who may send. Any page that a browser shows can post to the address of a daemon on the same machine or network;
//! a page says so in `Origin`, and one that had its own name point here in `Host`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use sha2::{Digest, Sha256};

use super::answer::Refusal;
use crate::secret::Secret;

/// The checks of one listener.
#[derive(Debug)]
pub struct Guard {
    /// Only programs of this machine can reach it, and the pages in its browsers.
    is_loopback: bool,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    /// The hash of the token. Comparing hashes tells by its duration nothing of how much of a guess was right.
    token: Option<[u8; 32]>,
}

impl Guard {
    /// Of the address `bound`, where `allowed_hosts` may stand in `Host` beside its own names, pages of
    /// `allowed_origins` may send, and everybody has to say `token`, if there is one.
    pub fn new(
        bound: SocketAddr,
        allowed_hosts: &[String],
        allowed_origins: &[String],
        token: Option<Secret>,
    ) -> Self {
        let lower = |texts: &[String]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
        Guard {
            is_loopback: bound.ip().to_canonical().is_loopback(),
            allowed_hosts: lower(allowed_hosts),
            allowed_origins: lower(allowed_origins),
            token: token.map(|token| Sha256::digest(token.as_bytes()).into()),
        }
    }

    /// Refuses a request that may not be served.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only(headers, header::HOST)?;
        if self.is_loopback && host.as_deref().is_some_and(|host| !self.allows_host(host)) {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the header Host is neither localhost nor a loopback address: list it in `allowed_hosts` to allow it",
            ));
        }
        if let Some(origin) = only(headers, header::ORIGIN)?
            && !self.allowed_origins.contains(&origin)
            && !is_own(&origin, host.as_deref())
        {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "the header Origin is of another site: list it in `allowed_origins` to allow its pages to send",
            ));
        }
        let is_known = |token| authorization(headers).is_some_and(|sent| Sha256::digest(sent)[..] == token);
        match self.token {
            Some(token) if !is_known(token) => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "send the header `Authorization: Bearer` with the token of `token` or `token_file`",
            )),
            _ => Ok(()),
        }
    }

    fn allows_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        name == "localhost"
            || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
            || self.allowed_hosts.iter().any(|allowed| allowed == host || allowed == name)
    }
}

/// Whether a token and a file of it go together. The error names the key.
pub fn check_token(token: Option<&Secret>, file: Option<&Path>) -> Result<(), String> {
    if token.is_some() && file.is_some() {
        return Err("token, token_file: only one of them".to_owned());
    }
    if token.is_some_and(|token| token.is_empty()) {
        return Err("token: must not be empty; leave it out to let everybody in".to_owned());
    }
    Ok(())
}

/// The token, if clients must send one. The error names the key.
pub fn token(token: Option<&Secret>, file: Option<&Path>) -> io::Result<Option<Secret>> {
    let Some(path) = file else { return Ok(token.cloned()) };
    let wrong = |kind, why: &dyn std::fmt::Display| {
        io::Error::new(kind, format!("token_file = \"{}\": {why}", path.display()))
    };
    let token = Secret::read(path).map_err(|error| wrong(error.kind(), &error))?;
    if token.is_empty() {
        return Err(wrong(io::ErrorKind::InvalidInput, &"its first line is empty"));
    }
    Ok(Some(token))
}

/// The value of a header that may stand there once, in lower case.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(&name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value.to_ascii_lowercase())),
        _ => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("the header {name} must be sent once and be ASCII"),
        )),
    }
}

/// Whether a page of `origin` was got from the `host` it sends to now, by HTTP or through a proxy by HTTPS.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    [("http://", ":80"), ("https://", ":443")].iter().any(|(scheme, port)| {
        let bare = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_owned();
        origin.strip_prefix(scheme).is_some_and(|authority| bare(authority) == bare(host))
    })
}

/// `host` without the port behind it. An IPv6 address in it stands in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The token of `Authorization: Bearer`.
fn authorization(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, headers: &[(&str, &str)]) -> u16 {
        let pairs =
            headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        guard.check(&map).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    fn guard(bound: &str) -> Guard {
        let (hosts, origins) = (["Kaneda.test".to_owned()], ["https://App.test".to_owned()]);
        Guard::new(bound.parse().unwrap(), &hosts, &origins, None)
    }

    #[test]
    fn a_loopback_address_is_sent_to_by_its_own_names_only() {
        for bound in ["127.0.0.1:8126", "[::1]:8126", "[::ffff:127.0.0.1]:8126"] {
            for (host, expected) in [
                ("localhost", 200),
                ("LOCALHOST:8126", 200),
                ("127.0.0.1:8126", 200),
                ("127.8.9.1", 200),
                ("[::1]:8126", 200),
                ("[::1]", 200),
                ("kaneda.test", 200),
                ("KANEDA.test:8126", 200),
                ("evil.test", 403),
                ("evil.test:8126", 403),
                ("127.0.0.1.evil.test", 403),
                ("localhost.evil.test", 403),
                ("10.0.0.1:8126", 403),
                ("", 403),
            ] {
                assert_eq!(status(&guard(bound), &[("host", host)]), expected, "{bound} {host}");
            }
        }
        assert_eq!(status(&guard("127.0.0.1:1"), &[("host", "localhost"), ("host", "evil.test")]), 403);
        // No browser leaves it out.
        assert_eq!(status(&guard("127.0.0.1:1"), &[]), 200);
    }

    #[test]
    fn another_address_is_sent_to_by_any_name() {
        assert_eq!(status(&guard("0.0.0.0:8126"), &[("host", "metrics.internal:8126")]), 200);
    }

    #[test]
    fn pages_of_other_sites_may_not_send() {
        for (host, origin, expected) in [
            ("localhost:8126", "http://localhost:8126", 200),
            ("localhost:8126", "http://localhost:3000", 403),
            ("localhost:8126", "http://localhost", 403),
            ("localhost", "http://localhost:80", 200),
            ("localhost", "https://localhost", 200),
            ("localhost:443", "https://localhost", 200),
            ("localhost:80", "https://localhost", 403),
            ("localhost:8126", "https://app.test", 200),
            ("localhost:8126", "https://app.test.evil.test", 403),
            ("localhost:8126", "http://evil.test", 403),
            ("localhost:8126", "null", 403),
            ("localhost:8126", "", 403),
        ] {
            for bound in ["127.0.0.1:8126", "0.0.0.0:8126"] {
                assert_eq!(
                    status(&guard(bound), &[("host", host), ("origin", origin)]),
                    expected,
                    "{host} {origin}"
                );
            }
        }
        assert_eq!(status(&guard("0.0.0.0:1"), &[("origin", "http://evil.test")]), 403);
    }

    #[test]
    fn a_token_is_asked_for_and_never_shown() {
        let guard = Guard::new("0.0.0.0:1".parse().unwrap(), &[], &[], Some(Secret::from("hunter2")));
        for (value, expected) in [
            ("Bearer hunter2", 200),
            ("bearer hunter2", 200),
            ("Bearer hunter", 401),
            ("Bearer hunter22", 401),
            ("Bearer", 401),
            ("Basic hunter2", 401),
            ("hunter2", 401),
        ] {
            assert_eq!(status(&guard, &[("authorization", value)]), expected, "{value}");
        }
        let refusal = guard.check(&HeaderMap::new()).unwrap_err();
        assert!(!format!("{refusal:?}").contains("hunter2"));
    }
}
