//! Version 2 of the protocol: against the real VictoriaMetrics, and against an InfluxDB 2 that is given.

use std::fmt::Write;

use kaneda::sink::address::List;
use kaneda::sink::influxdb::Config;
use kaneda::sink::{Outcome, Sink, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::proxy::{Fault, Proxy};
use crate::report::{batch, deliver, rejected};
use crate::victoriametrics::VictoriaMetrics;

/// Names an InfluxDB 2 and what may write to it: `url,org,bucket,token`.
const GIVEN: &str = "KANEDA_TEST_INFLUXDB2";

fn build(config: &Config) -> Box<dyn Sink> {
    config.build("influxdb").unwrap()
}

#[tokio::test]
async fn victoriametrics_keeps_the_numbers_of_reports_with_and_without_gzip() {
    let Some(server) = VictoriaMetrics::start("numbers") else { return };
    let mut config = VictoriaMetrics::config(&server.url);
    for gzip in [false, true] {
        config.gzip = gzip;
        let sink = build(&config);
        sink.probe().await.unwrap();
        let lines = format!("load:0.5|g|#env:prod,gzip:{gzip}|T1700000000.123456789|h:web1\nn:v42|event\n");
        assert_eq!(deliver(&*sink, batch(&lines)).await, vec![Verdict::Delivered; 2]);
    }
    let labels = |gzip: bool| format!(r#"{{"env":"prod","gzip":"{gzip}","host":"web1"}}"#);
    // Milliseconds are all it has of the time.
    let expected = [false, true].map(|gzip| (labels(gzip), 0.5, 1_700_000_000_123));
    assert_eq!(server.samples("gauge_value").await, expected);
    // A text is stored as a zero: as documented.
    assert_eq!(server.values("event_value").await, [0.0, 0.0]);
}

#[tokio::test]
async fn a_partial_write_that_names_no_line_is_bisected() {
    let Some(server) = VictoriaMetrics::start("bisected") else { return };
    let proxy = Proxy::before(&server.url).await;
    let body = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"v\" dropped=1"}"#;
    proxy.set(Fault::Answer { to: "name=\"refused\"", status: 422, body }).await;
    let sink = build(&VictoriaMetrics::config(&proxy.url));
    let mut lines = String::new();
    for n in 0..20 {
        let _ = writeln!(lines, "{}:{n}|g", if n == 13 { "refused" } else { "good" });
    }
    assert_eq!(rejected(&deliver(&*sink, batch(&lines)).await), [(13, "type_conflict")]);
    let mut expected: Vec<f64> = (0..20).map(f64::from).collect();
    expected.remove(13);
    assert_eq!(server.values("gauge_value").await, expected);
}

#[tokio::test]
async fn lines_that_are_named_are_rejected_without_a_bisection() {
    let Some(server) = VictoriaMetrics::start("named") else { return };
    let proxy = Proxy::before(&server.url).await;
    let body = r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"gauge ..","line_number":3,"error_message":"invalid column type for column 'v'"}]}"#;
    proxy.set(Fault::Answer { to: "name=\"refused\"", status: 400, body }).await;
    let sink = build(&VictoriaMetrics::config(&proxy.url));
    let Outcome::Each(verdicts) = sink.send(batch("a:1|g\nb:2|g\nrefused:3|g\nc:4|g\n")).await else {
        panic!()
    };
    assert!(matches!(&verdicts[2], Verdict::Rejected(rejection) if rejection.reason == "type_conflict"));
    let others = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Retry(_))).count();
    assert_eq!(others, 3, "to be sent again");
}

/// The next request to a listener, which agrees to it.
async fn request(listener: &TcpListener) -> String {
    let (mut client, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        assert_ne!(client.read_buf(&mut request).await.unwrap(), 0);
    }
    client.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn organisation_and_bucket_are_in_the_query_and_the_token_only_in_its_header() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = VictoriaMetrics::config(&format!("http://{}", listener.local_addr().unwrap()));
    config.bucket = Some("a bucket&".to_owned());
    config.org = Some("org=1".to_owned());
    config.token = Some("hush-hush==".into());
    let sink = build(&config);
    let (probed, request) = tokio::join!(sink.probe(), request(&listener));
    probed.unwrap();
    let (line, headers) = request.split_once("\r\n").unwrap();
    assert_eq!(line, "POST /api/v2/write?precision=ns&bucket=a+bucket%26&org=org%3D1 HTTP/1.1");
    assert!(headers.to_ascii_lowercase().contains("\r\nauthorization: token hush-hush==\r\n"), "{headers}");
    assert!(!format!("{config:?} {}", sink.place()).contains("hush"));
}

