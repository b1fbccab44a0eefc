//! Jobs of other functions in the queue.

use std::collections::BTreeMap;

use super::{NEW, REPORT, assert_books, books, config, counter, letters, list, push, until_settled};
use crate::client::{self, assert_each_once};
use crate::process::Daemon;
use crate::redis::Server;

#[test]
fn a_job_of_another_function_stays_where_it_is_and_rqs_worker_runs_it() {
    if !client::have() {
        return;
    }
    let Some(server) = Server::start("rq_others") else { return };
    // More of them than are looked at once, before, between and behind ours; one holds a class, which is not read.
    let script = format!(
        "import rq, redis, types, sys\n\
         sys.modules['shop'] = module = types.ModuleType('shop')\n\
         class User: pass\n\
         User.__module__, module.User = 'shop', User\n\
         queue = rq.Queue('kaneda', connection=redis.Redis.from_url('{}'))\n\
         for number in range(500):\n\
         \x20   queue.enqueue('shop.mail', number, job_id='mail-%d' % number)\n\
         \x20   if number % 100 == 0: queue.enqueue('{REPORT}', 'a', 'gauge', number, None, None)\n\
         queue.enqueue('{REPORT}', 'a', 'gauge', 500, None, None)\n\
         queue.enqueue('shop.mail', User(), job_id='user')",
        server.url
    );
    client::end(client::python(&["-c", &script]));
    let fields = |id: &str| server.ask::<BTreeMap<String, Vec<u8>>>(&format!("HGETALL rq:job:{id}"));
    let before: Vec<_> = ["mail-0", "mail-499", "user"].map(fields).into();
    let daemon = Daemon::start(&config(&server, ""));
    until_settled(&daemon, 6);
    // What comes when all was looked at is seen as well.
    push(&server, "kaneda", REPORT, "late", &NEW);
    until_settled(&daemon, 7);
    let mut left: Vec<_> = (0..500).map(|number| format!("mail-{number}")).collect();
    left.push("user".to_owned());
    assert_eq!(list(&server), left);
    assert_eq!(["mail-0", "mail-499", "user"].map(fields).to_vec(), before);
    let status = daemon.status();
    assert_eq!(counter(&status, "messages"), 7);
    daemon.end();

    // Its worker runs them, but for the class that it cannot find.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("done");
    let arguments = ["tests/queues/rq_worker.py", &server.url, "kaneda", file.to_str().unwrap(), "burst"];
    client::end(client::python(&arguments));
    let done = std::fs::read_to_string(&file).unwrap();
    assert_each_once(done.lines().map(str::to_owned).collect(), 500);
    assert_books(&books(&server, "kaneda"), 0, [0, 507, 1]);
}

#[test]
fn a_job_of_another_function_fails_if_told_so() {
    let Some(server) = Server::start("rq_letters") else { return };
    push(&server, "kaneda", "shop.mail", "other", &NEW);
    let daemon = Daemon::start(&config(&server, "other_jobs = 'dead_letter'"));
    until_settled(&daemon, 1);
    let (_, ended) = daemon.end();
    assert_eq!(server.ask::<String>("HGET rq:job:other status"), "failed");
    assert_eq!(
        (letters(&ended)[0]["id"].as_str(), letters(&ended)[0]["reason"].as_str()),
        (Some("other"), Some("other_task"))
    );
}

#[test]
fn a_job_of_another_function_is_looked_at_once() {
    let Some(server) = Server::start("rq_once") else { return };
    let mail = |name: &str| push(&server, "kaneda", "shop.mail", name, &NEW);
    let commands = server.watched(|| {
        // More than are looked at at once.
        (0..250).for_each(|number| mail(&format!("mail-{number}")));
        push(&server, "kaneda", REPORT, "last", &NEW);
        let daemon = Daemon::start(&config(&server, ""));
        until_settled(&daemon, 1);
        push(&server, "kaneda", REPORT, "behind", &NEW);
        until_settled(&daemon, 2);
        // Nor when the books are looked after.
        let worker: Vec<String> = server.ask("SMEMBERS rq:workers:kaneda");
        let heard = || server.ask::<String>(&format!("HGET {} last_heartbeat", worker[0]));
        let before = heard();
        daemon.until("looked after", |_| heard() != before);
        push(&server, "kaneda", REPORT, "late", &NEW);
        until_settled(&daemon, 3);
        daemon.end();
    });
    let looks = |name: &str| {
        let look = format!("\"HMGET\" \"rq:job:{name}\" \"data\"");
        commands.iter().filter(|command| command.contains(&look)).count()
    };
    assert_eq!(list(&server).len(), 250);
    for id in list(&server) {
        assert_eq!(looks(&id), 1, "{id}");
    }
}

#[test]
fn a_report_that_comes_to_the_front_is_taken() {
    let Some(server) = Server::start("rq_front") else { return };
    (0..250).for_each(|number| push(&server, "kaneda", "shop.mail", &format!("mail-{number}"), &NEW));
    push(&server, "kaneda", REPORT, "last", &NEW);
    let daemon = Daemon::start(&config(&server, ""));
    until_settled(&daemon, 1);
    server.ask::<()>("SET rq:suspended 1");
    push(&server, "kaneda", REPORT, "front", &NEW);
    let moved: String = server.ask("LMOVE rq:queue:kaneda rq:queue:kaneda RIGHT LEFT");
    assert_eq!(moved, "front");
    server.ask::<()>("DEL rq:suspended");
    until_settled(&daemon, 2);
    daemon.end();
    assert_eq!(list(&server).len(), 250);
}
