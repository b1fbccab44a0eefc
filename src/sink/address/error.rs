//! What is wrong with the keys that say where a store is.

use std::path::PathBuf;

/// Keys that name no server, or no login. No text of it holds a password; each begins with a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two ways to say where the servers are.
    #[error("connection_url and host are both set: keep one of them")]
    TwoAddresses,
    /// An empty list.
    #[error("{key} is an empty list: name at least one server")]
    NoAddress {
        /// The key.
        key: &'static str,
    },
    /// Something that is no address; a URL is not repeated, it may hold a password.
    #[error("{key}, number {number}: {why}")]
    Address {
        /// The key.
        key: &'static str,
        /// From 1.
        number: usize,
        /// What is wrong with it and what to write.
        why: String,
    },
    /// Servers with different logins (or of what else they must share), or a key that says otherwise.
    #[error("connection_url names more than one {what}, or another than the key {what}: keep one of them")]
    Differs {
        /// The key.
        what: &'static str,
    },
    /// Some servers with TLS, some without.
    #[error("connection_url has servers with TLS and without: write all with https or none")]
    MixedTls,
    /// Two passwords.
    #[error("password and password_file are both set: keep one of them")]
    TwoPasswords,
    /// A password for nobody.
    #[error("password is set without user")]
    NoUser,
    /// The file of a secret cannot be read.
    #[error("{key} {}: {error}", path.display())]
    SecretFile {
        /// The key.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}
