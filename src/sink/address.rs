//! Where a store is and who logs in there, from the keys that every store behind a network has.
//!
//! A sink's `Config` has the fields itself, so that an unknown key is an error; it hands them over as [`Keys`].

mod error;
mod read;

use std::path::Path;

use serde::Deserialize;
use url::Url;

use crate::secret::Secret;

pub use error::Error;

/// What a key takes that is a text or a list of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum List<T> {
    /// Not in brackets.
    One(T),
    /// In brackets.
    Many(Vec<T>),
}

impl<T> List<T> {
    /// What is in it.
    pub fn as_slice(&self) -> &[T] {
        match self {
            List::One(one) => std::slice::from_ref(one),
            List::Many(many) => many,
        }
    }
}

/// The keys as they were written.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    /// `connection_url`: URLs, which may hold a login.
    pub connection_url: Option<&'a List<Secret>>,
    /// `host`, in place of `connection_url`: names or addresses, each with a port of its own or not.
    pub host: Option<&'a List<String>>,
    /// `port`, for each host without one.
    pub port: u16,
    /// `user`.
    pub user: Option<&'a str>,
    /// `password`.
    pub password: Option<&'a Secret>,
    /// `password_file`: its first line is the password.
    pub password_file: Option<&'a Path>,
}

/// What a URL may begin with.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    /// As it is written, without `://`.
    pub name: &'static str,
    /// What it becomes in [`Place::url`].
    pub means: &'static str,
    /// The port of a URL without one; none: that of `means`, if it has one.
    pub port: Option<u16>,
}

/// `http` and `https`, as they are.
pub const HTTP: [Scheme; 2] = [
    Scheme { name: "http", means: "http", port: None },
    Scheme { name: "https", means: "https", port: None },
];

/// Where a store is.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its servers in order of preference, at least one.
    pub places: Vec<Place>,
    /// Who logs in.
    pub login: Option<Login>,
}

/// One server.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Without login, query and fragment.
    pub url: Url,
    /// The scheme as it was written; what the path means may depend on it.
    pub scheme: &'static str,
}

impl Place {
    /// The URL without a `/` at its end, so that a path can be put behind it.
    pub fn base(&self) -> String {
        self.url.as_str().trim_end_matches('/').to_owned()
    }

    /// Takes the path off, which names a database in the URLs of some stores; none if it is empty.
    pub fn take_path(&mut self) -> Option<String> {
        let name = read::plain(self.url.path().trim_matches('/'));
        self.url.set_path("");
        Some(name).filter(|name| !name.is_empty())
    }
}

/// Who logs in.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// Empty if there is none.
    pub password: Secret,
}

