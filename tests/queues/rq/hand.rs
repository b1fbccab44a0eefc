//! What is in hand when the daemon, its Redis or its store goes away.

use std::io::{BufRead, BufReader};
use std::thread::JoinHandle;

use serde_json::Value;

use super::{
    NEW, REPORT, assert_books, assert_clean, books, config, counter, deflated, list, push, push_data,
    until_settled,
};
use crate::client::{self, assert_each_once};
use crate::process::{Daemon, NO_JOURNAL, SQLITE, Start, count, named};
use crate::redis::Server;

#[test]
fn a_daemon_that_is_killed_loses_nothing_and_stores_nothing_twice() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_kill") else { return };
    client::end(client::start(&["rq", &server.url, "kaneda", "3000"]));
    // Few at a time, so that it is not done with all of them by then.
    let killed = Daemon::start(&config(&server, "prefetch = 50"));
    killed.until("some settled", |status| counter(status, "messages_acknowledged") > 300);
    let has_some = killed.stop_when(|| server.ask::<u64>("ZCARD rq:wip:kaneda") > 0);
    assert!(has_some, "it had nothing in hand");
    let ended = killed.kill();
    let daemon = Start::again(ended).daemon();
    daemon.until("the queue empty", |status| {
        counter(status, "messages_restored") > 0
            && list(&server).is_empty()
            && server.ask::<u64>("ZCARD rq:wip:kaneda") == 0
    });
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("cast(value as integer)"), 3000);
    assert_books(&books(&server, "kaneda"), 0, [0, 3000, 0]);
}

#[test]
fn a_redis_that_is_killed_comes_back_with_all_that_was_not_settled() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_broker") else { return };
    client::end(client::start(&["rq", &server.url, "kaneda", "2000"]));
    let daemon = Daemon::start(&config(&server, "prefetch = 300"));
    daemon.until_delivered("sqlite", 300);
    server.restart();
    daemon.until("the queue empty", |_| {
        list(&server).is_empty() && server.ask::<u64>("ZCARD rq:wip:kaneda") == 0
    });
    daemon.until_delivered("sqlite", 2000);
    assert_clean(&server);
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("cast(value as integer)"), 2000);
    assert_books(&books(&server, "kaneda"), 0, [0, 2000, 0]);
}

#[cfg(feature = "influxdb")]
#[test]
fn what_is_not_stored_at_the_end_is_back_in_the_queue_in_its_order() {
    let Some(server) = Server::start("rq_end") else { return };
    let ids: Vec<_> = (0..450).map(|number| format!("job-{number}")).collect();
    for (at, id) in ids.iter().enumerate() {
        // Old ones among new ones.
        push(&server, "kaneda", REPORT, id, if at % 3 == 0 { &[] } else { &NEW });
    }
    server.ask::<()>("HSET rq:job:job-7 ttl 1000");
    server.ask::<()>("EXPIRE rq:job:job-7 1000");
    // A store that is away, and nothing else that would keep them.
    let source = config(&server, "prefetch = 300");
    let source = source.strip_suffix(SQLITE).unwrap();
    let sink = "[[sink]]\ntype = 'influxdb'\nconnection_url = 'http://127.0.0.1:1'\ndatabase = 'k'\n";
    let daemon = Daemon::start(&format!("{}{source}{sink}", NO_JOURNAL));
    daemon.until("all in hand", |_| server.ask::<u64>("ZCARD rq:wip:kaneda") == 300);
    assert_eq!(server.ask::<i64>("TTL rq:job:job-7"), -1);
    daemon.signal("TERM");
    assert!(crate::process::wait(|| server.ask::<u64>("ZCARD rq:wip:kaneda") == 0));
    daemon.ended();
    assert_eq!(list(&server), ids);
    assert_eq!(server.ask::<String>("HGET rq:job:job-0 status"), "queued");
    assert!(server.ask::<i64>("TTL rq:job:job-7") > 900);
    assert_eq!(server.ask::<Vec<String>>("SMEMBERS rq:workers"), [""; 0]);
    assert_clean(&server);
}

#[cfg(feature = "influxdb")]
#[test]
fn jobs_of_a_daemon_that_lives_are_left_to_it_and_of_one_that_was_killed_are_taken_up() {
    let Some(server) = Server::start("rq_two") else { return };
    for number in 0..20 {
        push(&server, "kaneda", REPORT, &format!("job-{number}"), &NEW);
    }
    let both = config(&server, "");
    // It takes no more than these.
    let source = config(&server, "prefetch = 20");
    let source = source.strip_suffix(SQLITE).unwrap();
    let sink = "[[sink]]\ntype = 'influxdb'\nconnection_url = 'http://127.0.0.1:1'\ndatabase = 'k'\n";
    let first = Daemon::start(&format!("{}{source}{sink}", NO_JOURNAL));
    first.until("all in hand", |_| server.ask::<u64>("ZCARD rq:wip:kaneda") == 20);
    let mut second = None;
    let commands = server.watched(|| {
        let daemon = second.insert(Daemon::start(&both));
        push(&server, "kaneda", REPORT, "late", &NEW);
        let status = until_settled(daemon, 1);
        assert_eq!((counter(&status, "messages"), counter(&status, "messages_restored")), (1, 0));
    });
    let second = second.unwrap();
    // It has asked whose they are, and not what is in them.
    let of_first: Vec<_> = commands.iter().filter(|command| command.contains("rq:job:job-")).collect();
    assert!(
        of_first.len() >= 20 && !of_first.iter().any(|command| command.contains("data")),
        "{of_first:#?}"
    );
    assert_eq!(server.ask::<u64>("ZCARD rq:wip:kaneda"), 20);
    first.kill();
    let third = Daemon::start(&both);
    third.until("all taken up", |status| counter(status, "messages_restored") == 20);
    third.until("all stored", |status| {
        counter(status, "messages_acknowledged") + counter(&second.status(), "messages_acknowledged") == 21
    });
    assert_eq!(server.ask::<u64>("ZCARD rq:finished:kaneda"), 21);
    second.end();
    third.end();
}

