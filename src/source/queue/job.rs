//! The `data` of RQ's jobs: the call to make, pickled and deflated.
//!
//! Source: `rq/job.py`, `Job.data` and `Job.save`.

use std::borrow::Cow;

use super::{Error, Limits, inflate, json, pickle, report};
use crate::record::json::elements;

/// The function that reports.
const REPORT: &str = "kaneda.tasks.rq.report";
/// So many bytes hold the name of the function, which is what a job begins with, in any case that is worth a look.
pub const HEAD: usize = 1024;

/// A job that is a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// A line of the protocol.
    pub line: Vec<u8>,
}

impl Job {
    /// Reads the field `data` of a job: the pickle of `(function, instance, args, kwargs)`, which early releases of RQ
    /// did not deflate. One of another function says so whatever else it holds: that is not for us to read.
    pub fn read(data: &[u8], limits: Limits) -> Result<Job, Error> {
        let read = if data.len() > limits.max_message {
            Err(Error::TooLong(limits.max_message))
        } else {
            Job::read_whole(data, limits)
        };
        read.map_err(|error| match function(data) {
            Some(other) if other != REPORT => Error::Other(other),
            _ => error,
        })
    }

    /// Whether the job is of another function, as far as its first [`HEAD`] bytes tell.
    pub fn is_other(head: &[u8]) -> bool {
        function(head).is_some_and(|function| function != REPORT)
    }

    fn read_whole(data: &[u8], limits: Limits) -> Result<Job, Error> {
        let inflated = match inflate::zlib(data, limits) {
            Ok(inflated) => Cow::Owned(inflated),
            Err(Error::BadCompression) => Cow::Borrowed(data),
            Err(error) => return Err(error),
        };
        let mut call = Vec::new();
        if inflated.starts_with(b"[") {
            // No pickle begins so: it is of RQ's `JSONSerializer`.
            json::check(&inflated)?;
            call.extend_from_slice(&inflated);
        } else {
            pickle::to_json(&inflated, limits.pickle(), &mut call)?;
        }
        if !call.starts_with(b"[") {
            return Err(Error::BadArguments("its data is no tuple"));
        }
        let parts: Vec<_> = elements(&call).collect();
        let &[function, b"null", positional, named] = parts.as_slice() else {
            return Err(Error::BadArguments("its data is not the call of a function"));
        };
        match report::text(function) {
            Some(function) if function == REPORT => {}
            other => return Err(Error::Other(other.unwrap_or_default())),
        }
        Ok(Job { line: report::from_call(positional, named)? })
    }
}

