//! What the answer to a `_bulk` request means: pure.
//!
//! The answer has an item for each document, in order, with a status of its own. It is read item by item, in place:
//! what is stored leaves nothing behind, and no text is copied but that of an error.
//! <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::sink::Rejection;

/// How much of the store's text goes into logs and dead letters. It may quote a value.
const DETAIL_BYTES: usize = 300;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// One for each document, in order.
    Each(Vec<Fate>),
    /// Nothing is stored, and a person has to mend something.
    Retry(String),
    /// This server cannot take it now: another one might.
    Unfit(String),
    /// Nothing is stored: the request as a whole, or one of its documents, is to blame.
    Refused(Rejection),
}

/// What came of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is stored, or was already.
    Stored,
    /// Not now.
    Later(String),
    /// Not now: the index is not there, and the store makes none.
    Missing(String),
    /// Never as it is. `fields` are all that the store's text has in brackets, the fields that it blames among them.
    Refused {
        /// Why.
        rejection: Rejection,
        /// In no order.
        fields: Vec<String>,
    },
}

/// What `status` and `body` say of a request with so many documents.
pub(super) fn read(status: u16, body: &[u8], documents: usize) -> Reply {
    if status == 200 {
        return match serde_json::from_slice::<Answer>(body) {
            Ok(answer) if answer.items.0.len() == documents => Reply::Each(answer.items.0),
            Ok(answer) => Reply::Unfit(format!("{} answers for {documents} documents", answer.items.0.len())),
            Err(error) => Reply::Unfit(format!("not an answer to _bulk: {error}; mend `connection_url`")),
        };
    }
    let error = whole(body);
    let detail = error.clone().unwrap_or_else(|| format!("status {status}"));
    match status {
        413 => Reply::Refused(Rejection { reason: "too_large", detail }),
        // Rights can be mended while the reports wait; nothing in a report can cause these.
        401 => Reply::Retry(format!(
            "the server does not know this login: {detail}; mend `user` and `password`, `api_key` or `token`"
        )),
        403 => Reply::Retry(format!("{detail}; give the login the right to write")),
        // Only the store itself answers so; a proxy before it would put all the blame on the reports.
        400 if error.is_some() => Reply::Refused(Rejection { reason: "refused", detail }),
        429 | 500.. => Reply::Unfit(detail),
        300..400 => Reply::Retry(format!("the server sends us elsewhere ({detail}); mend `connection_url`")),
        _ => Reply::Retry(format!("not an answer to _bulk: {detail}; mend `connection_url`")),
    }
}

/// What the answer to one document that was to be stored nowhere says: whether it could have been stored elsewhere.
pub(super) fn may_write(status: u16, body: &[u8]) -> Result<(), String> {
    match read(status, body, 1) {
        Reply::Each(fates) => match &fates[..] {
            [Fate::Missing(_) | Fate::Stored] => Ok(()),
            [Fate::Later(why)] => Err(why.clone()),
            _ => Err("not an answer to _bulk; mend `connection_url`".to_owned()),
        },
        Reply::Retry(why) | Reply::Unfit(why) | Reply::Refused(Rejection { detail: why, .. }) => Err(why),
    }
}

/// The error that a whole request is answered with, if the store itself says one: `type: reason`.
pub(super) fn whole(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        error: Error<'a>,
    }
    serde_json::from_slice::<Body>(body).ok().map(|body| body.error.detail())
}

#[derive(Deserialize)]
struct Answer {
    items: Items,
}

/// The fates of the items, each read and judged before the next.
struct Items(Vec<Fate>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Judge;
        impl<'de> Visitor<'de> for Judge {
            type Value = Vec<Fate>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut fates = Vec::new();
                while let Some(item) = items.next_element::<Item<'de>>()? {
                    fates.push(item.fate());
                }
                Ok(fates)
            }
        }
        deserializer.deserialize_seq(Judge).map(Items)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Item<'a> {
    #[serde(borrow)]
    Create(Done<'a>),
    #[serde(borrow)]
    Index(Done<'a>),
}

#[derive(Deserialize)]
struct Done<'a> {
    status: u16,
    #[serde(borrow, default)]
    error: Option<Error<'a>>,
}

#[derive(Deserialize)]
struct Error<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    caused_by: Option<Box<Error<'a>>>,
}

