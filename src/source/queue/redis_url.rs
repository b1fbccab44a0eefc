//! Where a Redis is, as its URL says it.

use redis::Client;
use url::Url;

use crate::tls;

/// What begins a URL of a Redis that is reached with TLS.
const SECURED: &str = "rediss://";
/// What kombu and redis-py read of TLS in a URL, beside `ssl_cert_reqs`.
const WORDS: &str = "ssl_";

/// A Redis.
#[derive(Debug)]
pub struct RedisUrl {
    pub(super) client: Client,
    /// None: without TLS.
    pub(super) tls: Option<tls::Config>,
}

impl RedisUrl {
    /// Reads `redis://user:password@host:port/database`, or with TLS, as `table` says, `rediss://..`. Of this also what
    /// applications write in it: `?ssl_cert_reqs=none&ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE`. No error has a part
    /// of it, which may hold a password.
    pub fn read(text: &str, table: Option<&tls::Config>) -> Result<RedisUrl, String> {
        let client = |text: &str| {
            Client::open(text).map_err(|error| format!("this is no URL of a Redis: {:?}", error.kind()))
        };
        let Some(rest) = text.strip_prefix(SECURED) else {
            return Ok(RedisUrl { client: client(text)?, tls: None });
        };
        let client = client(&format!("redis://{rest}"))?;
        let tls = match (words(text)?, table) {
            (None, table) => table.cloned().unwrap_or_default(),
            (Some(words), None) => words,
            (Some(_), Some(_)) => {
                return Err("`ssl_..` in it and `tls` say the same: keep one of them".to_owned());
            }
        };
        tls.check().map_err(|error| error.to_string())?;
        Ok(RedisUrl { client, tls: Some(tls) })
    }

    /// Whether it is reached with TLS.
    pub fn is_secured(&self) -> bool {
        self.tls.is_some()
    }
}

/// What the URL says of TLS, if it does.
fn words(text: &str) -> Result<Option<tls::Config>, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no URL of a Redis: {error}"))?;
    let mut tls = tls::Config::default();
    let mut is_said = false;
    for (word, value) in url.query_pairs().filter(|(word, _)| word.starts_with(WORDS)) {
        is_said = true;
        let value = value.into_owned();
        match &*word {
            "ssl_cert_reqs" => match value.to_lowercase().trim_start_matches("cert_") {
                "none" => tls.verify = false,
                // Of a server there is no certificate only if it asks for none either.
                "optional" | "required" => tls.verify = true,
                _ => return Err("`ssl_cert_reqs` in it: write none or required".to_owned()),
            },
            "ssl_ca_certs" => tls.ca = Some(value.into()),
            "ssl_certfile" => tls.certificate = Some(value.into()),
            "ssl_keyfile" => tls.key = Some(value.into()),
            // It is looked at unless nothing is.
            "ssl_check_hostname" => {}
            _ => return Err("`ssl_..` in it that is not known: say it by `tls`".to_owned()),
        }
    }
    if !tls.verify {
        tls.ca = None;
    }
    Ok(is_said.then_some(tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(url: &str) -> Option<tls::Config> {
        RedisUrl::read(url, None).unwrap().tls
    }

    #[test]
    fn a_url_says_of_tls_what_it_says_to_an_application() {
        let verified = tls::Config::default();
        assert_eq!(tls("redis://h/0?ssl_cert_reqs=none"), None);
        assert_eq!(tls("rediss://me:hush@h:1/2"), Some(verified.clone()));
        assert_eq!(tls("rediss://h?ssl_cert_reqs=CERT_REQUIRED"), Some(verified.clone()));
        let unverified = tls::Config { verify: false, ..verified.clone() };
        for word in ["none", "CERT_NONE"] {
            assert_eq!(
                tls(&format!("rediss://h?ssl_cert_reqs={word}&ssl_ca_certs=/ca")),
                Some(unverified.clone())
            );
        }
        let files = "rediss://h?ssl_ca_certs=%2Fca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=true";
        let [ca, certificate, key] = ["/ca", "/c", "/k"].map(|path| Some(path.into()));
        assert_eq!(tls(files), Some(tls::Config { ca, certificate, key, verify: true }));
    }

    #[test]
    fn the_table_says_it_as_well_but_not_both() {
        let table = tls::Config { ca: Some("/ca".into()), ..tls::Config::default() };
        assert_eq!(RedisUrl::read("rediss://h", Some(&table)).unwrap().tls, Some(table.clone()));
        for (url, part) in [
            ("rediss://u:hush@h?ssl_cert_reqs=none", "keep one"),
            ("rediss://u:hush@h?ssl_cert_reqs=maybe", "none or required"),
            ("rediss://u:hush@h?ssl_version=3", "not known"),
            ("rediss://u:hush@h:port", "no URL of a Redis"),
        ] {
            let error = RedisUrl::read(url, Some(&table)).unwrap_err();
            assert!(error.contains(part) && !error.contains("hush"), "{error}");
        }
        let half = RedisUrl::read("rediss://h?ssl_certfile=/c", None).unwrap_err();
        assert!(half.contains("tls.certificate is set without tls.key"), "{half}");
    }
}