/// The name of the function, from the first bytes of a job alone.
fn function(data: &[u8]) -> Option<String> {
    let inflated = inflate::head(data, HEAD);
    let head = if inflated.is_empty() { &data[..data.len().min(HEAD)] } else { &inflated };
    match head.strip_prefix(b"[") {
        Some(list) => {
            let text = list.trim_ascii_start();
            let end = 1 + memchr::memchr(b'"', text.strip_prefix(b"\"")?)?;
            report::text(&text[..=end])
        }
        None => pickle::first_text(head),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    const LIMITS: Limits = Limits { max_message: 1 << 16 };

    fn read(data: &[u8]) -> Result<String, Error> {
        Job::read(data, LIMITS).map(|job| String::from_utf8(job.line).unwrap())
    }

    fn recorded(release: &str, number: usize) -> Vec<u8> {
        let root = env!("CARGO_MANIFEST_DIR");
        std::fs::read(format!("{root}/tests/data/queue/rq_{release}_{number:02}.bin")).unwrap()
    }

    /// What each recorded job says, but for the members behind the value.
    const EXPECTED: [&str; 21] = [
        r#"{"name":"users.notifications","metric":"gauge","value":13,"tags":["new_message","follow_request"],"id_":null}"#,
        r#"{"name":"user.profile.views","metric":"counter","value":1,"tags":null,"id_":null}"#,
        r#"{"name":"hotel.occupation","metric":"counter","value":-1,"tags":null,"id_":null}"#,
        r#"{"name":"hotel.availability.request_time","metric":"timing","value":4.25,"tags":{"host":"web1","zone":"eu"},"id_":null}"#,
        r#"{"name":"user.signup","metric":"event","value":"New user régistered ☃ \"q\"\n","tags":null,"id_":null}"#,
        r#"{"name":"hotel.response_data","metric":"xml","value":{"status":"ok","xml":"<a/>","n":1},"tags":null,"id_":"2B75D750"}"#,
        "a time",
        r#"{"name":"request.response_ms","metric":"timing","value":0,"tags":null,"id_":null}"#,
        r#"{"name":"big","metric":"gauge","value":1180591620717411303424,"tags":null,"id_":null}"#,
        r#"{"name":"i64","metric":"gauge","value":1099511627776,"tags":null,"id_":null}"#,
        r#"{"name":"neg","metric":"gauge","value":-12345678901,"tags":null,"id_":null}"#,
        "not_finite",
        "not_finite",
        r#"{"name":"bool","metric":"gauge","value":true,"tags":null,"id_":null}"#,
        r#"{"name":"none","metric":"gauge","value":null,"tags":null,"id_":null}"#,
        r#"{"name":"dt","metric":"custom","value":{"at":"2026-01-02T03:04:05.000678"},"tags":null,"id_":null}"#,
        r#"{"name":"dec","metric":"gauge","value":1.50,"tags":null,"id_":null}"#,
        r#"{"name":"bytes","metric":"gauge","value":"AP8=","tags":null,"id_":null}"#,
        r#"{"name":"tup","metric":"custom","value":{"a":[1,2],"b":[1,[2,{"c":null}]]},"tags":null,"id_":null}"#,
        "a set",
        "bad_pickle",
    ];

    #[test]
    fn every_recorded_job_of_every_release_is_read() {
        for release in ["n27", "n36rq1", "n311rq1", "n313"] {
            for (number, expected) in EXPECTED.into_iter().enumerate() {
                let read = read(&recorded(release, number)).map_err(|error| error.code());
                let what = format!("{release} {number}: {read:?}");
                match (expected, read) {
                    ("a time", Ok(line)) => {
                        assert!(
                            line.starts_with(r#"{"name":"request.response_time","metric":"timing","value":"#)
                        );
                        assert!(line.contains("e-6,") || line.contains("e-7,"), "{what}");
                    }
                    // A set has no order.
                    ("a set", Ok(line)) => {
                        let tags = line.split_once("\"tags\":").unwrap().1;
                        let either = [r#"["a","b"],"id_":null}"#, r#"["b","a"],"id_":null}"#];
                        assert!(either.contains(&tags), "{what}");
                    }
                    (expected, Ok(line)) => {
                        // The order of a dict of Python 2 is its own.
                        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                        assert_eq!(value(&line), value(expected), "{what}");
                        if release == "n313" {
                            assert_eq!(line, expected);
                        }
                    }
                    (expected, Err(code)) => assert_eq!(code, expected, "{what}"),
                }
            }
        }
    }

    #[test]
    fn the_class_that_a_refused_job_names_is_said() {
        let error = read(&recorded("n313", 20)).unwrap_err().to_string();
        assert_eq!(error, "its pickle is not read: it names `__main__.Foo`, which is not read as data");
    }

    /// The pickle of a call in protocol 0, in which texts are readable.
    fn call(function: &str, rest: &str) -> Vec<u8> {
        format!("(V{function}\n{rest}t.").into_bytes()
    }

    #[test]
    fn a_job_that_was_not_deflated_is_read() {
        let job = call("kaneda.tasks.rq.report", "N(Va\nVgauge\nI1\nt(d");
        assert_eq!(read(&job).unwrap(), r#"{"name":"a","metric":"gauge","value":1}"#);
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut deflated = ZlibEncoder::new(Vec::new(), Compression::best());
        deflated.write_all(bytes).unwrap();
        deflated.finish().unwrap()
    }

    #[test]
    fn a_job_that_was_written_as_json_is_read() {
        let job = deflated(br#"["kaneda.tasks.rq.report", null, ["a", "gauge", 1, null, null], {}]"#);
        assert_eq!(read(&job).unwrap(), r#"{"name":"a","metric":"gauge","value":1,"tags":null,"id_":null}"#);
    }

    #[test]
    fn a_job_of_another_function_is_told_whatever_it_holds() {
        // A class, which no report may hold; too long; of a protocol with frames; and cut off in the middle.
        let class = call("shop.mail", "N(cshop\nUser\n)Rt(d");
        let mut long = call("shop.mail", "N(V");
        long.splice(long.len() - 2.., vec![b'x'; 1 << 17]);
        let framed = b"\x80\x05\x95g\0\0\0\0\0\0\0(\x8c\x09shop.mail\x94N(\x8cx".to_vec();
        let json = br#"[ "shop.mail", null, [NaN], {}]"#.to_vec();
        for job in [class, long, framed, json] {
            let whole = deflated(&job);
            let cut = whole[..whole.len() - 4].to_vec();
            for job in [job, whole, cut] {
                assert_eq!(read(&job), Err(Error::Other("shop.mail".to_owned())), "{job:?}");
                assert!(Job::is_other(&job));
            }
        }
        for nameless in [&b"N."[..], b"(", b"", b"[1]", b"[\"", b"\x80\x05K\x01.", b"V\\u\n"] {
            assert!(
                !matches!(read(nameless), Err(Error::Other(_))) && !Job::is_other(nameless),
                "{nameless:?}"
            );
        }
    }

    #[test]
    fn what_is_not_a_report_is_told_by_its_reason() {
        let mut bomb = ZlibEncoder::new(Vec::new(), Compression::best());
        bomb.write_all(&vec![b'N'; 1 << 20]).unwrap();
        for (job, code) in [
            (call("kaneda.tasks.other", "N(t(d"), "other_task"),
            (call("kaneda.tasks.rq.report", "Vself\n(t(d"), "bad_arguments"),
            (call("kaneda.tasks.rq.report", "N(t"), "bad_arguments"),
            (call("kaneda.tasks.rq.report", "NNN"), "bad_arguments"),
            (call("kaneda.tasks.rq.report", "N(Va\nt(d"), "bad_arguments"),
            (b"N.".to_vec(), "bad_arguments"),
            (b"no pickle".to_vec(), "bad_pickle"),
            (bomb.finish().unwrap(), "too_long"),
            (vec![b'N'; (1 << 16) + 1], "too_long"),
        ] {
            assert_eq!(read(&job).unwrap_err().code(), code, "{:?}", job.escape_ascii().to_string());
        }
    }
}
