//! The types of sources and sinks: which word in `type` stands for which `Config`.

use std::num::NonZeroUsize;

use super::field::fields_of;
use super::mistake::Mistake;
use super::table::{Origin, Table};
use crate::pipeline::drain;
#[cfg(feature = "elasticsearch")]
use crate::sink::elasticsearch;
#[cfg(feature = "influxdb")]
use crate::sink::influxdb;
#[cfg(feature = "log")]
use crate::sink::log;
#[cfg(feature = "mongodb")]
use crate::sink::mongodb;
use crate::sink::null;
#[cfg(feature = "rethinkdb")]
use crate::sink::rethinkdb;
#[cfg(feature = "sqlite")]
use crate::sink::sqlite;
#[cfg(feature = "celery")]
use crate::source::celery;
#[cfg(feature = "rq")]
use crate::source::rq;
#[cfg(feature = "zmq")]
use crate::source::zmq;
use crate::source::{http, tcp, udp, unix, unixgram};

/// One of the things that `type` can name.
pub(super) trait Kind: Sized {
    /// The words that `type` takes in this build.
    const WORDS: &'static [&'static str];

    /// The keys of a type; none if there is no such type.
    fn keys(word: &str) -> &'static [&'static str];

    /// Takes its keys out of a table. None: there were mistakes, or there is no such type.
    fn take<'t>(
        word: &str,
        table: &mut Table<'t>,
        origin: &Origin<'t>,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self>;
}

macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $variant:ident = $word:literal: $config:ty $(, $check:path)?;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        #[allow(clippy::large_enum_variant, reason = "a configuration has a handful of them")]
        pub enum $name {
            $(
                $(#[$attr])*
                #[doc = concat!("`type = \"", $word, "\"`.")]
                $variant($config),
            )*
        }

        impl $name {
            /// The word of `type`.
            pub fn word(&self) -> &'static str {
                match self {
                    $($(#[$attr])* $name::$variant(_) => $word,)*
                }
            }
        }

        impl Kind for $name {
            const WORDS: &'static [&'static str] = &[$($(#[$attr])* $word,)*];

            fn keys(word: &str) -> &'static [&'static str] {
                match word {
                    $($(#[$attr])* $word => fields_of::<$config>(),)*
                    _ => &[],
                }
            }

            fn take<'t>(
                word: &str,
                table: &mut Table<'t>,
                origin: &Origin<'t>,
                mistakes: &mut Vec<Mistake>,
            ) -> Option<Self> {
                match word {
                    $($(#[$attr])* $word => {
                        let config: $config = table.take(origin, mistakes)?;
                        $(table.accept($check(&config), origin, mistakes)?;)?
                        Some($name::$variant(config))
                    })*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// A source's type and its keys.
    SourceKind {
        Udp = "udp": udp::Config, udp::Config::check;
        Tcp = "tcp": tcp::Config, tcp::Config::check;
        Unix = "unix": unix::Config, unix::Config::check;
        Unixgram = "unixgram": unixgram::Config, unixgram::Config::check;
        Http = "http": http::Config, http::Config::check;
        #[cfg(feature = "zmq")]
        Zmq = "zmq": zmq::Config, zmq::Config::check;
        #[cfg(feature = "celery")]
        Celery = "celery": celery::Config, celery::Config::check;
        #[cfg(feature = "rq")]
        Rq = "rq": rq::Config, rq::Config::check;
    }
}

impl SourceKind {
    /// Whether what it takes is acknowledged to a broker, which may deliver it again until then.
    pub fn is_acknowledged(&self) -> bool {
        match self {
            SourceKind::Udp(_)
            | SourceKind::Tcp(_)
            | SourceKind::Unix(_)
            | SourceKind::Unixgram(_)
            | SourceKind::Http(_) => false,
            #[cfg(feature = "zmq")]
            SourceKind::Zmq(_) => false,
            #[cfg(feature = "celery")]
            SourceKind::Celery(_) => true,
            #[cfg(feature = "rq")]
            SourceKind::Rq(_) => true,
        }
    }
}

kinds! {
    /// A sink's type and its keys.
    SinkKind {
        #[cfg(feature = "sqlite")]
        Sqlite = "sqlite": sqlite::Config, sqlite::Config::check;
        #[cfg(feature = "log")]
        Log = "log": log::Config;
        #[cfg(feature = "influxdb")]
        Influxdb = "influxdb": influxdb::Config, influxdb::Config::check;
        #[cfg(feature = "elasticsearch")]
        Elasticsearch = "elasticsearch": elasticsearch::Config, elasticsearch::Config::check;
        #[cfg(feature = "mongodb")]
        Mongodb = "mongodb": mongodb::Config;
        #[cfg(feature = "rethinkdb")]
        Rethinkdb = "rethinkdb": rethinkdb::Config;
        Null = "null": null::Config;
    }
}

impl SinkKind {
    /// `concurrency` where it is not set: what pays off with this store.
    pub(super) fn concurrency(&self) -> NonZeroUsize {
        match self {
            #[cfg(feature = "influxdb")]
            SinkKind::Influxdb(_) => influxdb::CONCURRENCY,
            _ => drain::Config::default().concurrency,
        }
    }
}