impl Item<'_> {
    fn fate(self) -> Fate {
        let (creates, done) = match self {
            Item::Create(done) => (true, done),
            Item::Index(done) => (false, done),
        };
        if let 200..300 = done.status {
            return Fate::Stored;
        }
        let Some(error) = done.error else { return Fate::Later(format!("status {}", done.status)) };
        match (done.status, &*error.kind) {
            // Somebody has created this very id before: we have, and the answer was lost.
            (409, "version_conflict_engine_exception") if creates => Fate::Stored,
            // A person can mend these.
            (
                400,
                "index_closed_exception" | "invalid_index_name_exception" | "invalid_alias_name_exception",
            ) => Fate::Later(error.detail()),
            (400, "illegal_argument_exception") if error.is_of_the_index() => {
                Fate::Later(format!("{}; mend `index_name` or `data_stream`", error.detail()))
            }
            (400, _) => {
                let rejection = Rejection { reason: error.reason_word(), detail: error.detail() };
                Fate::Refused { rejection, fields: error.fields() }
            }
            (404, _) => Fate::Missing(format!("{}; make it, or let the store make indices", error.detail())),
            (403, _) => Fate::Later(format!("{}; give the login the right to write", error.detail())),
            _ => Fate::Later(error.detail()),
        }
    }
}

impl Error<'_> {
    /// From the outermost error to the innermost.
    fn causes(&self) -> impl Iterator<Item = &Error<'_>> {
        std::iter::successors(Some(self), |error| error.caused_by.as_deref())
    }

    /// What it says, and what the innermost cause says, which is often all there is.
    fn detail(&self) -> String {
        let said = |error: &Error<'_>| format!("{}: {}", error.kind, error.reason.as_deref().unwrap_or(""));
        let mut text = cut(&said(self));
        if let Some(inner) = self.causes().skip(1).last() {
            text.push_str(" <- ");
            text.push_str(&cut(&said(inner)));
        }
        text
    }

    /// The label of the counter.
    fn reason_word(&self) -> &'static str {
        let is = |kinds: &[&str]| self.causes().any(|error| kinds.contains(&&*error.kind));
        if is(&["strict_dynamic_mapping_exception"]) {
            "strict_mapping"
        } else if is(&["mapper_parsing_exception", "document_parsing_exception", "mapper_exception"]) {
            "mapping"
        } else {
            "refused"
        }
    }

    /// Whether the target is to blame, which is no plain index: a data stream, or an alias of several indices.
    fn is_of_the_index(&self) -> bool {
        const TEXTS: [&str; 2] =
            ["only write ops with an op_type of create are allowed", "no write index is defined"];
        self.reason.as_deref().is_some_and(|reason| TEXTS.iter().any(|text| reason.contains(text)))
    }

    /// All that stands in brackets.
    fn fields(&self) -> Vec<String> {
        let mut fields = Vec::new();
        for reason in self.causes().filter_map(|error| error.reason.as_deref()) {
            for part in reason.split('[').skip(1) {
                if let Some((inside, _)) = part.split_once(']') {
                    fields.push(inside.trim_matches('\'').to_owned());
                }
            }
        }
        fields
    }
}

