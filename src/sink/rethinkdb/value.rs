//! JSON as it was sent, made such that the server takes it and stores what it says.
//!
//! What the server does otherwise, by its source (2.4.4): an object with a member `$reql_type$` is a time, a binary or
//! refused, with the whole query; so is one with the same name twice; a number is a double, and one with an exponent
//! above 308 no JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use super::query::write_string;
use crate::record::{Number, json};

/// The member that makes an object something else to the server.
pub(super) const TYPE: &str = "$reql_type$";
/// An integer of so many digits is a double, whatever they are.
const EXACT_DIGITS: usize = 15;

/// Where a value stands in its document: the names and indexes that lead to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    before: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// That of a member of the document itself.
    pub(super) fn of(name: &'a str) -> Self {
        Path { before: None, step: Step::Name(name) }
    }

    /// Writes it as a JSON pointer (RFC 6901).
    fn write(&self, out: &mut String) {
        if let Some(before) = self.before {
            before.write(out);
        }
        out.push('/');
        match self.step {
            Step::Name(name) => out.push_str(&name.replace('~', "~0").replace('/', "~1")),
            // Writing to a String does not fail.
            Step::Index(index) => drop(write!(out, "{index}")),
        }
    }
}

/// The integers of a document that no double holds: the place of each and its digits.
#[derive(Debug, Default)]
pub(super) struct Exact(Vec<(String, String)>);

impl Exact {
    /// Keeps the number at `path` if it is an integer, as sent, that a double does not hold.
    pub(super) fn keep(&mut self, path: &Path<'_>, sent: &[u8]) {
        if is_rounded(sent) {
            let mut pointer = String::new();
            path.write(&mut pointer);
            self.0.push((pointer, String::from_utf8_lossy(sent).into_owned()));
        }
    }

    /// What was kept, and forgets it.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (String, String)> {
        self.0.drain(..)
    }

    /// Whether nothing was kept.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a valid JSON value.
pub(super) fn write(sent: &[u8], path: &Path<'_>, exact: &mut Exact, out: &mut Vec<u8>) {
    match sent.first() {
        Some(b'{') => write_object(sent, path, exact, out),
        Some(b'[') => {
            out.push(b'[');
            for (index, element) in json::elements(sent).enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let path = Path { before: Some(path), step: Step::Index(index) };
                write(element, &path, exact, out);
            }
            out.push(b']');
        }
        Some(b'-' | b'0'..=b'9') => write_number(sent, path, exact, out),
        _ => json::write_raw(sent, out),
    }
}

fn write_object(sent: &[u8], path: &Path<'_>, exact: &mut Exact, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in members(sent).into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(&name, out);
        out.push(b':');
        let path = Path { before: Some(path), step: Step::Name(&name) };
        write(value, &path, exact, out);
    }
    out.push(b'}');
}

/// The members of an object, each name once: of several the last stays, and `$reql_type$` gets `_` behind it until
/// its name is free.
fn members(object: &[u8]) -> Vec<(Cow<'_, str>, &[u8])> {
    let mut members: Vec<_> = json::members(object).map(|(name, value)| (name.decode(), value)).collect();
    let mut last: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(members.len());
    for (index, (name, _)) in members.iter().enumerate() {
        last.insert(name.clone(), index);
    }
    let mut index = 0;
    members.retain(|(name, _)| {
        index += 1;
        last.get(name) == Some(&(index - 1))
    });
    if let Some((name, _)) = members.iter_mut().find(|(name, _)| name == TYPE) {
        while last.contains_key(name) {
            name.to_mut().push('_');
        }
    }
    members
}

fn write_number(sent: &[u8], path: &Path<'_>, exact: &mut Exact, out: &mut Vec<u8>) {
    if sent.len() <= EXACT_DIGITS && is_integer(sent) {
        return out.extend_from_slice(sent);
    }
    exact.keep(path, sent);
    // It was found to be a finite number when its line was parsed.
    let text = str::from_utf8(sent).unwrap_or("0");
    let int = text.parse().map(Number::Int).or_else(|_| text.parse().map(Number::Uint));
    int.unwrap_or_else(|_| Number::Float(text.parse().unwrap_or_default())).write(out);
}

/// Whether a number is written as an integer.
fn is_integer(sent: &[u8]) -> bool {
    sent.strip_prefix(b"-").unwrap_or(sent).iter().all(u8::is_ascii_digit)
}

