//! Whether the parts of a configuration go together.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{memory, sinks, sources};
#[cfg(any(feature = "log", feature = "sqlite"))]
use crate::config::SinkKind;
use crate::config::{Config, Mistake, Mistakes, SourceKind};

/// All mistakes that show only when the parts come together: the memory they may take, what each store makes of its
/// keys, two that listen at one address, two that write to one file. Nothing is connected to or looked up.
pub fn check(config: &Config) -> Result<(), Mistakes> {
    let mut list = Vec::new();
    list.extend(memory::check(config).err().map(|problem| config.limits.places.mistake(problem)));
    list.extend(listeners(config, Some(config.admin.listen)));
    list.extend(of_entries(config));
    let file =
        config.file.as_deref().map_or("the built-in defaults".to_owned(), |file| file.display().to_string());
    if list.is_empty() { Ok(()) } else { Err(Mistakes { file, list, rest: None }) }
}

/// Adds what else is wrong with the sources and sinks that could be read beside these mistakes.
pub fn complete(mut mistakes: Mistakes) -> Mistakes {
    if let Some(rest) = mistakes.rest.take() {
        mistakes.list.extend(listeners(&rest, None));
        mistakes.list.extend(of_entries(&rest));
        mistakes.sort();
    }
    mistakes
}

/// What is wrong with sources and sinks, whatever the other tables say.
fn of_entries(config: &Config) -> Vec<Mistake> {
    let mut list = files(config);
    for source in &config.sources {
        list.extend(sources::check(source).err().map(|problem| source.places.mistake(problem.to_string())));
    }
    for sink in &config.sinks {
        list.extend(sinks::build(sink).err().map(|problem| sink.places.mistake(problem)));
    }
    list
}

/// What a source is bound to.
#[derive(PartialEq)]
enum Listener<'a> {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Path(&'a Path),
}

impl Listener<'_> {
    fn clashes(&self, other: &Self) -> bool {
        match (self, other) {
            (Listener::Udp(a), Listener::Udp(b)) | (Listener::Tcp(a), Listener::Tcp(b)) => {
                // Port 0 is any that is free. The address of all has every other one of its family, and that of all of
                // IPv6 has those of IPv4 too.
                let has = |all: &SocketAddr, one: &SocketAddr| {
                    all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4())
                };
                a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || has(a, b) || has(b, a))
            }
            _ => self == other,
        }
    }
}

/// `admin` is none where it could not be read.
fn listeners(config: &Config, admin: Option<SocketAddr>) -> Vec<Mistake> {
    let mut taken: Vec<_> =
        admin.into_iter().map(|admin| (Listener::Tcp(admin), "[admin]".to_owned())).collect();
    let mut on_admin: Option<&str> = None;
    let mut mistakes = Vec::new();
    for source in &config.sources {
        // A name is looked up when it is bound, and what is wrong with it is said then.
        let address = |listen: &str| listen.parse().ok();
        let listener = match &source.kind {
            SourceKind::Udp(udp) => address(&udp.listen).map(Listener::Udp),
            SourceKind::Tcp(tcp) => address(&tcp.listen).map(Listener::Tcp),
            SourceKind::Http(http) if http.listen.is_none() => {
                if let Some(other) = on_admin.replace(&source.name) {
                    let problem = format!(
                        "source {other} is on the admin address too: only one can be, give this one a `listen`"
                    );
                    mistakes.push(source.places.mistake(problem));
                }
                None
            }
            SourceKind::Http(http) => http.listen.as_deref().and_then(address).map(Listener::Tcp),
            SourceKind::Unix(unix) => Some(Listener::Path(&unix.listen)),
            SourceKind::Unixgram(unixgram) => Some(Listener::Path(&unixgram.listen)),
            // It connects, or says itself what it cannot bind.
            #[cfg(feature = "zmq")]
            SourceKind::Zmq(_) => None,
            #[cfg(feature = "celery")]
            SourceKind::Celery(_) => None,
            #[cfg(feature = "rq")]
            SourceKind::Rq(_) => None,
        };
        let Some(listener) = listener else { continue };
        if let Some((_, other)) = taken.iter().find(|(other, _)| listener.clashes(other)) {
            let problem = format!("listen: {other} listens there too: name another address");
            mistakes.push(source.places.mistake(problem));
        }
        taken.push((listener, format!("source {}", source.name)));
    }
    mistakes
}

/// Files that two would write to: each report would stand there twice, or one's in the midst of the other's.
fn files(config: &Config) -> Vec<Mistake> {
    let mut writers = Vec::new();
    #[cfg(feature = "queue")]
    for source in &config.sources {
        let path = super::sources::letters(source);
        let name = format!("source {}", source.name);
        writers.extend(path.map(|path| ("dead_letters", one(&path), name, &source.places)));
    }
    for sink in &config.sinks {
        let name = format!("sink {}", sink.name);
        let letters = sink.drain.letters(&sink.name);
        writers.extend(letters.map(|it| ("dead_letters", one(&it.path), name.clone(), &sink.places)));
        let path = match &sink.kind {
            #[cfg(feature = "sqlite")]
            SinkKind::Sqlite(sqlite) => Some(sqlite.path.as_path()),
            #[cfg(feature = "log")]
            SinkKind::Log(log) => Some(log.path.as_deref().unwrap_or(Path::new("/dev/stdout"))),
            _ => None,
        };
        writers.extend(path.map(|path| ("path", one(path), name, &sink.places)));
    }
    let mut mistakes = Vec::new();
    for (at, (key, path, _, places)) in writers.iter().enumerate() {
        if let Some((_, _, other, _)) = writers[..at].iter().find(|(_, other, ..)| other == path) {
            let problem = format!("{key}: {other} writes to this file too: name another one");
            mistakes.push(places.mistake(problem));
        }
    }
    mistakes
}

/// One file has many paths.
fn one(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(folder).unwrap_or(path)
}