#[test]
fn what_happens_in_the_queue_while_no_sink_has_room_counts() {
    for is_suspended in [false, true] {
        let Some(server) = Server::start("rq_waits") else { return };
        let jobs = 140;
        let mut daemon = held_up(&server, jobs);
        // The source has looked at the others; it takes them when there is room.
        daemon.until("some in hand", |_| server.ask::<u64>("ZCARD rq:wip:kaneda") > 0);
        server.ask::<()>("DEL rq:job:job-139");
        if is_suspended {
            server.ask::<()>("SET rq:suspended 1");
        }
        // From now on nothing is taken of it while workers are suspended.
        let left = list(&server);
        let gone = u64::from(!left.iter().any(|id| id == "job-139"));
        let values = read_on(&mut daemon);
        if is_suspended {
            let workers: Vec<String> = server.ask("SMEMBERS rq:workers:kaneda");
            let state = || server.ask::<String>(&format!("HGET {} state", workers[0]));
            until_settled(&daemon, jobs - left.len() as u64 - gone);
            daemon.until("suspended", |_| state() == "suspended");
            assert_eq!(list(&server), left);
            server.ask::<()>("DEL rq:suspended");
        }
        until_settled(&daemon, jobs - 1);
        daemon.until("gone", |status| counter(status, "messages_expired") == 1);
        assert_eq!(list(&server).len(), 0);
        daemon.end();
        assert_each_once(values.join().unwrap(), jobs - 1);
        assert_clean(&server);
    }
}

#[test]
fn of_jobs_that_are_much_longer_inflated_each_is_taken() {
    let Some(server) = Server::start("rq_inflated") else { return };
    let jobs = 150;
    for number in 0..jobs {
        let call = format!("(V{REPORT}\nN(V{number}\nVgauge\nV{}\nNNt(dt.", "x".repeat(50_000));
        push_data(&server, "kaneda", &format!("job-{number}"), &deflated(call.as_bytes()), &NEW);
    }
    let daemon = Daemon::start(&config(&server, ""));
    until_settled(&daemon, jobs);
    let (_, ended) = daemon.end();
    assert_each_once(ended.rows("name"), jobs);
    assert_clean(&server);
}

/// A daemon without a journal that takes these jobs, for which its sink has no room: nobody reads what it writes.
fn held_up(server: &Server, jobs: u64) -> Daemon {
    for number in 0..jobs {
        let text = format!("{number}-{}", "x".repeat(50_000));
        let call = format!("(V{REPORT}\nN(Vheld\nVgauge\nV{text}\nNNt(dt.");
        push_data(server, "kaneda", &format!("job-{number}"), call.as_bytes(), &NEW);
    }
    let source = config(server, "");
    let source = source.strip_suffix(SQLITE).unwrap();
    let log = "[[sink]]\ntype = 'log'\nflush_interval = '1ms'\nbatch_max_bytes = '64KiB'\n\
        ring_bytes = '64KiB'\nbacklog_bytes = '64KiB'\n";
    Start::with(&format!("{NO_JOURNAL}{source}{log}")).pipe().daemon()
}

/// Reads what it writes: the numbers of the jobs.
fn read_on(daemon: &mut Daemon) -> JoinHandle<Vec<String>> {
    let lines = BufReader::new(daemon.stdout());
    let value = |line: std::io::Result<String>| {
        let document: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let value = document["value"].as_str().unwrap();
        value.split_once('-').unwrap().0.to_owned()
    };
    std::thread::spawn(move || lines.lines().map(value).collect())
}

#[test]
fn a_redis_that_dies_while_no_sink_has_room_is_told_what_is_in_hand_when_it_is_back() {
    let Some(server) = Server::start("rq_held") else { return };
    // The source takes all of it at once.
    let jobs = 70;
    let mut daemon = held_up(&server, jobs);
    let state = |status: &Value| {
        let source = named(&status["sources"], "rq");
        (count(&source["connections"]), source["state"].as_str().unwrap().to_owned())
    };
    let (here, away) = ((1, "ok".to_owned()), (0, "retrying".to_owned()));
    let in_hand = || server.ask::<u64>("ZCARD rq:wip:kaneda");
    daemon.until("all in hand", |status| state(status) == here && in_hand() == jobs);
    server.kill();
    daemon.until("alone", |status| state(status) == away);
    server.restart();
    daemon.until("back", |status| state(status) == here);
    let workers: Vec<String> = server.ask("SMEMBERS rq:workers:kaneda");
    assert_eq!(server.ask::<String>(&format!("HGET {} state", workers[0])), "busy");
    assert!(server.ask::<String>("CLIENT LIST").contains(workers[0].strip_prefix("rq:worker:").unwrap()));
    // One that starts now sees that they are in good hands.
    let second = Daemon::start(&config(&server, ""));
    push(&server, "kaneda", REPORT, "late", &NEW);
    let status = until_settled(&second, 1);
    assert_eq!((counter(&status, "messages_restored"), in_hand()), (0, jobs));
    second.end();

    let values = read_on(&mut daemon);
    until_settled(&daemon, jobs);
    assert_eq!(server.ask::<u64>("ZCARD rq:finished:kaneda"), jobs + 1);
    daemon.end();
    assert_each_once(values.join().unwrap(), jobs);
    assert_clean(&server);
}
