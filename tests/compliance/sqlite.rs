//! The embedded store under the laws, and what is its own.

use kaneda::sink::Sink;
use kaneda::sink::sqlite::Config;
use kaneda::unit;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::flow::Flow;
use crate::subject::{Subject, complies};

struct Sqlite {
    config: Config,
    /// Holds the lock of the file during an outage.
    blocker: Option<Connection>,
    _folder: tempfile::TempDir,
}

impl Subject for Sqlite {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            path: folder.path().join("new/reports.db"),
            timeout: unit::Duration::from_millis(1),
            ..Config::default()
        };
        Sqlite { config, blocker: None, _folder: folder }
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.config.build("sqlite").unwrap()
    }

    async fn fail(&mut self) {
        let blocker = self.connect();
        blocker.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.blocker = Some(blocker);
    }

    async fn heal(&mut self) {
        self.blocker = None;
    }

    async fn refuse(&mut self) {
        self.connect()
            .execute_batch(
                "CREATE TRIGGER refuse BEFORE INSERT ON reports WHEN new.name = 'refused'
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
            )
            .unwrap();
    }

    async fn names(&self) -> Vec<String> {
        self.ask("SELECT name FROM reports")
    }

    async fn value(&self, name: &str) -> String {
        self.ask(&format!("SELECT text FROM reports WHERE name = '{name}'")).remove(0)
    }

    fn excuse(law: &str) -> Option<&'static str> {
        (law == "no_secret_is_logged").then_some("its config has no secret")
    }
}

complies!(Sqlite);

impl Sqlite {
    fn connect(&self) -> Connection {
        Connection::open(&self.config.path).unwrap()
    }

    /// The first column of a query, as the `sqlite3` shell prints it.
    fn ask(&self, sql: &str) -> Vec<String> {
        let connection = self.connect();
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map((), |row| row.get(0)).unwrap();
        rows.map(|value| match value.unwrap() {
            Value::Null => "NULL".into(),
            Value::Integer(int) => int.to_string(),
            Value::Real(real) => format!("{real:?}"),
            Value::Text(text) => text,
            Value::Blob(_) => panic!("a blob"),
        })
        .collect()
    }
}

/// All columns but `id` and `time` of the row of one line.
async fn row(line: &[u8]) -> [String; 8] {
    let subject = Sqlite::start().await;
    let flow = Flow::start(subject.sink());
    flow.store([line]).await;
    flow.finish().await;
    ["metric", "name", "value", "text", "tags", "host", "rate", "extra"]
        .map(|column| subject.ask(&format!("SELECT {column} FROM reports")).remove(0))
}

