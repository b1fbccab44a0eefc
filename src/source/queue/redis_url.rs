//! Where a Redis is, as its URL says it.

use redis::Client;
use url::Url;

use crate::tls;

/// What begins a URL of a Redis that is reached with TLS.
const SECURED: &str = "rediss://";
/// What begins the words of TLS in a URL that kombu and redis-py read.
const WORDS: &str = "ssl_";

/// A Redis.
#[derive(Debug)]
pub struct RedisUrl {
    pub(super) client: Client,
    pub(super) tls: Tls,
}

/// How TLS is spoken.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tls {
    /// Not at all.
    Never,
    /// As the source's table `tls` says.
    Table(tls::Config),
    /// As the words in the URL say.
    Words(tls::Config),
}

impl RedisUrl {
    /// Reads `redis://user:password@host:port/database`, or with TLS, as `table` says, `rediss://..`. What applications write
    /// in that goes before the table: `?ssl_cert_reqs=none&ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE`. No error has a
    /// part of it, which may hold a password.
    pub fn read(text: &str, table: Option<&tls::Config>) -> Result<RedisUrl, String> {
        let rest = text.strip_prefix(SECURED);
        let plain = rest.map_or_else(|| text.to_owned(), |rest| format!("redis://{rest}"));
        let client =
            Client::open(plain).map_err(|error| format!("this is no URL of a Redis: {:?}", error.kind()))?;
        let tls = match (rest, words(text)?) {
            (None, None) => Tls::Never,
            // For Celery it is one that is reached with TLS.
            (None, Some(_)) => return Err("`ssl_..` in it: write rediss:// before it".to_owned()),
            (Some(_), None) => Tls::Table(table.cloned().unwrap_or_default()),
            (Some(_), Some(words)) => Tls::Words(words),
        };
        Ok(RedisUrl { client, tls })
    }

    /// Whether the table says how it is reached.
    pub fn is_by_table(&self) -> bool {
        matches!(self.tls, Tls::Table(_))
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
                "optional" | "required" => tls.verify = true,
                _ => return Err("`ssl_cert_reqs` in it: write none or required".to_owned()),
            },
            "ssl_ca_certs" => tls.ca = Some(value.into()),
            "ssl_certfile" => tls.certificate = Some(value.into()),
            "ssl_keyfile" => tls.key = Some(value.into()),
            // It always is, where the certificate is looked at.
            "ssl_check_hostname" => {}
            _ => return Err("`ssl_..` in it that is not known: say it by `tls`".to_owned()),
        }
    }
    if !tls.verify {
        tls.ca = None;
    }
    if tls.key.is_none() {
        // As for Python, it is in the same file.
        tls.key.clone_from(&tls.certificate);
    }
    if tls.certificate.is_none() && tls.key.is_some() {
        return Err("`ssl_keyfile` in it without `ssl_certfile`: both are needed".to_owned());
    }
    Ok(is_said.then_some(tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(url: &str) -> Tls {
        RedisUrl::read(url, None).unwrap().tls
    }

    #[test]
    fn a_url_says_of_tls_what_it_says_to_an_application() {
        let verified = tls::Config::default();
        assert_eq!(tls("redis://me:hush@h:1/2"), Tls::Never);
        assert_eq!(tls("rediss://me:hush@h:1/2"), Tls::Table(verified.clone()));
        assert_eq!(tls("rediss://h?ssl_cert_reqs=CERT_REQUIRED"), Tls::Words(verified.clone()));
        let unverified = tls::Config { verify: false, ..verified };
        for word in ["none", "CERT_NONE"] {
            let url = format!("rediss://h?ssl_cert_reqs={word}&ssl_ca_certs=/ca");
            assert_eq!(tls(&url), Tls::Words(unverified.clone()));
        }
        let [ca, certificate, key] = ["/ca", "/c", "/k"].map(|path| Some(path.into()));
        let both = tls::Config { ca, certificate: certificate.clone(), key, verify: true };
        let files = "rediss://h?ssl_ca_certs=%2Fca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=true";
        assert_eq!(tls(files), Tls::Words(both.clone()));
        let one = tls::Config { key: certificate, ..both };
        assert_eq!(tls("rediss://h?ssl_ca_certs=/ca&ssl_certfile=/c"), Tls::Words(one));
    }

    #[test]
    fn the_table_says_what_the_url_does_not() {
        let table = tls::Config { ca: Some("/ca".into()), ..tls::Config::default() };
        let read = |url| RedisUrl::read(url, Some(&table)).map(|url| url.tls);
        assert_eq!(read("rediss://h"), Ok(Tls::Table(table.clone())));
        assert_eq!(read("rediss://h?ssl_cert_reqs=required"), Ok(Tls::Words(tls::Config::default())));
        assert_eq!(read("redis://h"), Ok(Tls::Never));
        for (url, part) in [
            ("redis://u:hush@h?ssl_cert_reqs=none", "write rediss://"),
            ("rediss://u:hush@h?ssl_cert_reqs=maybe", "none or required"),
            ("rediss://u:hush@h?ssl_keyfile=/k", "without `ssl_certfile`"),
            ("rediss://u:hush@h?ssl_version=3", "not known"),
            ("rediss://u:hush@h:port", "no URL of a Redis"),
        ] {
            let error = read(url).unwrap_err();
            assert!(error.contains(part) && !error.contains("hush"), "{error}");
        }
    }
}