#[tokio::test]
async fn a_token_that_no_header_can_hold_is_told_without_it() {
    let mut config = VictoriaMetrics::config("http://127.0.0.1:1");
    config.token = Some("hush\nhush".into());
    let error = config.build("influxdb").err().unwrap().to_string();
    assert!(error.starts_with("token ") && !error.contains("hush"), "{error}");
}

/// The InfluxDB 2 that is given, and how to ask it; or a word on standard error that the test is skipped: none of the
/// registries has one, so this holds also where servers are required.
fn given(test: &str) -> Option<(Config, String)> {
    let Ok(given) = std::env::var(GIVEN) else {
        eprintln!("skipped {test}: no InfluxDB 2 is given; set {GIVEN} to url,org,bucket,token");
        return None;
    };
    let parts: Vec<&str> = given.splitn(4, ',').collect();
    let [url, org, bucket, token] = parts[..] else { panic!("{GIVEN} is not url,org,bucket,token") };
    let text = format!(
        "connection_url = {url:?}\norg = {org:?}\nbucket = {bucket:?}\ntoken = {token:?}\ntimeout = \"30s\""
    );
    // What an earlier run has left must not be found.
    let measurement = format!("kaneda_{test}_{}", std::process::id());
    Some((toml::from_str(&text).expect("a configuration"), measurement))
}

/// How many points of a measurement have a field.
async fn count(config: &Config, measurement: &str, field: &str) -> usize {
    let (Some(List::One(url)), Some(org), Some(bucket), Some(token)) =
        (&config.connection_url, &config.org, &config.bucket, &config.token)
    else {
        panic!("not as `given` makes it")
    };
    let flux = format!(
        "from(bucket: {bucket:?}) |> range(start: 0) |> filter(fn: (r) => r._measurement == {measurement:?} and \
         r._field == {field:?}) |> group() |> keep(columns: [\"_time\"])"
    );
    let answer = reqwest::Client::new()
        .post(format!("{}/api/v2/query", &**url))
        .query(&[("org", org)])
        .header("Authorization", format!("Token {}", &**token))
        .header("Content-Type", "application/vnd.flux")
        .body(flux)
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
    // A heading, and a row for each point.
    answer.text().await.expect("a text").lines().filter(|line| line.starts_with(",_result,")).count()
}

#[tokio::test]
async fn a_given_influxdb_2_stores_each_report_once_and_refuses_a_conflict_alone() {
    let Some((config, metric)) = given("stores") else { return };
    kaneda::tls::provider();
    let sink = build(&config);
    sink.probe().await.unwrap();
    let mut lines = String::new();
    for n in 0..100 {
        let took = if n == 41 { "\"long\"".to_owned() } else { n.to_string() };
        let _ = writeln!(lines, "q:{{\"took\":{took}}}|k|m:{metric}");
    }
    let reports = batch(&lines);
    for _ in 0..2 {
        assert_eq!(rejected(&deliver(&*sink, reports.clone()).await), [(41, "type_conflict")]);
        assert_eq!(count(&config, &metric, "took").await, 99);
    }
}

#[tokio::test]
async fn a_given_influxdb_2_is_told_apart_by_what_is_wrong_with_it() {
    let Some((config, _)) = given("wrong") else { return };
    for (change, key) in [
        ((|config| config.token = Some("guess".into())) as fn(&mut Config), "`token`"),
        (|config| config.bucket = Some("kaneda no such bucket".to_owned()), "`bucket`"),
        (|config| config.org = Some("kaneda no such org".to_owned()), "`org`"),
    ] {
        let mut config = config.clone();
        change(&mut config);
        let sink = build(&config);
        let error = sink.probe().await.unwrap_err();
        assert!(error.contains(key) && !error.contains("guess"), "{error}");
        assert!(matches!(sink.send(batch("n:1|c\n")).await, Outcome::Retry(_)), "given up");
    }
}