/// Whether a number is written as an integer that is not a double.
fn is_rounded(sent: &[u8]) -> bool {
    let digits = sent.strip_prefix(b"-").or(sent.strip_prefix(b"+")).unwrap_or(sent);
    let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let digits = &digits[first..];
    if digits.len() <= EXACT_DIGITS || !is_integer(digits) {
        return false;
    }
    // All digits of the nearest double.
    let double = str::from_utf8(digits).ok().and_then(|digits| digits.parse::<f64>().ok());
    double.is_none_or(|double| format!("{double:.0}").as_bytes() != digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(sent: &str) -> (String, Vec<(String, String)>) {
        let (mut out, mut exact) = (Vec::new(), Exact::default());
        write(sent.as_bytes(), &Path::of("v"), &mut exact, &mut out);
        (String::from_utf8(out).unwrap(), exact.drain().collect())
    }

    fn json(sent: &str) -> String {
        written(sent).0
    }

    #[test]
    fn what_the_server_takes_stays_as_it_is() {
        for sent in [
            r#"{"a":[1,-2.5,"x\n\u0000",true,null,{"b":{}},[]],"":"é"}"#,
            "\"\\u0024reql_type$\"",
            "[999999999999999]",
        ] {
            assert_eq!(written(sent), (sent.to_owned(), Vec::new()));
        }
        assert_eq!(json("{ \"a\" :\r[ 1 , 2 ] }"), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn no_object_becomes_something_else_to_the_server() {
        let time = r#"{"$reql_type$":"TIME","epoch_time":1,"timezone":"+00:00"}"#;
        let expected = r#"{"$reql_type$_":"TIME","epoch_time":1,"timezone":"+00:00"}"#;
        assert_eq!(json(time), expected);
        assert_eq!(json(&time.replacen('$', "\\u0024", 1)), expected);
        assert_eq!(json(&format!("[[{{\"a\":{time}}}]]")), format!("[[{{\"a\":{expected}}}]]"));
        assert_eq!(
            json(r#"{"$reql_type$_":1,"$reql_type$":2,"$reql_type$__":3}"#),
            r#"{"$reql_type$_":1,"$reql_type$___":2,"$reql_type$__":3}"#
        );
    }

    #[test]
    fn of_a_repeated_name_the_last_stays_however_it_is_spelled_and_wherever() {
        assert_eq!(json(r#"[{"a":1,"b":2,"\u0061":3}]"#), r#"[{"b":2,"a":3}]"#);
        assert_eq!(json(r#"{"$reql_type$":1,"$reql_type$":2}"#), r#"{"$reql_type$_":2}"#);
    }

    #[test]
    fn integers_that_no_double_holds_are_kept_with_their_place() {
        let (json, exact) = written(
            r#"{"a/b":[9007199254740992,9007199254740993],"~":{"x":-18446744073709551615},"u":18446744073709551615}"#,
        );
        assert_eq!(
            json,
            r#"{"a/b":[9007199254740992,9007199254740993],"~":{"x":-1.8446744073709552e+19},"u":18446744073709551615}"#
        );
        let expected = [
            ("/v/a~1b/1", "9007199254740993"),
            ("/v/~0/x", "-18446744073709551615"),
            ("/v/u", "18446744073709551615"),
        ];
        assert_eq!(exact, expected.map(|(place, digits)| (place.to_owned(), digits.to_owned())));
    }

    #[test]
    fn only_integers_are_rounded() {
        for exact in [
            "0",
            "-1",
            "9007199254740992",
            "-9223372036854775808",
            "1e300",
            "0.1234567890123456789",
            "00000000000000000001",
        ] {
            assert!(!is_rounded(exact.as_bytes()), "{exact}");
        }
        let power = format!("{:.0}", 2_f64.powi(200));
        assert!(!is_rounded(power.as_bytes()));
        for rounded in ["9007199254740993", "-9007199254740993", "9223372036854775807", &format!("{power}1")]
        {
            assert!(is_rounded(rounded.as_bytes()), "{rounded}");
        }
    }

    #[test]
    fn a_number_with_a_large_exponent_is_written_so_that_the_server_can_read_it() {
        assert_eq!(json("0.00001e312"), "1e+307");
        assert_eq!(json("1000000000000000000000"), "1e+21");
        assert_eq!(json("-0.5E+1"), "-5.0");
    }
}
