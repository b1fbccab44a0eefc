//! The tags of a point: what was sent, and `host`.

use std::borrow::Cow;

use super::escape;
use crate::record::{Host, Received, Tags, json};

/// Keys that no tag of a client may have: those of our own fields, where a query could not tell the two apart;
/// `host`, which is ours; and `time`, which the server refuses.
const RESERVED: [&str; 12] = [
    "host",
    "time",
    "name",
    "value",
    "text",
    "float",
    "rate",
    "delta",
    "id",
    "container_id",
    "external_data",
    "cardinality",
];

/// What a tag of a list says that is a word and not `key:value`.
const PRESENT: &str = "true";

/// A key and a value that differs from the empty text; both storable.
type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Appends `,key=value` for every tag and `host`, in the order of their keys.
///
/// The server has no tag without a value: an empty one is what it answers where a tag is missing. So those are
/// left out.
pub(super) fn write(received: &Received<'_>, out: &mut Vec<u8>) {
    let host = match received.host {
        Host::Sent(text) => text.decode(),
        Host::Named(name) => Cow::Borrowed(name),
        Host::Peer(address) => Cow::Owned(address.to_string()),
    };
    let host = escape::tag(host);
    if received.record.tags == Tags::None {
        return write_tag("host", &host, out);
    }
    let mut tags = distinct(&received.record.tags);
    tags.push((Cow::Borrowed("host"), host));
    tags.sort_unstable();
    for (key, value) in &tags {
        write_tag(key, value, out);
    }
}

fn write_tag(key: &str, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        out.push(b',');
        escape::write_key(key, out);
        out.push(b'=');
        escape::write_key(value, out);
    }
}

/// The tags under keys that differ. Values of a list that share a key are joined by commas, of an object the last
/// one stays. A key that is reserved gets `_` put behind it until it is free.
fn distinct<'a>(sent: &Tags<'a>) -> Vec<Tag<'a>> {
    let listed = sent.list().map(|tag| split(tag.decode()));
    let members = sent.members().map(|(key, value)| (key.decode(), text(value)));
    let mut tags: Vec<Tag<'a>> = Vec::new();
    for (key, value) in listed.chain(members) {
        let key = if key.is_empty() { Cow::Borrowed("_") } else { escape::tag(key) };
        let value = escape::tag(value);
        match tags.iter_mut().find(|(other, _)| *other == key) {
            None => tags.push((key, value)),
            Some((_, other)) if matches!(sent, Tags::Object(_)) => *other = value,
            Some((_, other)) if other.split(',').any(|part| part == value) => {}
            Some((_, other)) => {
                let joined = format!("{other},{value}");
                *other = escape::tag(Cow::Owned(joined));
            }
        }
    }
    for index in 0..tags.len() {
        while RESERVED.contains(&&*tags[index].0) || is_taken(&tags, index) {
            tags[index].0.to_mut().push('_');
        }
    }
    tags
}

/// Whether another tag has the key of the one at `index`.
fn is_taken(tags: &[Tag<'_>], index: usize) -> bool {
    tags.iter().enumerate().any(|(other, (key, _))| other != index && *key == tags[index].0)
}

/// A tag of a list: `key:value`, else a word that is there.
fn split(tag: Cow<'_, str>) -> Tag<'_> {
    match tag.find(':') {
        None | Some(0) => (tag, Cow::Borrowed(PRESENT)),
        Some(at) => match tag {
            Cow::Borrowed(tag) => (Cow::Borrowed(&tag[..at]), Cow::Borrowed(&tag[at + 1..])),
            Cow::Owned(tag) => (Cow::Owned(tag[..at].to_owned()), Cow::Owned(tag[at + 1..].to_owned())),
        },
    }
}

/// A member of an object of tags: a string says its text, null nothing, and all else its JSON.
fn text(value: &[u8]) -> Cow<'_, str> {
    match value {
        b"null" => Cow::Borrowed(""),
        [b'"', ..] => json::string(value).decode(),
        _ => String::from_utf8_lossy(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Identity, Kind, LineId, Number, OwnId, Record, Text, Value};

    fn written(tags: Tags<'_>, host: Host<'_>) -> String {
        let mut record = Record::new(Kind::Counter, Text::plain(b"n"), Value::Number(Number::Int(1), b"1"));
        record.tags = tags;
        let identity = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
        let received = Received { record, identity, time: 0, host, position: 0, source: "s" };
        let mut out = Vec::new();
        write(&received, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn listed(tags: &str) -> String {
        written(Tags::List(tags.as_bytes()), Host::Named(""))
    }

    fn object(tags: &str) -> String {
        written(Tags::Object(tags.as_bytes()), Host::Named(""))
    }

    #[test]
    fn the_host_is_a_tag_unless_it_is_empty() {
        assert_eq!(written(Tags::None, Host::Named("web 1")), r",host=web\ 1");
        assert_eq!(written(Tags::None, Host::Sent(Text::plain(b"db"))), ",host=db");
        assert_eq!(written(Tags::None, Host::Peer([127, 0, 0, 1].into())), ",host=127.0.0.1");
        assert_eq!(written(Tags::None, Host::Named("")), "");
    }

    #[test]
    fn tags_and_host_are_in_the_order_of_their_keys() {
        assert_eq!(written(Tags::List(b"z:1,a:2"), Host::Named("h")), ",a=2,host=h,z=1");
    }

    #[test]
    fn a_list_gives_pairs_and_words() {
        assert_eq!(
            listed("env:prod,canary,url:http://x,:odd"),
            ",:odd=true,canary=true,env=prod,url=http://x"
        );
        assert_eq!(listed("empty:,a:1"), ",a=1");
    }

    #[test]
    fn a_list_keeps_all_values_of_a_key_once() {
        assert_eq!(listed("a:1,a:2,a:1,a:3"), r",a=1\,2\,3");
    }

    #[test]
    fn an_object_gives_texts_and_json() {
        assert_eq!(
            object(r#"{"s":"\u0041 b","n":1.50,"b":true,"z":null,"l":[1, "x"],"":1}"#),
            r#",_=1,b=true,l=[1\,\ "x"],n=1.50,s=A\ b"#
        );
        assert_eq!(object(r#"{"a":1,"a":2}"#), ",a=2");
    }

    #[test]
    fn a_reserved_key_is_moved_until_it_is_free() {
        assert_eq!(listed("host:a,host_:b,time:c"), ",host_=b,host__=a,time_=c");
    }

    #[test]
    fn keys_that_differ_only_in_what_cannot_be_stored_are_one() {
        assert_eq!(object(r#"{"a\nb":1,"a b":2}"#), r",a\ b=2");
    }
}
