//! The unchanged client of PyPI, and what it reports.

use std::path::Path;
use std::process::{Child, Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/clients/kaneda/bin/python");

/// What is compared of each report.
pub(crate) const COLUMNS: &str = "metric, name, value, text, tags, host, extra";

/// What every queue makes of the client's reports, but those whose value is a time: `COLUMNS`, sorted.
pub(crate) const STORED: [&str; 8] = [
    "counter hotel.occupation -1 -1 - here -",
    "counter user.profile.views 1 1 - here -",
    r#"custom nested - - - here {"a":[1,2],"b":[1,[2,{"c":null}]]}"#,
    "event user.signup - New user régistered ☃ \"q\"\n - here -",
    "gauge big 1180591620717411300000 1180591620717411303424 - here -",
    r#"gauge tags.of.numbers 1 1 ["7","2.5"] here -"#,
    r#"gauge users.notifications 13 13 ["new_message","follow_request"] here -"#,
    r#"xml hotel.response_data - - - here {"status":"ok","n":1}"#,
];

/// Whether the client is there.
pub(crate) fn have() -> bool {
    if Path::new(PYTHON).exists() {
        return true;
    }
    let required = std::env::var_os("KANEDA_TEST_REQUIRE_CLIENTS").is_some();
    assert!(!required, "PyPI kaneda is needed: run scripts/test-tools.sh");
    eprintln!("skipped: no PyPI kaneda here; scripts/test-tools.sh gets it");
    false
}

/// Starts the client.
pub(crate) fn start(arguments: &[&str]) -> Child {
    python(&[&["tests/queues/kaneda_client.py"], arguments].concat())
}

/// Starts a program of Python's.
pub(crate) fn python(arguments: &[&str]) -> Child {
    command(arguments).spawn().unwrap()
}

/// A program of Python's, which starts in the root of the repository.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PYTHON);
    command
        .args(arguments)
        .current_dir(ROOT)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for its end, which must be a good one. What it printed.
pub(crate) fn end(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Compares rows, without those of times, with what is expected; a time is a number, and of its name.
pub(crate) fn compare(mut rows: Vec<String>, more: &[&str]) {
    // A pickle has no white space, which is kept where JSON was sent.
    rows.iter_mut().for_each(|row| *row = row.replace(", ", ",").replace(": ", ":"));
    let is_time = |row: &String| row.starts_with("timing ") && !row.contains("availability");
    let times: Vec<_> = rows.extract_if(.., |row| is_time(row)).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    // The first in milliseconds, the others in seconds.
    for (name, most) in
        [("request.decorated", 10_000.0), ("__main__.unnamed", 10.0), ("request.context", 10.0)]
    {
        let row = times.iter().find(|row| row.split(' ').nth(1) == Some(name)).unwrap();
        let value: f64 = row.split(' ').nth(2).unwrap().parse().unwrap();
        assert!((0.0..most).contains(&value), "{row}");
    }
    let mut expected: Vec<_> = STORED.iter().chain(more).map(|row| (*row).to_owned()).collect();
    expected.push(r#"timing hotel.availability.request_time 4.25 4.25 {"zone":"eu"} here -"#.to_owned());
    expected.sort();
    rows.sort();
    assert_eq!(rows, expected);
}

/// So many counters, each with its number as its value, are in the store, each once.
pub(crate) fn assert_each_once(mut rows: Vec<String>, reports: u64) {
    rows.sort_by_key(|value| value.parse::<u64>().unwrap());
    let expected: Vec<_> = (0..reports).map(|number| number.to_string()).collect();
    assert_eq!(rows, expected);
}
