//! Recorded messages of every release of Celery, and hostile ones.

use std::io::Write;

use bzip2::write::BzEncoder;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

use super::*;

const LIMITS: Limits = Limits { max_message: 1 << 16 };

/// What the recorded messages say, by the name of the report; what is not here is a time that was measured.
fn expected(name: &str, release: &str) -> Option<&'static str> {
    Some(match (name, release) {
        ("users.notifications", _) => {
            r#""gauge","value":13,"tags":["new_message","follow_request"],"id_":null}"#
        }
        ("user.profile.views", _) => r#""counter","value":1,"tags":null,"id_":null}"#,
        ("hotel.occupation", _) => r#""counter","value":-1,"tags":null,"id_":null}"#,
        ("hotel.availability.request_time", _) => {
            r#""timing","value":4.25,"tags":{"host":"web1","zone":"eu"},"id_":null}"#
        }
        ("user.signup", _) => {
            r#""event","value":"New user r\u00e9gistered \u2603 \"q\"\n","tags":null,"id_":null}"#
        }
        ("hotel.response_data", _) => {
            r#""xml","value":{"status":"ok","xml":"<a/>","n":1},"tags":null,"id_":"2B75D750"}"#
        }
        ("request.response_ms", _) => r#""timing","value":0,"tags":null,"id_":null}"#,
        ("big", _) => r#""gauge","value":1180591620717411303424,"tags":null,"id_":null}"#,
        ("i64", _) => r#""gauge","value":1099511627776,"tags":null,"id_":null}"#,
        ("neg", _) => r#""gauge","value":-12345678901,"tags":null,"id_":null}"#,
        ("bool", _) => r#""gauge","value":true,"tags":null,"id_":null}"#,
        ("none", _) => r#""gauge","value":null,"tags":null,"id_":null}"#,
        ("dt", _) => r#""custom","value":{"at":"2026-01-02T03:04:05.000678"},"tags":null,"id_":null}"#,
        // Celery 5.2 writes a Decimal as a text, unless its kombu is newer.
        ("dec", "n311rq1 redis") => r#""gauge","value":"1.50","tags":null,"id_":null}"#,
        ("dec", _) => r#""gauge","value":1.50,"tags":null,"id_":null}"#,
        ("bytes", _) => r#""gauge","value":"AP8=","tags":null,"id_":null}"#,
        ("tup", _) => r#""custom","value":{"a":[1,2],"b":[1,[2,{"c":null}]]},"tags":null,"id_":null}"#,
        ("set", _) => return None,
        ("request.response_time", _) => return None,
        other => panic!("{other:?}"),
    })
}

fn check(task: Result<Task, Error>, release: &str, id: &str) -> &'static str {
    let task = match task {
        Ok(task) => task,
        Err(error) => return error.code(),
    };
    assert_eq!(task.id, id);
    assert_eq!((task.eta, task.expires), (None, None));
    let line = String::from_utf8(task.line).unwrap();
    let read: Value = serde_json::from_str(&line).unwrap();
    let name = read["name"].as_str().unwrap();
    if let Some(rest) = expected(name, release) {
        let whole = format!(r#"{{"name":{},"metric":{rest}"#, json!(name));
        assert_eq!(read, serde_json::from_str::<Value>(&whole).unwrap(), "{line}");
        assert_eq!(name == "dec", line.contains("1.50"), "{line}");
    }
    "read"
}

/// How often each outcome is met.
fn tally(outcomes: impl Iterator<Item = &'static str>) -> Vec<(&'static str, usize)> {
    let mut tally: Vec<(&str, usize)> = Vec::new();
    for outcome in outcomes {
        match tally.iter_mut().find(|(other, _)| *other == outcome) {
            Some((_, count)) => *count += 1,
            None => tally.push((outcome, 1)),
        }
    }
    tally
}

