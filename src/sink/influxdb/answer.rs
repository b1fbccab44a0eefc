//! What an answer of the server to a write means: pure. Here of InfluxDB 1; of version 2 in [`bucket`].
//!
//! InfluxDB 1.x stores the good lines of a batch and answers 400 with `partial write: <why> dropped=<n>`; it names
//! the first reason only and no line. Two types for one new field in one batch are answered `field type conflict`,
//! and then nothing of the batch is stored. So a batch that was not taken whole is split by the drain until the
//! culprits are alone: to write a point again changes nothing.

pub(super) mod bucket;

use serde::Deserialize;

use crate::sink::{Outcome, Rejection, Verdict};

/// How much of the server's text goes into logs and dead letters. It may quote a whole line.
const DETAIL_BYTES: usize = 300;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The write is decided.
    Decided(Outcome),
    /// This server cannot take it now: another one might.
    Unfit(String),
    /// The database is not there; the server's text.
    NoDatabase(String),
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) records: usize,
    /// Line feeds. There may be some in a text: then no number of a line says which record it is.
    pub(super) lines: usize,
}

/// What `status` and `body` say of a write.
pub(super) fn read(status: u16, body: &str, sent: Sent) -> Reply {
    let error = error(body);
    let text = error.clone().unwrap_or_else(|| format!("status {status}"));
    let detail = cut(&text);
    match status {
        204 => Reply::Decided(Outcome::Delivered),
        200 if error.is_none() => Reply::Decided(Outcome::Delivered),
        413 => refused("too_large", detail),
        // Credentials and rights can be mended while the reports wait; nothing in a report can cause these.
        401 => retry(format!("the server does not know this login: {detail}; mend `user` and `password`")),
        403 => retry(format!("the user may not write: {detail}; grant it WRITE on `database`")),
        404 if text.contains("database not found") => Reply::NoDatabase(detail),
        _ if text.starts_with("retention policy not found") => {
            retry(format!("{detail}; create it or mend `retention_policy`"))
        }
        // A conflict that the server finds late is answered 500.
        _ if text.contains("field type conflict") => partial(&text, sent),
        // Only the server itself answers so; a proxy before it would put all the blame on the reports.
        400 if error.is_some() && !text.contains("is required") => partial(&text, sent),
        429 | 500.. => Reply::Unfit(detail),
        _ => retry(format!("not an answer of InfluxDB to a write: {detail}; mend `connection_url`")),
    }
}

fn retry(why: String) -> Reply {
    Reply::Decided(Outcome::Retry(why))
}

fn refused(reason: &'static str, detail: String) -> Reply {
    Reply::Decided(Outcome::Refused(Rejection { reason, detail }))
}

/// Some lines were dropped. When it was all of them, there is nothing left to split for.
fn partial(text: &str, sent: Sent) -> Reply {
    let (reason, detail) = (reason(text), cut(text));
    let dropped = text.rsplit_once("dropped=").map(|(_, rest)| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<usize>()
    });
    if dropped == Some(Ok(sent.records)) {
        let rejection = Rejection { reason, detail };
        return Reply::Decided(Outcome::Each(vec![Verdict::Rejected(rejection); sent.records]));
    }
    refused(reason, detail)
}

/// The word for what the server says of lines that it does not take. `invalid column type` is version 3.
fn reason(text: &str) -> &'static str {
    let said = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    match () {
        () if said(&["field type conflict", "invalid column type"]) => "type_conflict",
        () if said(&["beyond retention policy", "outside retention policy"]) => "outside_retention",
        () if said(&["limit exceeded"]) => "too_many_series",
        () if said(&["unable to parse"]) => "unparsable",
        () => "refused",
    }
}

/// The text of `{"error":"..."}`.
fn error(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    serde_json::from_str::<Body>(body).ok().map(|body| body.error)
}

