//! What holds of the protocol for every input, not only for the examples.

use kaneda::protocol::{self, Error, Limits, lines, parse};
use kaneda::record::document::{self, Envelope};
use kaneda::record::{Dialect, Number, Value};
use proptest::prelude::*;

/// The documents of a line, or why there are none.
fn documents(line: &[u8], dialect: Dialect) -> Result<Vec<serde_json::Value>, Error> {
    let mut documents = Vec::new();
    parse(line, dialect, &Limits::default(), &mut |record| {
        let mut document = Vec::new();
        document::write(&record, &Envelope::default(), &mut document);
        documents.push(serde_json::from_slice(&document).expect("a document is JSON"));
    })?;
    Ok(documents)
}

/// Bytes that look like lines more often than random ones.
fn line_like() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::sample::select(vec![
            "|",
            ":",
            "|c",
            "|ms",
            "|g",
            "|s",
            "|k",
            "|e",
            "|custom",
            "|#",
            "|@0.5",
            "|T17",
            "|i:x",
            "|m:y",
            "|c:z",
            "_e{1,1}:",
            "_sc|",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            ",",
            "{\"name\":\"a\",\"metric\":\"c\",\"value\":",
            "\"tags\":",
            "\"id\":",
            "1",
            "-2.5",
            "+3",
            "1e5",
            "\n",
            "\r",
            "\\n",
            "\\u0041",
            "\\ud83d",
            "\u{feff}",
            "é",
            " ",
            "null",
            "true",
            "d:1",
            "p:low",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

/// A number of the protocol's grammar, as text.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "[+-]?[0-9]{1,25}(\\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?",
        "[+-]?\\.[0-9]{1,25}([eE][+-]?[0-9]{1,2})?",
        any::<i64>().prop_map(|int| int.to_string()),
        any::<u64>().prop_map(|int| int.to_string()),
        any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(|float| float.to_string()),
    ]
}

