//! The queue that `docs/from-kaneda.md` shows: it sends lines, and throws nothing into the application.

use std::fs;

use crate::client;
use crate::process::{Daemon, SQLITE, count, source};

const PAGE: &str = include_str!("../../docs/from-kaneda.md");

/// What is awkward, each of its own name; the last does not come anywhere.
const MAIN: &str = r#"
import datetime
import decimal
import sys
import uuid

logging.basicConfig(format="%(message)s")
metrics = Metrics(queue=LineQueue(port=int(sys.argv[1])))
metrics.gauge("plain", 13, tags=["a", "b:c"])
metrics.gauge("tags.object", 1, tags={"zone": "eu", "rack": 7})
metrics.gauge("tags.numbers", 1, tags=[7, None, ["x"]])
metrics.gauge("tags.text", 1, tags="alone")
metrics.gauge("tags.number", 1, tags=7)
metrics.gauge("tags.none", 1, tags=[])
metrics.gauge("decimal", decimal.Decimal("1.50"))
metrics.event("time", datetime.datetime(2026, 1, 2, 3, 4, 5))
metrics.custom("object", "custom", {"at": datetime.date(2026, 1, 2), "of": {1: object}}, id_=uuid.UUID(int=7))
metrics.custom("id.empty", "custom", 1, id_="")
metrics.event("long", "x" * 60000)
metrics.event("too.long", "x" * 70000)
metrics.gauge("nan", float("nan"))
metrics.custom("key", "custom", {(1, 2): 3})
metrics.custom("id.long", "custom", 1, id_="x" * 128)
away = LineQueue(port=1)
for _ in range(4):
    away.report("away", "gauge", 1, None, None)
"#;

#[test]
fn the_queue_of_the_page_sends_what_it_can_and_throws_nothing() {
    if !client::have() {
        return;
    }
    let daemon = Daemon::start(&format!("{}{SQLITE}", source("udp")));
    let text = PAGE.split("```python\n").find(|text| text.contains("class LineQueue")).unwrap();
    let text = text.split("```").next().unwrap();
    let script = daemon.path("line.py");
    fs::write(&script, ["from kaneda import Metrics\n", text, MAIN].concat()).unwrap();
    let port = daemon.address("udp").port().to_string();
    let output = client::command(&[script.to_str().unwrap(), &port]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let lost: Vec<_> = said.lines().map(|line| line.split(" is lost: ").next().unwrap()).collect();
    assert_eq!(lost, ["too.long", "nan", "key", "away", "away"], "{said}");
    daemon.until_delivered("sqlite", 11);
    // What is refused comes behind the others.
    let status = daemon.until("the last line", |status| count(&status["lines"]["received"]) == 12);
    assert_eq!(count(&status["lines"]["rejected"]["bad_id"]), 1);
    let mut rows = daemon.stored(11, "metric, name, substr(text, 1, 20), tags, extra");
    rows.sort();
    assert_eq!(
        rows,
        [
            r#"custom id.empty 1 - -"#,
            r#"custom object - - {"at":"2026-01-02","of":{"1": "<class 'object'>"}}"#,
            r#"event long xxxxxxxxxxxxxxxxxxxx - -"#,
            r#"event time 2026-01-02 03:04:05 - -"#,
            r#"gauge decimal 1.50 - -"#,
            r#"gauge plain 13 ["a","b:c"] -"#,
            r#"gauge tags.none 1 - -"#,
            r#"gauge tags.number 1 ["7"] -"#,
            r#"gauge tags.numbers 1 ["7","None","['x']"] -"#,
            r#"gauge tags.object 1 {"zone": "eu", "rack": 7} -"#,
            r#"gauge tags.text 1 ["alone"] -"#,
        ]
    );
}
