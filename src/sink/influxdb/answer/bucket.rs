//! What an answer of InfluxDB 2 to a write means, and of what speaks its protocol: pure.
//!
//! InfluxDB 2 answers `{"code":..,"message":..}`. Lines that it cannot read are 400 `unable to parse '<line>': <why>`,
//! and nothing is stored; points that do not fit are 422 `failure writing points to database: partial write: <why>
//! dropped=<n>`, and the rest is stored (`http/write_handler.go` and `http/points/points_parser.go` of its source).
//! Neither says which lines, so the batch is split, as for version 1.
//!
//! InfluxDB 3 answers 400 `{"error":"partial write of line protocol occurred","data":[{"line_number":..,
//! "error_message":..}]}`, for 100 lines at most (its documentation of `write_lp`). Those are rejected at once, and the
//! others sent again: to write a point twice changes nothing, so it need not be believed that they are stored.
//!
//! VictoriaMetrics answers 204 to whatever it can read as a body: it skips lines that it does not like.

use serde::Deserialize;

use super::{Reply, Sent, cut, partial, reason, refused, retry};
use crate::sink::{Outcome, Rejection, Verdict};

/// How texts begin that are 400 and not about points: they would put all the blame on the reports.
const OF_THE_REQUEST: [&str; 3] = ["invalid precision", "gzip", "unable to read data"];

/// What `status` and `body` say of a write.
pub(in super::super) fn read(status: u16, body: &str, sent: Sent) -> Reply {
    let said = serde_json::from_str::<Body>(body).ok();
    let text = said.as_ref().map_or_else(|| format!("status {status}"), |said| said.text.clone());
    let detail = cut(&text);
    match status {
        200 | 204 => Reply::Decided(Outcome::Delivered),
        413 => refused("too_large", detail),
        // Credentials and names can be mended while the reports wait; nothing in a report can cause these.
        401 => retry(format!("the server does not know this login: {detail}; mend `token`")),
        403 => retry(format!("the token may not write: {detail}; let it write to `bucket`")),
        404 if said.is_some() => retry(format!("{detail}; create it, or mend `bucket` and `org`")),
        _ if text.contains("field type conflict") => partial(&text, sent),
        400 if text.contains("orgID or org") => retry(format!("{detail}: set `org`")),
        // It has looked at login, organisation, bucket and rights before it says so.
        400 if sent.records == 0 && text.contains("writing requires points") => {
            Reply::Decided(Outcome::Delivered)
        }
        400 | 422 => match said {
            Some(said) if !OF_THE_REQUEST.iter().any(|begin| text.starts_with(begin)) => {
                named(&said.lines, sent).unwrap_or_else(|| partial(&text, sent))
            }
            _ => foreign(&detail),
        },
        429 | 500.. => Reply::Unfit(detail),
        _ => foreign(&detail),
    }
}

/// Not what a server answers of points: a proxy before it, or another server.
fn foreign(detail: &str) -> Reply {
    retry(format!("not an answer of InfluxDB 2 to a write: {detail}; mend `connection_url`"))
}

/// Rejects the lines that are named and sends the others again. None: no line is, or it cannot be told which records
/// they are.
fn named(lines: &[Line], sent: Sent) -> Option<Reply> {
    if lines.is_empty() || sent.lines != sent.records {
        return None;
    }
    let again = "sent again without the lines that were refused";
    let mut verdicts = vec![Verdict::Retry(again.to_owned()); sent.records];
    for line in lines {
        let text = &line.error_message;
        let rejection = Rejection { reason: reason(text), detail: cut(text) };
        *verdicts.get_mut(line.line_number.checked_sub(1)?)? = Verdict::Rejected(rejection);
    }
    Some(Reply::Decided(Outcome::Each(verdicts)))
}

/// What both versions say.
#[derive(Deserialize)]
struct Body {
    #[serde(alias = "message", alias = "error")]
    text: String,
    /// Version 3; an object and no list where nothing is stored, which is as good as none.
    #[serde(default, rename = "data", deserialize_with = "list_or_none")]
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    /// From 1.
    line_number: usize,
    error_message: String,
}

