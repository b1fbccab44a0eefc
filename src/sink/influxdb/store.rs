//! What the points go to: a database of InfluxDB 1, or a bucket of InfluxDB 2 and of what speaks its protocol.

use std::fmt;

use super::answer::{self, Reply, Sent};

/// A database or a bucket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Store {
    Database(Database),
    Bucket(Bucket),
}

/// InfluxDB 1: `POST /write`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Database {
    pub(super) name: String,
    /// None: the default one of the database.
    pub(super) retention_policy: Option<String>,
    /// Whether it is created if it is missing.
    pub(super) create: bool,
}

/// InfluxDB 2: `POST /api/v2/write`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// InfluxDB 2 asks for one; others know none.
    pub(super) org: Option<String>,
}

impl Store {
    /// Where a write is posted to, behind the URL of a server.
    pub(super) fn path(&self) -> &'static str {
        match self {
            Store::Database(_) => "/write",
            Store::Bucket(_) => "/api/v2/write",
        }
    }

    /// The query of a write. Both versions say nanoseconds with the same word.
    pub(super) fn query(&self) -> Vec<(&'static str, &str)> {
        let mut query = vec![("precision", "ns")];
        match self {
            Store::Database(database) => {
                query.push(("db", &database.name));
                query.extend(database.retention_policy.as_deref().map(|policy| ("rp", policy)));
            }
            Store::Bucket(bucket) => {
                query.push(("bucket", &bucket.name));
                query.extend(bucket.org.as_deref().map(|org| ("org", org)));
            }
        }
        query
    }

    /// What an answer to a write of `sent` means.
    pub(super) fn read(&self, status: u16, body: &str, sent: Sent) -> Reply {
        match self {
            Store::Database(_) => answer::read(status, body, sent),
            Store::Bucket(_) => answer::bucket::read(status, body, sent),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Database(database) => write!(f, "database {}", database.name),
            Store::Bucket(bucket) => write!(f, "bucket {}", bucket.name),
        }
    }
}