/// How the file that a key names becomes a secret.
pub type ReadSecret = fn(key: &'static str, file: &Path) -> Result<Secret, Error>;

/// The secret on the first line of a file.
pub fn read_secret(key: &'static str, file: &Path) -> Result<Secret, Error> {
    Secret::read(file).map_err(|error| Error::SecretFile { key, path: file.to_owned(), error })
}

/// A secret that stands for that of a file: for a look at a configuration where its files are not.
pub fn assume_secret(_: &'static str, _: &Path) -> Result<Secret, Error> {
    Ok(Secret::from(""))
}

impl Keys<'_> {
    /// Where the store is and who logs in. A URL begins with one of `schemes`; a `host` is reached by `host_scheme`,
    /// as it means.
    pub fn target(&self, schemes: &[Scheme], host_scheme: &'static str) -> Result<Target, Error> {
        self.target_with(schemes, host_scheme, read_secret)
    }

    /// The same; a secret in a file comes from `read`.
    pub fn target_with(
        &self,
        schemes: &[Scheme],
        host_scheme: &'static str,
        read: ReadSecret,
    ) -> Result<Target, Error> {
        let mut target = Target { places: Vec::new(), login: None };
        let (mut user, mut password) = (self.user.map(str::to_owned), self.password(read)?);
        match (self.connection_url, self.host) {
            (Some(_), Some(_)) => return Err(Error::TwoAddresses),
            (Some(urls), None) => {
                for (number, text) in (1..).zip(urls.as_slice()) {
                    let wrong = |why| Error::Address { key: "connection_url", number, why };
                    let found = read::url(text, schemes).map_err(wrong)?;
                    settle(&mut user, found.user, number == 1, "user")?;
                    settle(&mut password, found.password, number == 1, "password")?;
                    target.places.push(found.place);
                }
            }
            (None, hosts) => {
                let local = [String::from("127.0.0.1")];
                for (number, host) in (1..).zip(hosts.map_or(&local[..], List::as_slice)) {
                    let url = read::host(host, self.port, host_scheme);
                    let wrong = |why| Error::Address { key: "host", number, why };
                    target.places.push(Place { url: url.map_err(wrong)?, scheme: host_scheme });
                }
            }
        }
        if target.places.is_empty() {
            let key = if self.host.is_some() { "host" } else { "connection_url" };
            return Err(Error::NoAddress { key });
        }
        target.login = match (user, password) {
            (None, None) => None,
            (None, Some(_)) => return Err(Error::NoUser),
            (Some(user), password) => {
                Some(Login { user, password: password.unwrap_or_else(|| Secret::from("")) })
            }
        };
        Ok(target)
    }

    fn password(&self, read: ReadSecret) -> Result<Option<Secret>, Error> {
        match (self.password, self.password_file) {
            (Some(_), Some(_)) => Err(Error::TwoPasswords),
            (Some(password), None) => Ok(Some(password.clone())),
            (None, Some(path)) => read("password_file", path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

impl Target {
    /// Whether its servers are reached with TLS, that is by `https`.
    pub fn is_secured(&self) -> Result<bool, Error> {
        let secured = self.places.iter().filter(|place| place.url.scheme() == "https").count();
        match secured {
            0 => Ok(false),
            all if all == self.places.len() => Ok(true),
            _ => Err(Error::MixedTls),
        }
    }
}

/// Puts what a URL says into a place that says nothing, or the same. Only the first URL finds the place empty and
/// may fill it: a second one that says more names another `what`.
pub fn settle<T: PartialEq>(
    place: &mut Option<T>,
    found: Option<T>,
    is_first: bool,
    what: &'static str,
) -> Result<(), Error> {
    if found.is_none() || *place == found {
        return Ok(());
    }
    if place.is_some() || !is_first {
        return Err(Error::Differs { what });
    }
    *place = found;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [Scheme; 3] =
        [HTTP[0], HTTP[1], Scheme { name: "influxdb", means: "http", port: Some(8086) }];

    const NONE: Keys<'static> = Keys {
        connection_url: None,
        host: None,
        port: 8086,
        user: None,
        password: None,
        password_file: None,
    };

    fn urls(list: &[&str]) -> List<Secret> {
        List::Many(list.iter().map(|url| Secret::from(*url)).collect())
    }

    fn hosts(list: &[&str]) -> List<String> {
        List::Many(list.iter().map(|host| (*host).to_owned()).collect())
    }

    fn bases(target: &Target) -> Vec<String> {
        target.places.iter().map(Place::base).collect()
    }

    fn by_url(url: &str) -> Result<Target, Error> {
        Keys { connection_url: Some(&List::One(url.into())), ..NONE }.target(&SCHEMES, "http")
    }

    #[test]
    fn without_a_key_it_is_this_host() {
        let target = NONE.target(&SCHEMES, "http").unwrap();
        assert_eq!((bases(&target), target.login), (vec!["http://127.0.0.1:8086".to_owned()], None));
        assert_eq!(bases(&NONE.target(&SCHEMES, "https").unwrap()), ["https://127.0.0.1:8086"]);
    }

    #[test]
    fn a_login_is_taken_out_of_the_url() {
        let target = by_url("http://me:p%40ss@db:1/prefix/").unwrap();
        assert_eq!(bases(&target), ["http://db:1/prefix"]);
        assert_eq!(target.login, Some(Login { user: "me".into(), password: "p@ss".into() }));
        assert!(!format!("{:?}", by_url("http://me:p%40ss@db:1")).contains("p%40"), "shown");
    }

    #[test]
    fn a_user_in_the_url_takes_the_password_of_its_key() {
        let url = List::One("http://me@db".into());
        let secret = "s".into();
        let keys = Keys { connection_url: Some(&url), password: Some(&secret), ..NONE };
        let login = keys.target(&SCHEMES, "http").unwrap().login;
        assert_eq!(login, Some(Login { user: "me".into(), password: "s".into() }));
        assert_eq!(by_url("http://me@db").unwrap().login.unwrap().password, "".into());
    }

    #[test]
    fn servers_are_all_secured_or_none() {
        let secured = |list: &[&str]| {
            let urls = urls(list);
            Keys { connection_url: Some(&urls), ..NONE }.target(&SCHEMES, "http").unwrap().is_secured()
        };
        assert!(!secured(&["http://a", "influxdb://b"]).unwrap());
        assert!(secured(&["https://a", "https://b"]).unwrap());
        assert!(secured(&["https://a", "http://b"]).unwrap_err().to_string().starts_with("connection_url"));
    }

    #[test]
    fn mistakes_begin_with_their_key_and_show_no_password() {
        let password = Secret::from("hush");
        let (none, no_host) = (urls(&[]), hosts(&[]));
        let two_logins = urls(&["http://a:hush@x", "http://b:hush@x"]);
        let two_passwords = urls(&["http://a:hush@x", "http://a:hush2@x"]);
        let late_login = urls(&["http://x", "http://a:hush@x"]);
        let (url, odd, host) = (urls(&["http://x"]), urls(&["http://x", "me:hush@b"]), hosts(&["a/hush"]));
        let file = Path::new("/nowhere/file");
        for (keys, begin) in [
            (Keys { connection_url: Some(&url), host: Some(&host), ..NONE }, "connection_url and host"),
            (Keys { connection_url: Some(&none), ..NONE }, "connection_url is an empty"),
            (Keys { host: Some(&no_host), ..NONE }, "host is an empty"),
            (Keys { host: Some(&host), ..NONE }, "host, number 1: "),
            (Keys { connection_url: Some(&odd), ..NONE }, "connection_url, number 2: "),
            (Keys { connection_url: Some(&two_logins), ..NONE }, "connection_url names more than one user"),
            (
                Keys { connection_url: Some(&two_passwords), ..NONE },
                "connection_url names more than one password",
            ),
            (Keys { connection_url: Some(&late_login), ..NONE }, "connection_url names more than one user"),
            (
                Keys { connection_url: Some(&two_logins), user: Some("a"), ..NONE },
                "connection_url names more",
            ),
            (Keys { password: Some(&password), ..NONE }, "password is set without user"),
            (
                Keys { password: Some(&password), password_file: Some(file), ..NONE },
                "password and password_file",
            ),
            (Keys { user: Some("u"), password_file: Some(file), ..NONE }, "password_file /nowhere/file: "),
        ] {
            let error = keys.target(&SCHEMES, "http").unwrap_err();
            assert!(error.to_string().starts_with(begin), "{error}");
            assert!(
                !format!("{error} {error:?} {keys:?}").replace("a/hush", "").contains("hush"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_password_may_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let keys = Keys { user: Some("u"), password_file: Some(file.path()), ..NONE };
        assert_eq!(keys.target(&SCHEMES, "http").unwrap().login.unwrap().password, "secret".into());
    }
}