fn list_or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Line>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Data {
        List(Vec<Line>),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Data::deserialize(deserializer)? {
        Data::List(lines) => lines,
        Data::Other(_) => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SENT: Sent = Sent { records: 4, lines: 4 };

    fn reply(status: u16, code: &str, message: &str) -> Reply {
        read(status, &json!({ "code": code, "message": message }).to_string(), SENT)
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
    fn no_content_is_delivered() {
        assert_eq!(read(204, "", SENT), Reply::Decided(Outcome::Delivered));
        assert_eq!(read(200, "", SENT), Reply::Decided(Outcome::Delivered));
    }

    #[test]
    fn what_a_report_can_cause_is_split_with_its_reason() {
        let partial = |why: &str| {
            let text = format!("failure writing points to database: partial write: {why}");
            reason(reply(422, "unprocessable entity", &text))
        };
        let conflict = "field type conflict: input field \"v\" on measurement \"m\" is type string, already exists as \
                        type float dropped=1";
        assert_eq!(partial(conflict), "type_conflict");
        assert_eq!(partial("points beyond retention policy dropped=1"), "outside_retention");
        let outside = "dropped 1 points outside retention policy of duration 1h0m0s - oldest point m at \
                       1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound dropped=1 for \
                       database: 0a for retention policy: autogen";
        assert_eq!(partial(outside), "outside_retention");
        assert_eq!(partial("invalid field name: input field \"time\" dropped=1"), "refused");
        let long = "unable to parse 'gzip': max key length exceeded: 70004 > 65535";
        assert_eq!(reason(reply(400, "invalid", long)), "unparsable");
        assert_eq!(reason(reply(413, "request too large", "points batch is too large")), "too_large");
        let late = "unexpected error writing points to database: engine: field type conflict";
        assert_eq!(reason(reply(500, "internal error", late)), "type_conflict");
    }

    #[test]
    fn when_every_line_was_dropped_each_is_rejected_at_once() {
        let text = "failure writing points to database: partial write: dropped 4 points outside retention policy of \
                    duration 1h0m0s dropped=4 for database: 0a for retention policy: autogen";
        let Reply::Decided(Outcome::Each(verdicts)) = reply(422, "unprocessable entity", text) else {
            panic!()
        };
        assert_eq!(verdicts.len(), 4);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Rejected(_))));
    }

    #[test]
    fn lines_that_are_named_are_rejected_and_the_others_sent_again() {
        let body = |numbers: &[usize]| {
            let line = |number: &usize| {
                json!({"original_line": "m v=x", "line_number": number, "error_message":
                "invalid column type for column 'v', expected iox::column_type::field::float"})
            };
            let data: Vec<_> = numbers.iter().map(line).collect();
            json!({"error": "partial write of line protocol occurred", "data": data}).to_string()
        };
        let Reply::Decided(Outcome::Each(verdicts)) = read(400, &body(&[2, 4]), SENT) else { panic!() };
        let rejected: Vec<Option<&str>> = verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Rejected(rejection) => Some(rejection.reason),
                Verdict::Retry(_) => None,
                Verdict::Delivered => panic!("nobody said so"),
            })
            .collect();
        assert_eq!(rejected, [None, Some("type_conflict"), None, Some("type_conflict")]);
        // A line feed in a text: the numbers may count it or not.
        assert_eq!(reason(read(400, &body(&[2]), Sent { records: 4, lines: 5 })), "refused");
        assert_eq!(reason(read(400, &body(&[5]), SENT)), "refused");
        assert_eq!(reason(read(400, &body(&[0]), SENT)), "refused");
        // Nothing is stored: an object in place of the list.
        let none = json!({"error": "parsing failed for write_lp endpoint", "data": {"line_number": 1}});
        assert_eq!(reason(read(400, &none.to_string(), SENT)), "refused");
    }

    #[test]
    fn what_an_operator_can_mend_waits_and_names_the_key() {
        assert!(last_error(reply(401, "unauthorized", "unauthorized access")).contains("`token`"));
        assert!(
            last_error(reply(403, "forbidden", "insufficient permissions for write")).contains("`bucket`")
        );
        assert!(last_error(reply(404, "not found", "bucket \"b\" not found")).contains("mend `bucket`"));
        assert!(last_error(reply(400, "invalid", "Please provide either orgID or org")).contains("`org`"));
        assert!(
            last_error(reply(400, "invalid", "invalid precision; valid are ns")).contains("`connection_url`")
        );
        let gzip = "gzipped HTTP body contains an invalid header";
        assert!(last_error(reply(400, "invalid", gzip)).contains("`connection_url`"));
        assert!(last_error(read(404, "404 page not found", SENT)).contains("`connection_url`"));
        assert!(last_error(read(400, "remoteAddr: x; cannot read", SENT)).contains("`connection_url`"));
    }

    #[test]
    fn a_server_in_trouble_is_unfit() {
        for status in [429, 500, 503] {
            assert_eq!(reply(status, "unavailable", "later"), Reply::Unfit("later".into()));
        }
    }

    #[test]
    fn a_write_of_nothing_is_well_when_only_points_are_missed() {
        let body = json!({"code": "invalid", "message": "writing requires points"}).to_string();
        let nothing = Sent { records: 0, lines: 0 };
        assert_eq!(read(400, &body, nothing), Reply::Decided(Outcome::Delivered));
    }
}
