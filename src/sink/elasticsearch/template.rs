//! The index template: how the store is to index documents of ours.
//!
//! It is put at the first contact. One that somebody else made is never overwritten, nor shadowed: ours has the lowest
//! priority there is, and where another one or an old one (`_template`) matches already, ours stays away.

use bytes::Bytes;
use elasticsearch::http::Method;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::answer;
use super::index::Index;
use super::member::NAME_BYTES;
use super::send::{Client, Trouble};

/// Goes up by one with each change of [`body`]. An older one of ours is replaced at the next start.
const VERSION: u64 = 1;
/// Who made it, in its `_meta`.
const MANAGED_BY: &str = "kaneda";
/// The longest text that is indexed as one word. Lucene takes 32 766 bytes, and a character has up to four.
const KEYWORD_CHARS: u64 = 8191;
/// How many fields an index may have; members beyond them go to `extra`.
const FIELDS: u64 = 1000;

/// The template's name: that of the index, with `-stream` for a data stream.
pub(super) fn name(index: &Index) -> String {
    match index {
        Index::Dated(name, _) => name.clone(),
        Index::Stream(name) => format!("{name}-stream"),
    }
}

/// What the template says.
pub(super) fn body(index: &Index) -> Value {
    let keyword = || json!({"type": "keyword", "ignore_above": KEYWORD_CHARS});
    let mut body = json!({
        // Two dots are in every date, and keep it off other indices whose names begin alike.
        "index_patterns": [match index {
            Index::Dated(name, _) => format!("{name}-*.*.*"),
            Index::Stream(name) => name.clone(),
        }],
        "priority": 0,
        "version": VERSION,
        "_meta": {"managed_by": MANAGED_BY},
        "template": {
            "settings": {
                "index.mapping.ignore_malformed": true,
                "index.mapping.total_fields.limit": FIELDS,
                "index.mapping.field_name_length.limit": NAME_BYTES,
            },
            "mappings": {
                "date_detection": false,
                "numeric_detection": false,
                // A member is a double or a word, whatever the first of its name is: fewer can conflict.
                "dynamic_templates": [
                    {"integers": {"match_mapping_type": "long", "mapping": {"type": "double"}}},
                    {"doubles": {"match_mapping_type": "double", "mapping": {"type": "double"}}},
                    {"texts": {"match_mapping_type": "string", "mapping": keyword()}},
                ],
                "properties": {
                    "@timestamp": {"type": "date"},
                    "metric": keyword(),
                    "name": keyword(),
                    "host": keyword(),
                    "app_name": keyword(),
                    "tags": keyword(),
                    // Without `coerce`: the text "12" is no number to sum up.
                    "value": {"type": "double", "ignore_malformed": true, "coerce": false},
                    "text": {"type": "text", "fields": {"keyword": keyword()}},
                    "labels": {"type": "object", "enabled": false},
                    "extra": {"type": "text"},
                    "rate": {"type": "double"},
                    "delta": {"type": "boolean"},
                    "message": {"type": "text"},
                },
            },
        },
    });
    for name in [
        "container_id",
        "external_data",
        "cardinality",
        "priority",
        "alert_type",
        "aggregation_key",
        "source_type_name",
    ] {
        body["template"]["mappings"]["properties"][name] = keyword();
    }
    if let Index::Stream(_) = index {
        body["data_stream"] = json!({});
    }
    body
}

/// Puts the template, unless it is there or somebody else's is. `sink` is for the log.
pub(super) async fn put(client: &Client, index: &Index, sink: &str) -> Result<(), Trouble> {
    let name = name(index);
    let path = format!("/_index_template/{}", encoded(&name));
    match stored(client, &path).await? {
        Stored::Ours { version } if version >= VERSION => return Ok(()),
        Stored::Somebodys => {
            info!(sink, template = name, "the index template is not ours and stays as it is");
            return Ok(());
        }
        Stored::Ours { .. } => {}
        Stored::None => {
            if let Some(other) = legacy(client, &index.today()).await? {
                info!(
                    sink,
                    template = other,
                    "an index template of the old kind matches already and is left in force"
                );
                return Ok(());
            }
        }
    }
    let body = Bytes::from(body(index).to_string());
    let (status, answer) = client.ask(Method::Put, &path, Some(body)).await?;
    match status {
        200 => {
            info!(sink, template = name, version = VERSION, "the index template is put");
            Ok(())
        }
        // Another template of the same priority has a pattern that matches ours.
        400 if answer::whole(&answer).is_some_and(|error| error.contains("priority")) => {
            let error = answer::whole(&answer).unwrap_or_default();
            warn!(sink, error, "another index template matches our indices already and is left in force");
            Ok(())
        }
        _ => Err(refused(&format!("the index template {name} cannot be put"), status, &answer)),
    }
}

