//! Whether the parts of a configuration go together.

use std::net::SocketAddr;
use std::path::Path;

use super::{memory, sinks};
use crate::config::{Config, Mistake, Mistakes, SourceKind};

/// All mistakes that show only when the parts come together: the memory they may take, what each store makes of its
/// keys, two that listen at one address, two that write to one file. Nothing is connected to or looked up.
pub fn check(config: &Config) -> Result<(), Mistakes> {
    let mut list = Vec::new();
    list.extend(memory::check(config).err().map(|problem| config.limits.places.mistake(problem)));
    list.extend(listeners(config));
    list.extend(letters(config));
    for sink in &config.sinks {
        list.extend(sinks::build(sink).err().map(|problem| sink.places.mistake(problem)));
    }
    let file =
        config.file.as_deref().map_or("the built-in defaults".to_owned(), |file| file.display().to_string());
    if list.is_empty() { Ok(()) } else { Err(Mistakes { file, list }) }
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
                // Port 0 is any that is free. The address of all has every other one of its family.
                let all = a.ip().is_unspecified() || b.ip().is_unspecified();
                a.port() != 0
                    && a.port() == b.port()
                    && (a.ip() == b.ip() || all && a.is_ipv4() == b.is_ipv4())
            }
            _ => self == other,
        }
    }
}

fn listeners(config: &Config) -> Vec<Mistake> {
    let mut taken = vec![(Listener::Tcp(config.admin.listen), "[admin]".to_owned())];
    let mut mistakes = Vec::new();
    for source in &config.sources {
        // A name is looked up when it is bound, and what is wrong with it is said then.
        let address = |listen: &str| listen.parse().ok();
        let listener = match &source.kind {
            SourceKind::Udp(udp) => address(&udp.listen).map(Listener::Udp),
            SourceKind::Tcp(tcp) => address(&tcp.listen).map(Listener::Tcp),
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

fn letters(config: &Config) -> Vec<Mistake> {
    let mut writers = Vec::new();
    #[cfg(feature = "queue")]
    for source in &config.sources {
        let path = super::sources::letters(source);
        writers.extend(path.map(|path| (path, format!("source {}", source.name), &source.places)));
    }
    for sink in &config.sinks {
        let letters = sink.drain.letters(&sink.name);
        writers.extend(letters.map(|it| (it.path, format!("sink {}", sink.name), &sink.places)));
    }
    let mut mistakes = Vec::new();
    for (at, (path, _, places)) in writers.iter().enumerate() {
        if let Some((_, other, _)) = writers[..at].iter().find(|(other, ..)| other == path) {
            let problem = format!("dead_letters: {other} writes to this file too: name another one");
            mistakes.push(places.mistake(problem));
        }
    }
    mistakes
}
