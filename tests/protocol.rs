//! The examples of `protocol.md` and the lines in `tests/data/refused` are what the parser says they are.

use std::fs;

use kaneda::cli;
use kaneda::protocol::{Limits, Reason};
use kaneda::record::Dialect;

/// What was sent in an example, and what has to come of it.
struct Example {
    place: String,
    dialect: Dialect,
    line: String,
    expected: Vec<String>,
}

/// The examples: in a block that begins with ```` ```kaneda ````, `> ` and a line, and what comes of it below.
fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut dialect = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (line, dialect) {
            ("```kaneda", _) => dialect = Some(Dialect::Kaneda),
            ("```kaneda statsd", _) => dialect = Some(Dialect::Statsd),
            ("```", _) => dialect = None,
            (_, Some(dialect)) => match line.strip_prefix("> ") {
                Some(sent) => examples.push(Example {
                    place: format!("protocol.md:{number}"),
                    dialect,
                    line: sent.into(),
                    expected: Vec::new(),
                }),
                None => examples.last_mut().expect("an example begins with >").expected.push(line.into()),
            },
            (other, None) => assert!(!other.starts_with("```kaneda"), "a dialect nobody knows: {other}"),
        }
    }
    examples
}

/// What comes of a line: its documents, or `! reason offset`.
fn outcome(line: &[u8], dialect: Dialect) -> Vec<String> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let refused =
        cli::parse::run(dialect, Limits::default(), line, &mut out, &mut err).expect("it is all in memory");
    if refused {
        let refusal: serde_json::Value = serde_json::from_slice(&err).expect("a refusal is JSON");
        assert!(out.is_empty(), "a line is refused whole");
        return vec![format!("! {} {}", refusal["code"].as_str().unwrap_or_default(), refusal["offset"])];
    }
    String::from_utf8(out).expect("documents are UTF-8").lines().map(String::from).collect()
}

#[test]
fn the_examples_of_the_specification_are_true() {
    let text = fs::read_to_string("protocol.md").expect("protocol.md is there");
    let examples = examples(&text);
    assert!(examples.len() > 100, "only {} examples were found", examples.len());
    let wrong: Vec<String> = examples
        .iter()
        .filter_map(|Example { place, dialect, line, expected }| {
            let found = outcome(line.as_bytes(), *dialect);
            (found != *expected)
                .then(|| format!("{place}: {line}\n  found    {found:?}\n  expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_specification_names_every_reason() {
    let text = fs::read_to_string("protocol.md").expect("protocol.md is there");
    for reason in Reason::ALL {
        assert!(text.contains(&format!("| `{}` |", reason.code())), "{} is missing", reason.code());
    }
}

/// A file is named `<reason>-<offset>-<what>`, with `.statsd` behind it for that dialect, and holds one line.
#[test]
fn every_malformed_line_is_refused_for_the_reason_it_is_named_for() {
    let (mut seen, mut wrong) = (Vec::new(), Vec::new());
    for entry in fs::read_dir("tests/data/refused").expect("the directory is there") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
        let mut parts = name.splitn(3, '-');
        let (reason, offset) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let dialect = if name.ends_with(".statsd") { Dialect::Statsd } else { Dialect::Kaneda };
        let line = fs::read(&path).expect("it can be read");
        let found = outcome(&line, dialect);
        if found != [format!("! {reason} {offset}")] {
            wrong.push(format!("{name}: {found:?}"));
        }
        seen.push(reason.to_owned());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for reason in Reason::ALL {
        // Only a source knows that a datagram was cut.
        let expected = reason != Reason::Truncated;
        assert_eq!(seen.iter().any(|seen| seen == reason.code()), expected, "a file for {}", reason.code());
    }
}