fn recorded(file: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/data/queue/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn every_recorded_message_of_redis_is_read() {
    for (release, expected) in [
        ("n27", vec![("read", 18), ("not_finite", 2), ("bad_pickle", 1)]),
        ("n311rq1", vec![("read", 16), ("not_finite", 2)]),
        ("n313", vec![("read", 17), ("not_finite", 2)]),
    ] {
        let elements = recorded(&format!("celery_redis_{release}.jsonl"));
        let outcomes = elements.lines().map(|element| {
            let envelope = Envelope::read(element.as_bytes()).unwrap();
            let id = envelope.properties.correlation_id.clone().unwrap();
            assert!(envelope.properties.delivery_tag.is_some());
            check(envelope.task(LIMITS), &format!("{release} redis"), &id)
        });
        assert_eq!(tally(outcomes), expected, "{release}");
    }
}

#[test]
fn every_recorded_message_of_rabbitmq_is_read() {
    for (release, expected) in [
        ("n27", vec![("read", 18), ("not_finite", 2), ("bad_pickle", 1)]),
        ("n311rq1", vec![("read", 17), ("not_finite", 2)]),
        ("n313", vec![("read", 17), ("not_finite", 2)]),
    ] {
        let messages: Vec<Value> =
            serde_json::from_str(&recorded(&format!("celery_amqp_{release}.json"))).unwrap();
        let outcomes = messages.iter().map(|recorded| {
            let headers: Headers = serde_json::from_value(recorded["application_headers"].clone()).unwrap();
            let id = recorded["correlation_id"].as_str().unwrap();
            let message = Message {
                content_type: recorded["content_type"].as_str().unwrap(),
                correlation_id: Some(id),
                headers: &headers,
                body: &STANDARD.decode(recorded["body"].as_str().unwrap()).unwrap(),
            };
            check(message.task(LIMITS), release, id)
        });
        assert_eq!(tally(outcomes), expected, "{release}");
    }
}

/// A message in JSON as kombu puts it into Redis.
fn element(headers: Value, body: &[u8], encoding: Option<&str>) -> String {
    let body = match encoding {
        Some("base64") => STANDARD.encode(body),
        _ => String::from_utf8(body.to_vec()).unwrap(),
    };
    json!({
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": headers,
        "properties": {"body_encoding": encoding, "correlation_id": "c-1", "delivery_tag": "t-1"},
    })
    .to_string()
}

fn read(element: &str) -> Result<Task, Error> {
    Envelope::read(element.as_bytes())?.task(LIMITS)
}

const BODY: &[u8] = br#"[["a","gauge",1,null,null],{},{"callbacks":null}]"#;
const LINE: &str = r#"{"name":"a","metric":"gauge","value":1,"tags":null,"id_":null}"#;

fn task_of(headers: Value, body: &[u8]) -> Result<Task, Error> {
    read(&element(headers, body, Some("base64")))
}

fn report_headers() -> Value {
    json!({"task": REPORT, "id": "i-1", "eta": null, "expires": null})
}

#[test]
fn compressed_bodies_are_inflated() {
    let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(BODY).unwrap();
    let mut bzip2 = BzEncoder::new(Vec::new(), bzip2::Compression::default());
    bzip2.write_all(BODY).unwrap();
    for (compression, body) in
        [("application/x-gzip", zlib.finish().unwrap()), ("application/x-bz2", bzip2.finish().unwrap())]
    {
        let mut headers = report_headers();
        headers["compression"] = json!(compression);
        let task = task_of(headers.clone(), &body).unwrap();
        assert_eq!((task.id.as_str(), task.line.as_slice()), ("i-1", LINE.as_bytes()));
        assert_eq!(task_of(headers, b"no such thing"), Err(Error::BadCompression));
    }
    let mut headers = report_headers();
    headers["compression"] = json!("application/zstd");
    assert_eq!(task_of(headers, BODY), Err(Error::Compression("application/zstd".to_owned())));
}

#[test]
fn an_inflated_body_has_the_same_limit() {
    let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&vec![b' '; LIMITS.max_message + 1]).unwrap();
    let mut headers = report_headers();
    headers["compression"] = json!("application/x-gzip");
    assert_eq!(task_of(headers, &zlib.finish().unwrap()), Err(Error::TooLong(LIMITS.max_message)));
    let long = vec![b' '; LIMITS.max_message + 1];
    assert_eq!(task_of(report_headers(), &long), Err(Error::TooLong(LIMITS.max_message)));
}