/// Makes the data stream if it is missing.
pub(super) async fn make_stream(client: &Client, name: &str) -> Result<(), Trouble> {
    let path = format!("/_data_stream/{}", encoded(name));
    let (status, answer) = client.ask(Method::Put, &path, None).await?;
    match status {
        200 => Ok(()),
        400 if answer::whole(&answer).is_some_and(|error| error.starts_with("resource_already_exists")) => {
            Ok(())
        }
        _ => Err(refused(&format!("the data stream {name} cannot be made"), status, &answer)),
    }
}

/// Whether an index that exists, or the one of today as it would be made, writes its log to disk later than it
/// answers. None: the store does not let us know.
pub(super) async fn is_async(client: &Client, index: &Index) -> Result<Option<bool>, Trouble> {
    const SETTING: &str = "index.translog.durability";
    let pattern = match index {
        Index::Dated(name, _) => format!("{name}-*.*.*"),
        Index::Stream(name) => name.clone(),
    };
    let existing = format!(
        "/{}/_settings/{SETTING}?flat_settings=true&ignore_unavailable=true&allow_no_indices=true",
        encoded(&pattern)
    );
    let future = format!("/_index_template/_simulate_index/{}", encoded(&index.today()));
    let mut is_known = false;
    for (method, path) in [(Method::Get, existing), (Method::Post, future)] {
        let (status, answer) = client.ask(method, &path, None).await?;
        if let (200, Ok(answer)) = (status, serde_json::from_slice::<Value>(&answer)) {
            is_known = true;
            let flat = answer.as_object().into_iter().flatten().map(|(_, index)| &index["settings"][SETTING]);
            let simulated = &answer["template"]["settings"]["index"]["translog"]["durability"];
            if flat.chain([simulated]).any(|value| value == "async") {
                return Ok(Some(true));
            }
        }
    }
    Ok(is_known.then_some(false))
}

/// Whether the templates can be read, which is needed before ours is put.
pub(super) async fn try_read(client: &Client, index: &Index) -> Result<(), Trouble> {
    stored(client, &format!("/_index_template/{}", encoded(&name(index)))).await.map(drop)
}

enum Stored {
    None,
    Ours { version: u64 },
    Somebodys,
}

async fn stored(client: &Client, path: &str) -> Result<Stored, Trouble> {
    let (status, answer) = client.ask(Method::Get, path, None).await?;
    match (status, serde_json::from_slice::<Value>(&answer)) {
        (404, _) => Ok(Stored::None),
        (200, Ok(answer)) => {
            let template = &answer["index_templates"][0]["index_template"];
            Ok(match template["_meta"]["managed_by"].as_str() {
                Some(MANAGED_BY) => Stored::Ours { version: template["version"].as_u64().unwrap_or(0) },
                _ => Stored::Somebodys,
            })
        }
        _ => Err(refused("the index templates cannot be read", status, &answer)),
    }
}

/// The name of a template of the old kind that matches `index`.
async fn legacy(client: &Client, index: &str) -> Result<Option<String>, Trouble> {
    let (status, answer) = client.ask(Method::Get, "/_template?filter_path=*.index_patterns", None).await?;
    let (200, Ok(answer)) = (status, serde_json::from_slice::<Value>(&answer)) else { return Ok(None) };
    let matching = answer.as_object().into_iter().flatten().find(|(_, template)| {
        let patterns = template["index_patterns"].as_array().into_iter().flatten().filter_map(Value::as_str);
        patterns.into_iter().any(|pattern| matches(pattern, index))
    });
    Ok(matching.map(|(name, _)| name.clone()))
}

/// Whether `text` is what `pattern` says, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| matches(rest, &text[at..]))
        }),
    }
}

fn refused(what: &str, status: u16, answer: &[u8]) -> Trouble {
    let why = answer::whole(answer).unwrap_or_else(|| format!("status {status}"));
    Trouble(match status {
        401 => format!("{what}: {why}; mend `user` and `password`, `api_key` or `token`"),
        403 => format!(
            "{what}: {why}; give the login the right to, or put it yourself and set `template = false`"
        ),
        _ => format!("{what}: {why}"),
    })
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::index::Window;
    use super::*;

    #[test]
    fn a_pattern_matches_with_stars_for_any_text() {
        for (pattern, text) in [("a", "a"), ("*", ""), ("a-*", "a-b"), ("*-*.*", "a-b.c"), ("a*a", "aba")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a-*", "a"), ("a*a", "a"), ("*-x", "a-y")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_template_is_for_our_indices_alone_and_gives_way_to_others() {
        let dated = Index::Dated("kaneda".into(), Window::default());
        let body = body(&dated);
        assert_eq!(body["index_patterns"], json!(["kaneda-*.*.*"]));
        assert!(matches("kaneda-*.*.*", &dated.today()) && !matches("kaneda-*.*.*", "kaneda-events"));
        assert_eq!((&body["priority"], &body["version"]), (&json!(0), &json!(VERSION)));
        assert!(body["data_stream"].is_null());
        let stream = super::body(&Index::Stream("kaneda".into()));
        assert_eq!((&stream["index_patterns"], &stream["data_stream"]), (&json!(["kaneda"]), &json!({})));
    }
}
