//! The log under the laws, and what is its own.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use kaneda::sink::Sink;
use kaneda::sink::log::{Config, Format};
use serde_json::Value;

use crate::flow::{Flow, settled};
use crate::subject::{Subject, complies};

struct Log {
    folder: tempfile::TempDir,
}

impl Log {
    fn path(&self) -> PathBuf {
        self.folder.path().join("reports.log")
    }

    fn build(&self, format: Format) -> Box<dyn Sink> {
        Config { path: Some(self.path()), format }.build("log").unwrap()
    }

    /// The lines of the file, and of what it was before it was moved away.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for file in ["reports.log.1", "reports.log"] {
            let text = fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
            assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    fn documents(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn rotate(&self) {
        fs::rename(self.path(), self.folder.path().join("reports.log.1")).unwrap();
    }
}

impl Subject for Log {
    async fn start() -> Self {
        Log { folder: tempfile::tempdir().unwrap() }
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.build(Format::Json)
    }

    /// The device that is always full takes the file's place.
    async fn fail(&mut self) {
        self.rotate();
        std::os::unix::fs::symlink("/dev/full", self.path()).unwrap();
    }

    async fn heal(&mut self) {
        fs::remove_file(self.path()).unwrap();
    }

    async fn refuse(&mut self) {}

    async fn names(&self) -> Vec<String> {
        self.documents().iter().map(|document| document["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn value(&self, name: &str) -> String {
        let documents = self.documents();
        documents.iter().find(|document| document["name"] == name).unwrap()["value"].to_string()
    }

    fn excuse(law: &str) -> Option<&'static str> {
        match law {
            "a_lost_reply_makes_no_duplicate" => {
                Some("within a run no reply is lost; after a kill, ids tell")
            }
            "a_refused_report_takes_no_neighbour_along" => Some("it refuses nothing"),
            "a_repeated_client_id_replaces" => Some("a line that was written stays"),
            "no_secret_is_logged" => Some("its config has no secret"),
            _ => None,
        }
    }
}

complies!(Log);

#[tokio::test]
async fn every_line_has_id_time_and_host() {
    let log = Log::start().await;
    let flow = Flow::start(log.sink());
    flow.store(["a:1:2|c", "b:x|s|i:mine|h:web|T1.5"]).await;
    flow.finish().await;
    let documents = log.documents();
    assert_eq!(documents[0]["host"], "here");
    assert!(documents[0]["timestamp"].as_str().unwrap().starts_with("2023-11-14T22:13:20"));
    let id = documents[0]["id"].as_str().unwrap();
    assert_eq!(documents[1]["id"], format!("{id}-1"));
    assert_eq!(
        log.lines()[2],
        r#"{"metric":"set","name":"b","value":"x","timestamp":"1970-01-01T00:00:01.5Z","host":"web","id":"mine"}"#
    );
}

#[tokio::test]
async fn the_text_format_is_kanedas() {
    let log = Log::start().await;
    let flow = Flow::start(log.build(Format::Text));
    flow.store(["b:it's|e|i:mine|h:web|T1.5|#x"]).await;
    flow.finish().await;
    assert_eq!(
        log.lines(),
        [concat!(
            "1970-01-01 00:00:01,500 - kaneda.backends.logger - ",
            r#"{'host': 'web', 'name': 'b', 'value': "it's", 'tags': ['x'], 'metric': 'event', '_id': 'mine'}"#
        )]
    );
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_made_anew_and_no_report_is_lost() {
    let log = Log::start().await;
    let flow = Flow::start(log.sink());
    flow.store(["a:1|c"]).await;
    log.rotate();
    flow.store(["b:1|c"]).await;
    flow.finish().await;
    assert_eq!(log.names().await, ["a", "b"]);
    assert_eq!(fs::read_to_string(log.path()).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn a_file_is_opened_again_when_asked() {
    let log = Log::start().await;
    let sink = log.sink();
    let batch = |line: &str| {
        let chunk = std::sync::Arc::new(crate::flow::chunk([line]));
        let mut batch = kaneda::record::Batch::new();
        batch.push(kaneda::record::batch::Range { first: 0, last: chunk.len(), chunk });
        batch
    };
    sink.send(batch("a:1|c")).await;
    // As a tool that copies and cuts does, in the middle of a line.
    fs::write(log.path(), "cut o").unwrap();
    sink.reopen();
    sink.send(batch("b:1|c")).await;
    sink.close().await;
    let text = fs::read_to_string(log.path()).unwrap();
    assert!(text.starts_with("cut o\n{"), "{text}");
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_blocks_only_its_sink_and_loses_and_repeats_nothing() {
    let log = Log::start().await;
    assert!(Command::new("mkfifo").arg(log.path()).status().unwrap().success());
    let flow = Flow::start(log.sink());
    // More than a pipe holds. Nobody has opened it to read yet.
    let receipts = [
        flow.send((0..500).map(|n| format!("report.{n}:1|c"))).await,
        flow.send((500..1000).map(|n| format!("report.{n}:1|c"))).await,
    ];
    let path = log.path();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    for receipt in &receipts {
        settled(receipt).await;
    }
    assert_eq!(flow.finish().await.delivered, 1000);
    let text = reader.join().unwrap();
    let names: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 1000);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 1000);
}

#[tokio::test]
async fn the_lines_of_its_page_are_right() {
    let page = include_str!("../../docs/log.md");
    for (format, fence) in [(Format::Json, "```json\n"), (Format::Text, "```text\n")] {
        let log = Log::start().await;
        let flow = Flow::start(log.build(format));
        flow.store(["web.requests:1|c|T1700000000|h:web1|i:a1"]).await;
        flow.finish().await;
        let example = page.split(fence).nth(1).unwrap().lines().next().unwrap();
        assert_eq!(log.lines(), [example]);
    }
    let config =
        page.split("```toml\n").nth(2).unwrap().split("```").next().unwrap().replace("# path", "path");
    let mut table: toml::Table = toml::from_str(&config).unwrap();
    let mut sink = table.remove("sink").unwrap().as_array().unwrap()[0].as_table().unwrap().clone();
    assert_eq!(sink.remove("type").unwrap().as_str(), Some("log"));
    assert_eq!(sink.len(), 2, "all keys");
    let config: Config = sink.try_into().unwrap();
    assert_eq!((config.path, config.format), (Some("reports.log".into()), Format::default()));
}