/// Beginning and end of a long text: the reason stands at either.
fn cut(text: &str) -> String {
    if text.len() <= DETAIL_BYTES {
        return text.to_owned();
    }
    let half = DETAIL_BYTES / 2;
    format!(
        "{} … {}",
        &text[..text.floor_char_boundary(half)],
        &text[text.ceil_char_boundary(text.len() - half)..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sent = Sent { records: 10, lines: 10 };

    fn reply(status: u16, error: &str) -> Reply {
        read(status, &serde_json::json!({ "error": error }).to_string(), SENT)
    }

    fn reason(reply: Reply) -> &'static str {
        match reply {
            Reply::Decided(Outcome::Refused(rejection)) => rejection.reason,
            other => panic!("{other:?}"),
        }
    }

    fn last_error(reply: Reply) -> String {
        match reply {
            Reply::Decided(Outcome::Retry(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_content_is_delivered_and_so_is_an_empty_ok() {
        assert_eq!(read(204, "", SENT), Reply::Decided(Outcome::Delivered));
        assert_eq!(read(200, "", SENT), Reply::Decided(Outcome::Delivered));
        assert!(last_error(reply(200, "timeout")).contains("timeout"));
    }

    #[test]
    fn what_a_report_can_cause_is_split_with_its_reason() {
        // The texts of InfluxDB 1.6.7.
        let conflict = "partial write: field type conflict: input field \"x\" on measurement \"b\" is type string, \
                        already exists as type float dropped=2";
        assert_eq!(reason(reply(400, conflict)), "type_conflict");
        assert_eq!(reason(reply(400, "field type conflict")), "type_conflict");
        assert_eq!(reason(reply(500, "engine: field type conflict")), "type_conflict");
        let beyond = "partial write: points beyond retention policy dropped=1";
        assert_eq!(reason(reply(400, beyond)), "outside_retention");
        let long = "unable to parse 'a': max key length exceeded: 70004 > 65535";
        assert_eq!(reason(reply(400, long)), "unparsable");
        let many = "partial write: max-values-per-tag limit exceeded (100/100): measurement=\"m\" dropped=3";
        assert_eq!(reason(reply(400, many)), "too_many_series");
        assert_eq!(reason(reply(400, "invalid tag key dropped=1")), "refused");
        assert_eq!(reason(reply(413, "Request Entity Too Large")), "too_large");
    }

    #[test]
    fn when_every_line_was_dropped_each_is_rejected_at_once() {
        let Reply::Decided(Outcome::Each(verdicts)) =
            reply(400, "partial write: points beyond retention policy dropped=10")
        else {
            panic!("not decided one by one")
        };
        assert_eq!(verdicts.len(), 10);
        assert!(
            verdicts.iter().all(
                |verdict| matches!(verdict, Verdict::Rejected(why) if why.reason == "outside_retention")
            )
        );
    }

    #[test]
    fn what_an_operator_can_mend_waits_and_names_the_key() {
        assert!(last_error(reply(401, "authorization failed")).contains("`password`"));
        assert!(last_error(reply(403, "not authorized")).contains("WRITE"));
        assert!(last_error(reply(500, "retention policy not found: x")).contains("`retention_policy`"));
        assert!(last_error(read(405, "<html>", SENT)).contains("`connection_url`"));
        assert!(last_error(read(400, "<html>400 Bad Request</html>", SENT)).contains("`connection_url`"));
        assert!(last_error(reply(400, "database is required")).contains("database is required"));
    }

    #[test]
    fn a_server_in_trouble_is_unfit() {
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(reply(status, "timeout"), Reply::Unfit("timeout".into()));
        }
        assert_eq!(read(503, "", SENT), Reply::Unfit("status 503".into()));
    }

    #[test]
    fn a_missing_database_is_told_apart() {
        let text = "database not found: \"k\"";
        assert_eq!(reply(404, text), Reply::NoDatabase(text.into()));
        assert!(matches!(reply(404, "not found"), Reply::Decided(Outcome::Retry(_))));
    }

    #[test]
    fn a_quoted_line_does_not_flood_the_log() {
        let text = format!("unable to parse '{}': max key length exceeded", "é".repeat(60_000));
        let Reply::Decided(Outcome::Refused(rejection)) = reply(400, &text) else { panic!() };
        assert!(rejection.detail.len() < 400);
        assert!(rejection.detail.ends_with("max key length exceeded"));
    }
}