/// JSON-like text: valid values, sometimes with a byte changed.
fn json_like() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1e5",
            "1E-7",
            "01",
            "1.",
            "-",
            "tru",
            "\"\\n\"",
            "\"\\x\"",
            "\"\\u00e9\"",
            ""
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        any::<i32>().prop_map(|int| int.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| [b"\"", &bytes[..], b"\""].concat()),
    ];
    let space = prop::sample::select(vec!["", " ", "\t", "\r"]);
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space.clone()).prop_map(|(items, space)| {
                [b"[", space.as_bytes(), &items.join(format!(",{space}").as_bytes())[..], b"]"].concat()
            }),
            (prop::collection::vec(inner, 0..4), space.clone()).prop_map(|(items, space)| {
                let members: Vec<_> =
                    items.iter().map(|item| [b"\"k\"", space.as_bytes(), b":", &item[..]].concat()).collect();
                [b"{", &members.join(&b","[..])[..], space.as_bytes(), b"}"].concat()
            }),
        ]
    });
    (value, prop::option::of((any::<prop::sample::Index>(), any::<u8>()))).prop_map(|(mut bytes, change)| {
        if let (Some((index, byte)), false) = (change, bytes.is_empty()) {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_keep_the_promises_of_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        protocol::check(&bytes);
    }

    #[test]
    fn bytes_like_lines_keep_the_promises_of_the_parser(bytes in line_like()) {
        protocol::check(&bytes);
    }

    #[test]
    fn usual_lines_keep_the_promises_of_the_parser(
        line in "[a-z._{]{0,70}:[-+]?[0-9]{0,5}[.0-9]{0,5}\\|(c|g|ms|m|h|d|s|x)(\\|(@0?\\.[0-9]{1,8}|#[a-z:,]{0,90}|i:a)){0,3}\r?"
    ) {
        protocol::check(line.as_bytes());
    }

    #[test]
    fn lines_with_their_ends_are_the_stream(parts in prop::collection::vec("[a\r]{0,3}", 1..6)) {
        let stream = parts.join("\n");
        let found: Vec<_> = lines(stream.as_bytes()).map(|line| (line.offset, line.bytes.to_vec())).collect();
        let mut expected = Vec::new();
        let mut offset = 0;
        for (index, part) in parts.iter().enumerate() {
            if index + 1 < parts.len() || !part.is_empty() {
                expected.push((offset, part.strip_suffix('\r').unwrap_or(part).as_bytes().to_vec()));
            }
            offset += part.len() + 1;
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_report_reads_back_as_it_was_written(
        name in "[^:|\n\r{_]([^:|\n\r]{0,20}[^:|\n\r])?",
        value in any::<i64>(),
        tags in prop::collection::vec("[^,|\n\r]{1,8}", 0..5),
        rate in prop::option::of(0.0001f64..1.0),
        id in prop::option::of("[^|\n\r]{1,20}"),
        host in prop::option::of("[^|\n\r]{1,20}"),
        seconds in prop::option::of(1u32..),
    ) {
        let mut line = format!("{name}:{value}|g");
        let mut expected = serde_json::json!({"metric": "gauge", "name": name, "value": value});
        if let Some(id) = id {
            line += &format!("|i:{id}");
            expected["id"] = id.into();
        }
        if let Some(rate) = rate {
            line += &format!("|@{rate}");
            // Through text, as serde_json does not read every double exactly.
            expected["rate"] = serde_json::from_str(&rate.to_string()).unwrap();
        }
        if !tags.is_empty() {
            line += &format!("|#{}", tags.join(","));
            expected["tags"] = tags.into();
        }
        if let Some(seconds) = seconds {
            line += &format!("|T{seconds}");
            let time = jiff::Timestamp::from_second(i64::from(seconds)).unwrap();
            expected["timestamp"] = time.to_string().into();
        }
        if let Some(host) = host {
            line += &format!("|h:{host}");
            expected["host"] = host.into();
        }
        prop_assert_eq!(documents(line.as_bytes(), Dialect::Kaneda), Ok(vec![expected]));
    }

    #[test]
    fn a_packed_line_is_the_sum_of_its_values(
        numbers in prop::collection::vec(number(), 1..6),
        dialect in prop::sample::select(vec![Dialect::Kaneda, Dialect::Statsd]),
        rest in prop::sample::select(vec!["|g", "|ms|@0.5", "|c|h:x|T5", "|d|#a,b"]),
    ) {
        let packed = documents(format!("a:{}{rest}", numbers.join(":")).as_bytes(), dialect);
        let singles: Result<Vec<_>, _> =
            numbers.iter().map(|number| documents(format!("a:{number}{rest}").as_bytes(), dialect)).collect();
        match (packed, singles) {
            (Ok(packed), Ok(singles)) => prop_assert_eq!(packed, singles.concat()),
            (packed, singles) => prop_assert!(packed.is_err() && singles.is_err()),
        }
    }

    #[test]
    fn segments_are_the_sum_of_their_lines(
        segments in prop::collection::vec((number(), prop::sample::select(vec!["c", "g", "ms|@0.5", "h"])), 1..5),
    ) {
        let segments: Vec<_> = segments.iter().map(|(number, rest)| format!("{number}|{rest}")).collect();
        let line = documents(format!("a:{}|#x", segments.join(":")).as_bytes(), Dialect::Statsd);
        let singles: Result<Vec<_>, _> =
            segments.iter().map(|segment| documents(format!("a:{segment}|#x").as_bytes(), Dialect::Statsd)).collect();
        match (line, singles) {
            (Ok(line), Ok(singles)) => prop_assert_eq!(line, singles.concat()),
            (line, singles) => prop_assert!(line.is_err() && singles.is_err()),
        }
    }

    /// The standard library is the measure: exact for integers of 64 bits, else the nearest double if it is finite.
    #[test]
    fn a_number_is_exact_or_the_nearest_double(text in number()) {
        let mut found = None;
        let parsed = parse(format!("a:{text}|g").as_bytes(), Dialect::Kaneda, &Limits::default(), &mut |record| {
            if let Value::Number(number, _) = record.value {
                found = Some(number);
            }
        });
        let expected = if let Ok(int) = text.parse::<i64>() {
            Some(Number::Int(int))
        } else if let Ok(int) = text.parse::<u64>() {
            Some(Number::Uint(int))
        } else {
            text.parse::<f64>().ok().filter(|float| float.is_finite()).map(Number::Float)
        };
        prop_assert_eq!(found, expected);
        prop_assert_eq!(parsed.is_ok(), expected.is_some());
    }

    /// `serde_json` is the measure, on text in which what is not UTF-8 was replaced before. Not compared: how deep it
    /// goes (never deep here) and that numbers may not overflow (they do not here).
    #[test]
    fn json_is_valid_where_serde_json_says_so(json in json_like()) {
        prop_assume!(!json.contains(&b'\n'));
        let line = [b"{\"name\":\"a\",\"metric\":\"b\",\"value\":", &json[..], b"}"].concat();
        let replaced = String::from_utf8_lossy(&line);
        let theirs = serde_json::from_str::<Members>(&replaced);
        let ours = documents(&line, Dialect::Kaneda);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", replaced, ours, theirs.err());
        // Numbers have a law of their own; an object is unpacked.
        if let (Ok(documents), Ok(theirs)) = (&ours, &theirs)
            && !theirs.value.is_object()
            && !theirs.value.is_number()
        {
            prop_assert_eq!(&documents[0]["value"], &theirs.value);
        }
    }
}

/// The members of the line above. A changed byte may give it one more, or one twice, as it may to us.
#[derive(serde::Deserialize)]
struct Members {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "metric")]
    _metric: String,
    value: serde_json::Value,
}