#[test]
fn a_plain_body_is_read_as_it_is() {
    assert_eq!(read(&element(report_headers(), BODY, None)).unwrap().line, LINE.as_bytes());
    let odd = element(report_headers(), BODY, Some("rot13"));
    assert_eq!(read(&odd).unwrap_err().code(), "bad_envelope");
}

#[test]
fn protocol_1_says_everything_in_its_body() {
    let body = json!({
        "task": REPORT, "id": "i-2", "args": ["a", "gauge", 1], "kwargs": {"tags": null, "id_": null},
        "eta": "2026-11-22T10:00:00.5+01:00", "expires": "2026-11-22T10:00:00",
    });
    let task = task_of(json!({}), body.to_string().as_bytes()).unwrap();
    assert_eq!((task.id.as_str(), task.line.as_slice()), ("i-2", LINE.as_bytes()));
    assert_eq!(task.eta, Some("2026-11-22T09:00:00.5Z".parse().unwrap()));
    assert_eq!(task.expires, Some("2026-11-22T10:00:00Z".parse().unwrap()));
}

#[test]
fn a_task_without_an_id_has_the_one_that_the_broker_knows() {
    let task = task_of(json!({"task": REPORT}), BODY).unwrap();
    assert_eq!(task.id, "c-1");
    for id in [String::new(), "x".repeat(128)] {
        assert_eq!(task_of(json!({"task": REPORT, "id": id}), BODY), Err(Error::BadId));
    }
}

#[test]
fn what_is_not_a_report_is_told_by_its_reason() {
    let other = Err(Error::Other("shop.mail".to_owned()));
    assert_eq!(task_of(json!({"task": "shop.mail", "id": "1"}), b"whatever"), other);
    assert_eq!(task_of(json!({}), br#"{"task": "shop.mail"}"#), other);
    for (headers, body, code) in [
        (report_headers(), &br#"[["a"],{},{}]"#[..], "bad_arguments"),
        (json!({}), br#"{"id":"x"}"#, "bad_envelope"),
        (json!({}), br#"[[],{}]"#, "bad_envelope"),
        (report_headers(), b"[[]]", "bad_arguments"),
        (report_headers(), b"\"x\"", "bad_arguments"),
        (report_headers(), b"", "bad_json"),
        (report_headers(), br#"[["a","gauge",NaN],{},{}]"#, "not_finite"),
        (json!({"task": REPORT, "id": "1", "eta": "soon"}), br#"[["a","b",1],{}]"#, "bad_envelope"),
        (report_headers(), br#"[["a","b",{"__type__":"odd","__value__":1}],{}]"#, "wrapped_type"),
        (report_headers(), br#"[5,6]"#, "bad_arguments"),
    ] {
        let body_text = String::from_utf8_lossy(body);
        assert_eq!(task_of(headers, body).unwrap_err().code(), code, "{body_text}");
    }
    assert_eq!(Envelope::read(b"{}").unwrap_err().code(), "bad_envelope");
    let msgpack = element(report_headers(), BODY, None).replace("application/json", "application/x-msgpack");
    assert_eq!(read(&msgpack), Err(Error::ContentType("application/x-msgpack".to_owned())));
    let no_base64 = element(report_headers(), BODY, None)
        .replace("\"body_encoding\":null", "\"body_encoding\":\"base64\"");
    assert_eq!(read(&no_base64).unwrap_err().code(), "bad_envelope");
}
