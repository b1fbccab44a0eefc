//! Dead letters of InfluxDB, which has no ids: a replay stores each at the time its point would have had.

#[allow(dead_code, reason = "it is asked less here than in its own tests")]
#[path = "../influxdb/server.rs"]
mod server;

use serde_json::{Value, json};

use crate::letters::{letters, rejected, replay, send};
use crate::process::{Daemon, source};
use server::Server;

const DEAD: &str = "kaneda-data/dead/influxdb.jsonl";
/// `T1700000000` as InfluxDB counts.
const SECOND: i64 = 1_700_000_000_000_000_000;

#[tokio::test]
async fn a_point_that_was_refused_is_stored_once_by_replays_at_the_time_it_would_have_had() {
    let Some(server) = Server::start("replay") else { return };
    let store = format!(
        "[[sink]]\ntype = 'influxdb'\nconnection_url = '{}'\ndatabase = '{}'\nuser = '{}'\npassword = '{}'\n\
         flush_interval = '10ms'\ntimeout = '30s'\n",
        server.url, server.database, server.user, server.password
    );
    let daemon = Daemon::start(&(source("tcp") + &store));
    // From now on the field is a number, in the shard of this week and in that of the second.
    send(&daemon, "q:{\"took\":1}|k|m:query\nq:{\"took\":1}|k|m:query|T1700000000\n");
    daemon.until_delivered("influxdb", 2);
    let refused = "q:{\"took\":\"long\"}|k|m:query";
    send(
        &daemon,
        &format!(
            "q:{{\"took\":2}}|k|m:query\n{refused}\nq:{{\"took\":3}}|k|m:query\n\
             {refused}|T1700000000\n{refused}|T1700000000\n{refused}|T1700000000|i:mine\n"
        ),
    );
    daemon.until_delivered("influxdb", 4);
    rejected(&daemon, "influxdb", 4);
    let mut found = letters(&daemon.path(DEAD));
    assert!(found.len() == 4 && found.iter().all(|letter| letter["reason"] == "type_conflict"), "{found:?}");
    let position = |letter: &Value| letter["position"].as_i64().unwrap();
    found.sort_by_key(position);
    let neighbours = server.rows("SELECT took FROM \"query\" WHERE took > 1").await;
    let neighbours: Vec<i64> = neighbours.iter().map(|row| row["time"].as_i64().unwrap()).collect();

    server.query("DROP MEASUREMENT \"query\"").await;
    for _ in 0..2 {
        assert_eq!(replay(&daemon, &[DEAD]), (0, "4 delivered\n".to_owned()));
        let rows = server.rows("SELECT took, id FROM \"query\" WHERE took = 'long'").await;
        let mut times: Vec<i64> = rows.iter().map(|row| row["time"].as_i64().unwrap()).collect();
        let mine = rows.iter().position(|row| row.get("id") == Some(&json!("mine"))).unwrap();
        assert_eq!(times.remove(mine) / 1_000_000_000, SECOND / 1_000_000_000);
        let mut expected: Vec<i64> =
            found[1..3].iter().map(|letter| SECOND + position(letter) % 1_000_000_000).collect();
        let received: jiff::Timestamp = found[0]["received"].as_str().unwrap().parse().unwrap();
        expected.push(received.as_nanosecond() as i64);
        assert_eq!(times, expected);
        assert!(neighbours[0] < times[2] && times[2] < neighbours[1], "{neighbours:?} {times:?}");
    }
    daemon.end();
}
