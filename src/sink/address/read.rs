//! One address as it is written: a URL with a scheme of the store's, or a host.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Place, Scheme};
use crate::secret::Secret;

/// What one URL says.
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
}

/// Reads a URL that begins with one of `schemes`. The error never repeats it: it may hold a password.
pub(super) fn url(text: &str, schemes: &[Scheme]) -> Result<Found, String> {
    let names: Vec<String> = schemes.iter().map(|scheme| format!("{}://", scheme.name)).collect();
    let advice = format!("write {}host:port", names.join(" or "));
    let Some((written, rest)) = text.split_once("://") else {
        return Err(format!("not a URL; {advice}"));
    };
    let Some(scheme) = schemes.iter().find(|scheme| scheme.name == written) else {
        // What stands before a `://` in a text that is no URL may be a secret.
        return Err(format!("an unknown scheme; {advice}"));
    };
    let parsed = Url::parse(&format!("{}://{rest}", scheme.means));
    let mut url = parsed.map_err(|error| format!("{error}; {advice}"))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("no host; {advice}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("nothing may stand behind `?` or `#`: there is a key for it".to_owned());
    }
    let user = Some(plain(url.username())).filter(|user| !user.is_empty());
    let password = url.password().map(|password| Secret::from(&*plain(password)));
    // These fail only on a URL without a host.
    let _ = (url.set_username(""), url.set_password(None));
    if let (None, Some(port)) = (explicit_port(rest), scheme.port) {
        let _ = url.set_port(Some(port));
    }
    Ok(Found { place: Place { url, scheme: scheme.name }, user, password })
}

/// The port that is written: [`Url::port`] has none where it is the scheme's own.
fn explicit_port(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty() && !port.ends_with(']'))
}

/// The URL of a name or an address, with `port` if it has none of its own.
pub(super) fn host(host: &str, port: u16, scheme: &str) -> Result<Url, String> {
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
    let port = if explicit_port(&host).is_some() { String::new() } else { format!(":{port}") };
    let url = Url::parse(&format!("{scheme}://{host}{port}")).map_err(|error| error.to_string());
    url.ok().filter(|_| !host.is_empty() && !host.contains(['/', '@', '?', '#'])).ok_or_else(|| {
        "not a host; write a name or an address, as \"db1\", \"db1:8086\" or \"::1\"".to_owned()
    })
}

/// A part of a URL without its `%XX`. A login that is not UTF-8 is none that a store could have.
pub(super) fn plain(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::address::HTTP;

    const SCHEMES: [Scheme; 3] =
        [HTTP[0], HTTP[1], Scheme { name: "influxdb", means: "http", port: Some(8086) }];

    #[test]
    fn a_scheme_says_what_it_means_and_which_port() {
        for (written, base, scheme) in [
            ("influxdb://db/x", "http://db:8086/x", "influxdb"),
            ("influxdb://me:p@[::1]/x", "http://[::1]:8086/x", "influxdb"),
            ("influxdb://db:80/x", "http://db/x", "influxdb"),
            ("http://db", "http://db", "http"),
            ("https://db:9/", "https://db:9", "https"),
        ] {
            let place = url(written, &SCHEMES).unwrap_or_else(|why| panic!("{why}")).place;
            assert_eq!((place.base().as_str(), place.scheme), (base, scheme), "{written}");
        }
    }

    #[test]
    fn hosts_are_names_and_addresses_with_a_port_of_their_own_or_not() {
        for (written, base) in [
            ("a", "http://a:9/"),
            ("b:2", "http://b:2/"),
            ("::1", "http://[::1]:9/"),
            ("[::1]", "http://[::1]:9/"),
            ("[::1]:3", "http://[::1]:3/"),
            ("10.0.0.1", "http://10.0.0.1:9/"),
        ] {
            assert_eq!(host(written, 9, "http").unwrap().as_str(), base);
        }
        for wrong in ["", "a/b", "me@b", "a:port", "http://a", "a b"] {
            assert!(host(wrong, 9, "http").unwrap_err().contains("write a name"), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_repeating_it() {
        for (text, part) in [
            ("hush", "not a URL"),
            ("hush://x", "unknown scheme"),
            ("http://", "empty host"),
            ("http://me:hush@x:port", "invalid port"),
            ("http://x?token=hush", "behind `?`"),
            ("http://x#hush", "behind `?` or `#`"),
        ] {
            let error = url(text, &SCHEMES).err().unwrap();
            assert!(error.contains(part) && !error.contains("hush"), "{error}");
        }
    }
}
