//! What holds for any bytes at all: whatever a report says, it is two lines, and the document says the same.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::*;
use crate::record::{Kind, LineId, OwnId};
use crate::sink::elasticsearch::index::Window;

/// Encodes a record with `identity`, and reads both lines back.
fn read_back(record: Record<'_>, identity: Identity<'_>, moved: &Moved) -> (Json, Map<String, Json>) {
    let layout = Layout { index: Index::Dated("kaneda".into(), Window::default()), app_name: None };
    let mut writer = Writer { layout: &layout, namer: Namer::default(), scratch: Vec::new() };
    let host = record.host.map_or(Host::Named("h"), Host::Sent);
    let received = Received { record, identity, time: 1, host, position: 0, source: "s" };
    let mut out = Vec::new();
    writer.action(&received, &mut out);
    writer.document(&received, moved, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let lines: Vec<&str> = text.split('\n').collect();
    let [action, document, ""] = lines[..] else { panic!("{text:?} is not two lines") };
    (serde_json::from_str(action).expect("JSON"), serde_json::from_str(document).expect("JSON"))
}

fn lossy(bytes: &[u8]) -> Json {
    String::from_utf8_lossy(bytes).into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_out_of_their_place(
        kind in ".{1,9}", name: Vec<u8>, text: Vec<u8>, tags: Vec<u8>, host: Vec<u8>, id in "\\PC{1,9}",
    ) {
        let mut record =
            Record::new(Kind::Custom(Text::plain(kind.as_bytes())), Text::plain(&name), Value::Text(Text::plain(&text)));
        record.tags = Tags::List(&tags);
        record.host = Some(Text::plain(&host));
        let identity = Identity::Client(Text::plain(id.as_bytes()));
        let (action, document) = read_back(record, identity, &Moved::Nothing);
        prop_assert_eq!(&action["index"]["_id"], &Json::from(id));
        prop_assert_eq!(&document["metric"], &Json::from(kind));
        prop_assert_eq!(&document["name"], &lossy(&name));
        prop_assert_eq!((&document["value"], &document["text"]), (&lossy(&text), &lossy(&text)));
        prop_assert_eq!(&document["host"], &lossy(&host));
        let sent = tags.split(|byte| *byte == b',').filter(|tag| !tag.is_empty()).map(lossy);
        prop_assert_eq!(&document["tags"], &Json::from_iter(sent));
        prop_assert_eq!(document.len(), 7);
    }

    #[test]
    fn every_member_is_in_the_document_or_in_extra(
        members in proptest::collection::btree_map("[a.@_ \n\"\\\\é]{0,4}|name|_source|extra|labels", "\\PC{0,9}", 0..9),
        moves_all: bool,
    ) {
        let object = serde_json::to_string(&members).unwrap();
        let mut record = Record::new(Kind::Gauge, Text::plain(b"n"), Value::Object(object.as_bytes()));
        record.tags = if members.is_empty() { Tags::None } else { Tags::Object(object.as_bytes()) };
        let own = Identity::Own(OwnId { line: LineId::Origin("o"), index: 0 });
        let moved = if moves_all { Moved::Everything } else { Moved::Nothing };
        let (_, mut document) = read_back(record, own, &moved);
        let extra = document.remove("extra").map_or_else(Map::new, |extra| {
            serde_json::from_str(extra.as_str().unwrap()).unwrap()
        });
        let labels = if moves_all { extra.get("labels") } else { document.get("labels") };
        prop_assert_eq!(labels.is_some(), !members.is_empty());
        for name in ["@timestamp", "metric", "name", "tags", "labels", "host"] {
            document.remove(name);
        }
        let mut stored: Vec<&str> = document.values().chain(extra.iter().filter(|(name, _)| *name != "labels")
            .map(|(_, value)| value)).filter_map(Json::as_str).collect();
        let mut sent: Vec<&str> = members.values().map(String::as_str).collect();
        stored.sort_unstable();
        sent.sort_unstable();
        prop_assert_eq!(stored, sent);
        prop_assert!(document.keys().all(|name| member::is_indexable(name)));
    }
}
