//! What the driver's errors mean, in words that say what to do.

use mongodb::error::{Error, ErrorKind};

use super::answer::{self, LOGIN, Refusal, cut};

/// What `error` means for the documents of the command that it befell.
pub(super) fn read(error: &Error) -> Refusal {
    let why = match &*error.kind {
        ErrorKind::Command(error) => return answer::refusal(error.code, &error.message),
        ErrorKind::Authentication { message, .. } => {
            format!("the server does not accept this login: {}; {LOGIN}", cut(message))
        }
        ErrorKind::ServerSelection { message, .. } if message.contains("requires at least") => {
            format!("the server is too old, MongoDB 4.4 or newer is needed: {}", cut(message))
        }
        ErrorKind::ServerSelection { message, .. } => {
            format!("no server can be written to: {}", cut(&servers(message)))
        }
        ErrorKind::DnsResolve { message, .. } => {
            format!("the name in `connection_url` cannot be resolved: {}", cut(message))
        }
        ErrorKind::InvalidTlsConfig { message, .. } => format!("TLS: {}", cut(message)),
        ErrorKind::Io(error) => format!("the connection broke: {error}"),
        other => cut(&other.to_string()),
    };
    Refusal::NotNow(why)
}

/// What the driver knows of each server, out of a message that holds
/// `{ Address: a:1, Type: Unknown, Error: Kind: why, labels: {..} }` for each; as it is where it does not.
fn servers(message: &str) -> String {
    let server = |part: &str| {
        let (address, rest) = part.split_once(", Type: ")?;
        let kind = rest.split([',', ' ']).next()?;
        let why = match rest.split_once("Error: Kind: ") {
            Some((_, error)) => error.split(", labels: ").next()?,
            None if kind == "Unknown" => "no answer",
            None => kind,
        };
        Some(format!("{address}: {why}"))
    };
    let known: Option<Vec<String>> = message.split("{ Address: ").skip(1).map(server).collect();
    match known {
        Some(known) if !known.is_empty() => known.join("; "),
        _ => message.to_owned(),
    }
}

/// The text of [`read`].
pub(super) fn text(error: &Error) -> String {
    match read(error) {
        Refusal::NotNow(text) => text,
        Refusal::Documents(rejection) => rejection.detail,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn of_each_server_it_is_told_why_it_cannot_be_written_to() {
        // Of the driver, version 3.9.1.
        let message = "Server selection timeout: No available servers. Topology: { Type: ReplicaSetNoPrimary, Servers: [ \
            { Address: a:1, Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: \
            {\"RetryableError\"}, source: None, server response: None }, { Address: b:2, Type: RSSecondary }, \
            { Address: c:3, Type: Unknown } ] }";
        let told = "a:1: I/O error: Connection refused (os error 111); b:2: RSSecondary; c:3: no answer";
        assert_eq!(servers(message), told);
        assert_eq!(servers("another text"), "another text");
    }

    #[test]
    fn a_broken_connection_waits_with_its_cause() {
        let error = Error::from(io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(matches!(read(&error), Refusal::NotNow(why) if why.contains("connection reset")));
    }
}
