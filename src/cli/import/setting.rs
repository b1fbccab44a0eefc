//! What each class and each setting of Kaneda becomes: a table, by the names of Kaneda 1.0.

use super::python::Literal;
use super::value::{self, Taken};

/// A class that `BACKEND` or `QUEUE` names.
#[derive(Debug)]
pub(super) struct Class {
    /// Without the module.
    pub(super) name: &'static str,
    /// What its settings begin with.
    pub(super) namespace: &'static str,
    /// The `type` of what takes its place.
    pub(super) kind: &'static str,
    /// Keys that say what the class says by itself: key, value, and why.
    pub(super) fixed: &'static [(&'static str, &'static str, &'static str)],
    pub(super) settings: &'static [Setting],
}

/// A setting of a class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Without the namespace.
    pub(super) name: &'static str,
    /// What it becomes.
    pub(super) key: &'static str,
    /// Its value there.
    pub(super) take: fn(&Literal) -> Taken,
    /// What holds where it is not set.
    pub(super) default: Default,
    /// Settings of the same class without which Kaneda does not use it.
    pub(super) needs: &'static [&'static str],
    /// Whether Kaneda does not look at it where a URL is set.
    pub(super) unless: Unless,
}

/// What holds where a setting is not set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Default {
    /// The same as here.
    Ours,
    /// In Django this, elsewhere the setting has to be set.
    Django(&'static str),
    /// This.
    Kanedas(&'static str),
}

/// When a setting beside `CONNECTION_URL` says nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unless {
    /// Never.
    Never,
    /// If that is set.
    Url,
    /// If that has a path.
    Path,
}

impl Setting {
    const fn new(name: &'static str, key: &'static str, take: fn(&Literal) -> Taken) -> Self {
        Setting { name, key, take, default: Default::Ours, needs: &[], unless: Unless::Never }
    }

    /// An object of Python, which no file can say.
    const fn object(name: &'static str) -> Self {
        Setting::new(name, "", value::object)
    }

    const fn or(self, default: Default) -> Self {
        Setting { default, ..self }
    }

    const fn needs(self, needs: &'static [&'static str]) -> Self {
        Setting { needs, ..self }
    }

    const fn unless(self, unless: Unless) -> Self {
        Setting { unless, ..self }
    }
}

/// The classes of `BACKEND`.
pub(super) const BACKENDS: [Class; 5] = [
    Class {
        name: "ElasticsearchBackend",
        namespace: "ELASTIC",
        kind: "elasticsearch",
        fixed: &[],
        settings: &[
            Setting::new("CONNECTION_URL", "connection_url", value::elastic_urls),
            Setting::new("HOST", "host", value::elastic_hosts).unless(Unless::Url),
            Setting::new("PORT", "port", value::port).unless(Unless::Url),
            Setting::new("USER", "user", value::text).unless(Unless::Url),
            Setting::new("PASSWORD", "password", value::text).needs(&["USER"]).unless(Unless::Url),
            Setting::new("INDEX_NAME", "index_name", value::text),
            Setting::new("APP_NAME", "app_name", value::text).or(Default::Django("default")),
            Setting::new("TIMEOUT", "timeout", |given| value::timeout(given, 1000, 30)),
            Setting::object("CLIENT"),
        ],
    },
    Class {
        name: "MongoBackend",
        namespace: "MONGO",
        kind: "mongodb",
        fixed: &[],
        settings: &[
            Setting::new("CONNECTION_URL", "connection_url", value::text),
            Setting::new("HOST", "host", value::mongo_hosts).unless(Unless::Url),
            Setting::new("PORT", "port", value::port).unless(Unless::Url),
            Setting::new("DB_NAME", "db_name", value::text),
            Setting::new("COLLECTION_NAME", "collection_name", value::text).or(Default::Django("default")),
            Setting::new("TIMEOUT", "timeout", |given| value::timeout(given, 1, 10)),
            Setting::object("CLIENT"),
        ],
    },
    Class {
        name: "RethinkBackend",
        namespace: "RETHINK",
        kind: "rethinkdb",
        fixed: &[],
        settings: &[
            Setting::new("HOST", "host", value::text),
            Setting::new("PORT", "port", value::port),
            Setting::new("DB", "db_name", value::text),
            Setting::new("TABLE_NAME", "table_name", value::text),
            Setting::new("USER", "user", value::text).needs(&["PASSWORD"]),
            Setting::new("PASSWORD", "password", value::text).needs(&["USER"]),
            Setting::new("TIMEOUT", "timeout", |given| value::timeout(given, 1000, 10)),
            Setting::object("CONNECTION"),
        ],
    },
    Class {
        name: "InfluxBackend",
        namespace: "INFLUX",
        kind: "influxdb",
        fixed: &[],
        settings: &[
            Setting::new("CONNECTION_URL", "connection_url", value::influx_url),
            Setting::new("HOST", "host", value::text).unless(Unless::Url),
            Setting::new("PORT", "port", value::port).unless(Unless::Url),
            Setting::new("DATABASE", "database", value::text).unless(Unless::Path),
            Setting::new("USERNAME", "user", value::text).unless(Unless::Url),
            Setting::new("PASSWORD", "password", value::text).needs(&["USERNAME"]).unless(Unless::Url),
            Setting::new("TIMEOUT", "timeout", |given| value::timeout(given, 1000, 5)),
            Setting::object("CLIENT"),
        ],
    },
    LOGGER,
];

/// What Django reports to where `KANEDA_DEBUG` is set.
pub(super) const LOGGER: Class = Class {
    name: "LoggerBackend",
    namespace: "LOGGER",
    kind: "log",
    fixed: &[("format", "text", "the lines of LoggerBackend; \"json\" is easier to read for programs")],
    settings: &[Setting::new("FILENAME", "path", value::text), Setting::object("LOGGER")],
};

/// The classes of `QUEUE`.
pub(super) const QUEUES: [Class; 3] = [
    Class {
        name: "CeleryQueue",
        namespace: "CELERY",
        kind: "celery",
        fixed: &[("name", "celery", "of this source, in /status and in the environment")],
        settings: &[
            // What Celery takes where it is told no broker.
            Setting::new("BROKER", "broker", value::broker).or(Default::Kanedas("amqp://")),
            Setting::new("QUEUE_NAME", "queue_name", value::text),
            Setting::object("APP"),
        ],
    },
    Class {
        name: "ZMQQueue",
        namespace: "ZMQ",
        kind: "zmq",
        fixed: &[],
        settings: &[
            Setting::new("CONNECTION_URL", "connection_url", value::zmq_url).or(Default::Kanedas(value::ZMQ)),
            Setting::new("TIMEOUT", "", |_| {
                Taken::Left("the applications' own wait, which goes on to hold there".to_owned())
            }),
        ],
    },
    Class {
        name: "RQQueue",
        namespace: "RQ",
        kind: "rq",
        fixed: &[],
        settings: &[
            Setting::new("REDIS_URL", "redis_url", value::redis_url),
            Setting::new("QUEUE_NAME", "queue_name", value::text),
            Setting::object("QUEUE"),
        ],
    },
];
