//! The sockets that the daemon was started with, and which listener each belongs to.

use std::fmt::{self, Display};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use socket2::{Socket, Type};

use super::listen_fds::Passed;
use crate::config::{Config, Source, SourceKind};
use crate::source::address;

#[cfg(test)]
mod tests;

/// The sockets of the daemon that another process made, as systemd, and that outlive it.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(Owner, Place, Socket)>,
}

/// What listens.
#[derive(Debug, Clone, PartialEq)]
pub enum Owner {
    /// The admin pages.
    Admin,
    /// The source of that name.
    Source(String),
}

impl Inherited {
    /// Finds out whose sockets these are: those of the listener with the socket's name, else of the one that would
    /// bind its address. The error names all that belong to none, and says what to do.
    pub fn assign(passed: Vec<Passed>, config: &Config) -> anyhow::Result<Inherited> {
        let mut inherited = Inherited::default();
        // Without sockets no name is looked up.
        if passed.is_empty() {
            return Ok(inherited);
        }
        let listeners = Listener::all(config);
        let mut problems = Vec::new();
        for Passed { name, socket } in passed {
            let problem = match Place::of(&socket) {
                Ok(place) => match owner(&listeners, &name, &place) {
                    Some(listener) if inherited.of(&listener.owner).count() < listener.most => {
                        inherited.sockets.push((listener.owner.clone(), place, socket));
                        continue;
                    }
                    Some(listener) => format!("{place}: {}", listener.has_enough()),
                    None => format!("{place}: {}", belongs_to_none(&name, &place)),
                },
                Err(problem) => problem,
            };
            problems.push(format!("the socket that was passed as \"{name}\", {problem}"));
        }
        if problems.is_empty() { Ok(inherited) } else { bail!(problems.join("\n")) }
    }

    /// Takes those of a listener; it binds none if there are any.
    pub(super) fn take(&mut self, owner: &Owner) -> Vec<Socket> {
        self.sockets.extract_if(.., |(of, ..)| of == owner).map(|(.., socket)| socket).collect()
    }

    /// Where those of a listener are bound, for a person.
    pub fn of(&self, owner: &Owner) -> impl Iterator<Item = String> {
        self.sockets.iter().filter(move |(of, ..)| of == owner).map(|(_, place, _)| place.to_string())
    }

    /// Whose they are, for a person.
    pub(super) fn owners(&self) -> impl Iterator<Item = String> {
        self.sockets.iter().map(|(owner, place, _)| format!("{owner} inherits its socket: {place}"))
    }
}

impl Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Admin => out.write_str("[admin]"),
            Owner::Source(name) => write!(out, "source {name}"),
        }
    }
}

/// What a socket can take.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Udp,
    Tcp,
    Unix,
    Unixgram,
}

/// Where a socket is bound.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    kind: Kind,
    address: Address,
}

#[derive(Debug, Clone, PartialEq)]
enum Address {
    Net(SocketAddr),
    File(PathBuf),
    /// In the abstract namespace of Unix sockets, or none: no `listen` says that.
    Other,
}

impl Place {
    /// Of a socket that reports or requests can come in at.
    fn of(socket: &Socket) -> Result<Place, String> {
        let unusable = |error: io::Error| format!("cannot be used: {error}");
        let bound = socket.local_addr().map_err(unusable)?;
        let kind = match (socket.r#type().map_err(unusable)?, bound.as_socket(), bound.is_unix()) {
            (Type::DGRAM, Some(_), _) => Kind::Udp,
            (Type::STREAM, Some(_), _) => Kind::Tcp,
            (Type::DGRAM, _, true) => Kind::Unixgram,
            (Type::STREAM, _, true) => Kind::Unix,
            _ => return Err("is neither of TCP or UDP nor a Unix stream or datagram socket".to_owned()),
        };
        let address = match (bound.as_socket(), bound.as_pathname()) {
            (Some(address), _) => Address::Net(address),
            (None, Some(path)) => Address::file(path),
            (None, None) => Address::Other,
        };
        let place = Place { kind, address };
        #[cfg(target_os = "linux")]
        if matches!(kind, Kind::Tcp | Kind::Unix) && !socket.is_listener().map_err(unusable)? {
            return Err(format!(
                "{place}: it does not listen; systemd passes such with Accept=yes, leave that out"
            ));
        }
        Ok(place)
    }
}