#[tokio::test]
async fn a_report_becomes_a_row() {
    const NULL: &str = "NULL";
    for (line, expected) in [
        ("a:1|c", ["counter", "a", "1", "1", NULL, "here", NULL, NULL]),
        ("a:+01.50|g|@1|h:web", ["gauge", "a", "1.5", "+01.50", NULL, "web", NULL, NULL]),
        ("a:320.0|ms|@0.5|#x,y:z", ["timing", "a", "320.0", "320.0", r#"["x","y:z"]"#, "here", "0.5", NULL]),
        ("a:7:8|s", ["set", "a", NULL, "7:8", NULL, "here", NULL, NULL]),
        (r"a:b\|c\nd|e", ["event", "a", NULL, "b|c\nd", NULL, "here", NULL, NULL]),
        (
            "a:18446744073709551615|c",
            ["counter", "a", "1.8446744073709552e19", "18446744073709551615", NULL, "here", NULL, NULL],
        ),
        ("a:true|k", ["custom", "a", NULL, "true", NULL, "here", NULL, NULL]),
        ("a:null|k|m:seen", ["seen", "a", NULL, NULL, NULL, "here", NULL, NULL]),
        ("a:[1, \"b\"]|k", ["custom", "a", NULL, r#"[1, "b"]"#, NULL, "here", NULL, NULL]),
        ("a:\"b\\n\"|k", ["custom", "a", NULL, "b\n", NULL, "here", NULL, NULL]),
        ("a:\"12\"|k", ["custom", "a", NULL, "12", NULL, "here", NULL, NULL]),
        (
            r#"a:{"name":1,"x":{"y":[2]}}|k"#,
            ["custom", "a", NULL, NULL, NULL, "here", NULL, r#"{"name_":1,"x":{"y":[2]}}"#],
        ),
        (
            "_e{1,1}:a|b|p:low|t:error|c:pod",
            [
                "event",
                "a",
                NULL,
                "b",
                NULL,
                "here",
                NULL,
                r#"{"container_id":"pod","priority":"low","alert_type":"error"}"#,
            ],
        ),
        ("_sc|a|2|m:down", ["service_check", "a", "2", "2", NULL, "here", NULL, r#"{"message":"down"}"#]),
        (
            r#"{"name":"a","metric":"gauge","value":1e2,"tags":{"b":[1]},"fields":{"delta":true}}"#,
            ["gauge", "a", "100.0", "1e2", r#"{"b":[1]}"#, "here", NULL, r#"{"delta":true}"#],
        ),
    ] {
        assert_eq!(row(line.as_bytes()).await, expected, "{line}");
    }
    assert_eq!(row(b"a\xff:\xfe|s").await[..4], ["set", "a\u{fffd}", NULL, "\u{fffd}"]);
}

#[tokio::test]
async fn names_and_times_are_stored_as_they_are() {
    let subject = Sqlite::start().await;
    let flow = Flow::start(subject.sink());
    let long = "x".repeat(60 * 1024);
    flow.store(["nul\0name:1|c|T0.000000001".to_string(), format!("{long}:1|c|T9223372035")]).await;
    flow.store(["now:1|c"]).await;
    assert_eq!(flow.finish().await.delivered, 3);
    assert_eq!(subject.ask("SELECT name FROM reports ORDER BY time"), ["nul\0name", "now", &long]);
    let times = subject.ask("SELECT time FROM reports ORDER BY time");
    assert_eq!((&*times[0], &*times[2]), ("1", "9223372035000000000"));
    assert!(times[1].starts_with("1700000000"), "{times:?}");
}

#[tokio::test]
async fn a_record_has_one_id_however_often_it_comes() {
    let subject = Sqlite::start().await;
    for _ in 0..2 {
        let flow = Flow::start_deaf(subject.sink());
        flow.store(["packed:1:2:3|ms"]).await;
        flow.finish().await;
    }
    assert_eq!(subject.ask("SELECT value FROM reports"), ["1", "2", "3", "1", "2", "3"]);
    let ids = subject.ask("SELECT id FROM reports");
    assert_eq!(ids[1], format!("{}-1", ids[0]));
    assert_eq!(ids[2], format!("{}-2", ids[0]));
}

#[tokio::test]
async fn a_trigger_that_rolls_all_back_costs_only_its_record() {
    let mut subject = Sqlite::start().await;
    let flow = Flow::start(subject.sink());
    flow.store(["a:1|c"]).await;
    subject.refuse().await;
    subject
        .connect()
        .execute_batch(
            "DROP TRIGGER refuse;
             CREATE TRIGGER refuse BEFORE INSERT ON reports WHEN new.name = 'refused'
             BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END",
        )
        .unwrap();
    flow.store(["b:1|c", "c:1|c", "refused:1|c", "d:1|c"]).await;
    let terms = flow.finish().await;
    assert_eq!(terms.rejected.into_iter().collect::<Vec<_>>(), [("constraint".into(), 1)]);
    assert_eq!(subject.ask("SELECT name FROM reports ORDER BY name"), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_waited_for() {
    let subject = Sqlite::start().await;
    let folder = subject.config.path.parent().unwrap().to_owned();
    std::fs::write(&folder, "in the way").unwrap();
    let mut flow = Flow::start(subject.sink());
    let receipt = flow.send(["a:1|c"]).await;
    flow.in_trouble().await;
    assert!(flow.last_error().starts_with("cannot write to the folder "), "{}", flow.last_error());
    std::fs::remove_file(&folder).unwrap();
    crate::flow::settled(&receipt).await;
    assert_eq!(flow.finish().await.delivered, 1);
}

#[tokio::test]
async fn a_file_that_was_deleted_is_made_again() {
    let subject = Sqlite::start().await;
    let flow = Flow::start(subject.sink());
    flow.store(["a:1|c"]).await;
    std::fs::remove_file(&subject.config.path).unwrap();
    flow.store(["b:1|c"]).await;
    assert_eq!(subject.names().await, ["b"]);
    flow.finish().await;
}

#[tokio::test]
async fn closing_leaves_one_whole_file() {
    let subject = Sqlite::start().await;
    let flow = Flow::start(subject.sink());
    flow.store(["a:1|c"]).await;
    flow.finish().await;
    let folder = subject.config.path.parent().unwrap();
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["reports.db"], "the log is in the file");
}

#[tokio::test]
async fn a_probe_tells_whether_the_file_can_be_written_and_makes_none() {
    let subject = Sqlite::start().await;
    let sink = subject.sink();
    sink.probe().await.unwrap();
    assert!(!subject.config.path.parent().unwrap().exists());
    std::fs::create_dir_all(&subject.config.path).unwrap();
    let error = sink.probe().await.unwrap_err();
    assert!(error.contains("reports.db: unable to open database file"), "{error}");
    std::fs::remove_dir(&subject.config.path).unwrap();
    subject.connect().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let error = sink.probe().await.unwrap_err();
    assert!(error.contains("is a database of something else"), "{error}");
    assert!(subject.config.build("sqlite").is_err());
}

/// The fenced blocks of a language in a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    page.split(&open).skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

#[tokio::test]
async fn the_examples_of_its_page_are_right() {
    let page = include_str!("../../docs/sqlite.md");
    for (block, whole) in blocks(page, "toml").into_iter().zip([false, true]) {
        let mut table: toml::Table = toml::from_str(block).unwrap();
        let mut sink = table.remove("sink").unwrap().as_array().unwrap()[0].as_table().unwrap().clone();
        assert_eq!(sink.remove("type").unwrap().as_str(), Some("sqlite"));
        assert_eq!(sink.len(), if whole { 4 } else { 0 }, "all keys");
        let config: Config = sink.try_into().unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    let subject = Sqlite::start().await;
    let flow = Flow::start(subject.sink());
    flow.store([
        "web.requests:2|c|T1700000000",
        "web.requests:1|c|@0.1|T1700003600",
        "queue.length:7|g|T1700000000",
        "deploy:v42|event|#env:prod,team:a",
        "deploy:v43|event|#env:test",
        r#"{"name":"login","metric":"seen","value":{"user":"ann"},"tags":{"env":"prod"}}"#,
    ])
    .await;
    flow.finish().await;
    let queries: Vec<&str> =
        blocks(page, "sql").into_iter().flat_map(|block| block.split_terminator(";\n")).collect();
    let expected = [
        "12.0",
        "2023-11-14 22:00|2\n2023-11-14 23:00|10.0",
        "2023-11-14 22:13:20|7",
        "deploy|v42",
        "login|ann",
    ];
    assert_eq!(queries.len(), expected.len());
    for (query, expected) in queries.into_iter().zip(expected) {
        let shell = std::process::Command::new("sqlite3")
            .arg("-readonly")
            .arg(&subject.config.path)
            .arg(query)
            .output()
            .expect("the tests need the sqlite3 shell");
        let printed = String::from_utf8(shell.stdout).unwrap();
        assert_eq!(printed.trim_end(), expected, "{query} {}", String::from_utf8_lossy(&shell.stderr));
    }
}