/// Beginning and end of a long text: the reason stands at either. On one line.
fn cut(text: &str) -> String {
    let text = text.replace(['\n', '\r'], " ");
    if text.len() <= DETAIL_BYTES {
        return text;
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

    fn items(items: &str) -> Reply {
        let count = items.matches("\"status\"").count();
        read(200, format!(r#"{{"errors":true,"items":[{items}]}}"#).as_bytes(), count)
    }

    fn fate(item: &str) -> Fate {
        match items(item) {
            Reply::Each(mut fates) if fates.len() == 1 => fates.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn error(op: &str, status: u16, error: &str) -> Fate {
        fate(&format!(r#"{{"{op}":{{"status":{status},"error":{error}}}}}"#))
    }

    #[test]
    fn each_document_has_a_fate_of_its_own() {
        let reply = items(
            r#"{"create":{"status":201}},{"index":{"status":200}},
               {"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}}}"#,
        );
        let busy = Fate::Later("es_rejected_execution_exception: busy".into());
        assert_eq!(reply, Reply::Each(vec![Fate::Stored, Fate::Stored, busy]));
    }

    #[test]
    fn an_id_that_is_there_already_is_stored_only_where_it_was_to_be_created() {
        let conflict = r#"{"type":"version_conflict_engine_exception","reason":"[1]: version conflict"}"#;
        assert_eq!(error("create", 409, conflict), Fate::Stored);
        assert!(matches!(error("index", 409, conflict), Fate::Later(_)));
        assert!(matches!(error("create", 409, r#"{"type":"other","reason":null}"#), Fate::Later(_)));
    }

    #[test]
    fn what_passes_or_can_be_mended_is_sent_again() {
        for (status, kind) in [
            (403, "security_exception"),
            (404, "index_not_found_exception"),
            (429, "circuit_breaking_exception"),
            (500, "mapper_exception"),
            (503, "unavailable_shards_exception"),
            (400, "index_closed_exception"),
        ] {
            let fate = error("create", status, &format!(r#"{{"type":"{kind}","reason":"r"}}"#));
            assert!(matches!(&fate, Fate::Later(why) | Fate::Missing(why) if why.contains(kind)), "{fate:?}");
        }
        let stream = r#"{"type":"illegal_argument_exception",
            "reason":"only write ops with an op_type of create are allowed in data streams"}"#;
        assert!(matches!(error("index", 400, stream), Fate::Later(why) if why.contains("`data_stream`")));
    }

    #[test]
    fn a_refusal_has_the_stores_reason_and_the_fields_it_blames() {
        // The texts of 7.17 and 8.17.
        let inner = r#"{"type":"mapper_parsing_exception","reason":"failed to parse","caused_by":
            {"type":"illegal_argument_exception","reason":"object field starting or ending with a [.] makes object resolution ambiguous: [a..b]"}}"#;
        let Fate::Refused { rejection, fields } = error("create", 400, inner) else { panic!() };
        assert_eq!(rejection.reason, "mapping");
        assert!(
            rejection.detail.starts_with("mapper_parsing_exception: failed to parse <- illegal_argument")
        );
        assert_eq!(fields, [".", "a..b"]);
        let outer = r#"{"type":"document_parsing_exception",
            "reason":"[1:17] failed to parse field [took] of type [double] in document with id '16'"}"#;
        let Fate::Refused { fields, .. } = error("create", 400, outer) else { panic!() };
        assert_eq!(fields, ["1:17", "took", "double"]);
        let strict = r#"{"type":"strict_dynamic_mapping_exception","reason":"mapping set to strict"}"#;
        assert!(
            matches!(error("index", 400, strict), Fate::Refused { rejection, .. } if rejection.reason == "strict_mapping")
        );
    }

    #[test]
    fn an_answer_that_is_not_whole_decides_nothing() {
        for body in ["", "<html>", r#"{"errors":false,"items":[{"create":{"status":201}}"#, r#"{"items":[]}"#]
        {
            assert!(matches!(read(200, body.as_bytes(), 1), Reply::Unfit(_)), "{body}");
        }
    }

    #[test]
    fn a_request_that_is_refused_as_a_whole_is_split_only_if_the_store_says_so() {
        let error =
            br#"{"error":{"type":"illegal_argument_exception","reason":"Malformed action"},"status":400}"#;
        assert!(
            matches!(read(400, error, 5), Reply::Refused(why) if why.detail.contains("Malformed action"))
        );
        assert!(matches!(read(413, b"", 5), Reply::Refused(why) if why.reason == "too_large"));
        assert!(matches!(read(400, b"<html>", 5), Reply::Retry(why) if why.contains("`connection_url`")));
    }

    #[test]
    fn what_an_operator_can_mend_waits_and_names_the_key() {
        assert!(matches!(read(401, b"", 1), Reply::Retry(why) if why.contains("`password`")));
        assert!(matches!(read(403, b"", 1), Reply::Retry(why) if why.contains("the right to write")));
        assert!(matches!(read(302, b"", 1), Reply::Retry(why) if why.contains("`connection_url`")));
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(read(status, b"", 1), Reply::Unfit(_)));
        }
    }

    #[test]
    fn a_document_that_may_be_written_is_only_missing_its_alias() {
        let item = |status: u16, kind: &str| {
            let text = format!(
                r#"{{"items":[{{"create":{{"status":{status},"error":{{"type":"{kind}","reason":"r"}}}}}}]}}"#
            );
            may_write(200, text.as_bytes())
        };
        assert_eq!(item(404, "index_not_found_exception"), Ok(()));
        assert!(item(403, "security_exception").unwrap_err().contains("the right to write"));
        assert!(may_write(401, b"").unwrap_err().contains("`password`"));
    }

    #[test]
    fn a_quoted_value_does_not_flood_the_log() {
        let text = cut(&format!("failed to parse '{}'\n in the end", "é".repeat(60_000)));
        assert!(text.len() < 400 && text.ends_with("in the end") && !text.contains('\n'));
    }
}