impl Address {
    /// One file has many paths.
    fn file(path: &Path) -> Address {
        Address::File(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }
}

impl Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Kind::Udp => "UDP",
            Kind::Tcp => "TCP",
            Kind::Unix => "Unix stream",
            Kind::Unixgram => "Unix datagram",
        })
    }
}

impl Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Net(address) => write!(out, "{} at {address}", self.kind),
            Address::File(path) => write!(out, "{} at {}", self.kind, path.display()),
            Address::Other => write!(out, "{} without a file", self.kind),
        }
    }
}

/// Something in the configuration that sockets can be passed for.
struct Listener {
    name: String,
    owner: Owner,
    kind: Kind,
    /// None: only by its name can a socket belong to it.
    address: Option<Address>,
    /// Sockets that it can have.
    most: usize,
}

impl Listener {
    fn all(config: &Config) -> Vec<Listener> {
        let admin = Listener {
            name: "admin".to_owned(),
            owner: Owner::Admin,
            kind: Kind::Tcp,
            address: Some(Address::Net(config.admin.listen)),
            most: 1,
        };
        std::iter::once(admin).chain(config.sources.iter().filter_map(Listener::of)).collect()
    }

    /// Of a source; none: it does not listen.
    fn of(source: &Source) -> Option<Listener> {
        // What is wrong with `listen` is said where it is bound; where the socket's name is that of the source it is not.
        let net = |listen: &str| address::resolve(listen).ok().map(Address::Net);
        let (kind, address, most) = match &source.kind {
            SourceKind::Udp(udp) => (Kind::Udp, net(&udp.listen), udp.workers.get()),
            SourceKind::Tcp(tcp) => (Kind::Tcp, net(&tcp.listen), 1),
            SourceKind::Unix(unix) => (Kind::Unix, Some(Address::file(&unix.listen)), 1),
            SourceKind::Unixgram(unixgram) => (Kind::Unixgram, Some(Address::file(&unixgram.listen)), 1),
            SourceKind::Http(http) => (Kind::Tcp, http.listen.as_deref().and_then(net), 1),
            #[cfg(feature = "zmq")]
            SourceKind::Zmq(_) => return None,
            #[cfg(feature = "celery")]
            SourceKind::Celery(_) => return None,
            #[cfg(feature = "rq")]
            SourceKind::Rq(_) => return None,
        };
        let owner = Owner::Source(source.name.clone());
        Some(Listener { name: source.name.clone(), owner, kind, address, most })
    }

    fn has_enough(&self) -> String {
        match (self.kind, self.most) {
            (Kind::Udp, most) => format!(
                "{} has workers = {most}, and so many sockets already: raise workers, or pass fewer",
                self.owner
            ),
            _ => format!("{} has a socket already: pass one, or add a source with this `listen`", self.owner),
        }
    }
}

/// Whose a socket is.
fn owner<'a>(listeners: &'a [Listener], name: &str, place: &Place) -> Option<&'a Listener> {
    let mut of_kind = listeners.iter().filter(|listener| listener.kind == place.kind);
    let by_name = of_kind.clone().find(|listener| listener.name == name);
    by_name.or_else(|| of_kind.find(|listener| listener.address.as_ref() == Some(&place.address)))
}

fn belongs_to_none(name: &str, place: &Place) -> String {
    let types = match place.kind {
        Kind::Udp => "udp",
        Kind::Tcp => "tcp or http",
        Kind::Unix => "unix",
        Kind::Unixgram => "unixgram",
    };
    let or_admin = if place.kind == Kind::Tcp { ", or [admin]," } else { "" };
    format!(
        "no source of type {types} is called {name}, and none has this as `listen`: give a source{or_admin} this \
         `listen`, or set FileDescriptorName= of the socket's unit to the name of a source"
    )
}
