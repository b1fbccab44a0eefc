//! The admin pages agree with each other.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;

use crate::network::ask;
use crate::process::{Daemon, SQLITE, source};

/// Samples by name and labels, as they stand there. Fails where the text is not Prometheus's.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            if words.next() == Some("TYPE") {
                let (name, kind) = (words.next().unwrap(), words.next().unwrap());
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert!(types.insert(name, kind).is_none(), "a second TYPE of {name}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(types.contains_key(name), "no TYPE before {line}");
        assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_'), "{line}");
        assert!(!series.contains('{') || series.ends_with("\"}"), "{line}");
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn the_metrics_are_the_status() {
    let daemon =
        Daemon::start(&(source("tcp") + SQLITE + "[[sink]]\ntype = 'null'\nflush_interval = '1ms'\n"));
    TcpStream::connect(daemon.address("tcp"))
        .unwrap()
        .write_all(b"a:1:2|c\nb:1|c\nbad\n\nb:x|c\nworse\n")
        .unwrap();
    daemon.until_delivered("sqlite", 3);
    daemon.until_delivered("null", 3);
    let status = daemon.until("closed", |status| status["sources"][0]["connections"] == 0);
    let (code, text) = ask(daemon.admin(), "GET", "/metrics", &[], b"");
    assert_eq!(code, 200);
    let samples = samples(&text);
    let mut expected = vec![
        ("kaneda_lines_received_total".to_owned(), &status["lines"]["received"]),
        ("kaneda_lines_accepted_total".to_owned(), &status["lines"]["accepted"]),
        ("kaneda_lines_skipped_total".to_owned(), &status["lines"]["skipped"]),
        ("kaneda_records_total".to_owned(), &status["records"]),
        ("kaneda_source_bytes_total{source=\"tcp\",type=\"tcp\"}".to_owned(), &status["sources"][0]["bytes"]),
    ];
    for (reason, lines) in status["lines"]["rejected"].as_object().unwrap() {
        expected.push((format!("kaneda_lines_rejected_total{{reason=\"{reason}\"}}"), lines));
    }
    for sink in status["sinks"].as_array().unwrap() {
        let name = sink["name"].as_str().unwrap();
        for (term, total) in [("accepted", "_total"), ("delivered", "_total"), ("waiting", "")] {
            let series = format!("kaneda_sink_{term}{total}{{sink=\"{name}\",type=\"{name}\"}}");
            expected.push((series, &sink[term]));
        }
    }
    assert_eq!(expected.len(), 5 + 2 + 2 * 3, "{status:#}");
    // Nothing was lost yet: only so will a scraper see the first loss as an increase.
    for series in [
        "kaneda_lines_rejected_total{reason=\"bad_json\"}",
        "kaneda_sink_dropped_total{sink=\"sqlite\",type=\"sqlite\",reason=\"journal_full\"}",
        "kaneda_sink_rejections_total{sink=\"sqlite\",type=\"sqlite\"}",
    ] {
        assert_eq!(samples.get(series), Some(&0.0), "{series} in {text}");
    }
    for (series, value) in expected {
        assert_eq!(samples.get(&series).copied(), value.as_f64(), "{series} in {text}");
    }
    daemon.end();
}
