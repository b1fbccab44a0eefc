//! The first lines on stderr: what runs where, and what to try next.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::status::{JournalState, Status};

/// A line for each source, each sink and the admin pages of a daemon that has just started; with what to try next
/// if `is_first_try`: it runs without a configuration.
///
/// Scripts read the addresses from here, since only a daemon that runs knows which port it got for port 0.
pub fn greeting(status: &Status, admin: SocketAddr, is_first_try: bool) -> String {
    // Writing to a String does not fail.
    let mut text = String::new();
    for source in &status.sources {
        let _ = writeln!(text, "kaneda: source {} ({}) on {}", source.name, source.kind, source.listen);
    }
    for sink in &status.sinks {
        let to = if sink.place.is_empty() { "" } else { " to " };
        let _ = writeln!(text, "kaneda: sink {} ({}){to}{}", sink.name, sink.kind, sink.place);
    }
    if let Some(journal) = &status.journal {
        let _ = write!(text, "kaneda: journal in {}", journal.path);
        if journal.state == JournalState::Memory {
            let error = journal.last_error.as_deref().unwrap_or("it is not open");
            let _ = write!(text, ": in memory only: {error}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "kaneda: admin on http://{admin}");
    if is_first_try {
        text.push_str(NEXT);
    }
    text
}

const NEXT: &str = "\
kaneda: no configuration file: these are the defaults; `kaneda --help` says more. Try, in another terminal:
kaneda:   kaneda send 'signups:1|c|#plan:pro'
kaneda:   sqlite3 kaneda-data/reports.db 'select * from reports'
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Journal, Sink, Source};

    #[test]
    fn it_says_what_runs_where_and_the_real_ports() {
        let status = Status {
            sources: vec![Source {
                name: "edge".into(),
                kind: "udp",
                listen: "127.0.0.1:40001".into(),
                ..Source::default()
            }],
            sinks: vec![Sink {
                name: "store".into(),
                kind: "sqlite",
                place: "r.db".into(),
                ..Sink::default()
            }],
            ..Status::default()
        };
        let journal = Some(Journal { path: "data/journal".into(), ..Journal::default() });
        let with_journal = Status { journal, ..status.clone() };
        let admin = SocketAddr::from(([127, 0, 0, 1], 40002));
        assert!(greeting(&with_journal, admin, false).contains("r.db\nkaneda: journal in data/journal\n"));
        let journal = Journal {
            path: "data/journal".into(),
            state: JournalState::Memory,
            last_error: Some("lock: Read-only file system".into()),
            ..Journal::default()
        };
        let in_memory = Status { journal: Some(journal), ..status.clone() };
        let line = "\nkaneda: journal in data/journal: in memory only: lock: Read-only file system\n";
        assert!(greeting(&in_memory, admin, false).contains(line));
        let short = greeting(&status, admin, false);
        assert_eq!(
            short,
            "kaneda: source edge (udp) on 127.0.0.1:40001\nkaneda: sink store (sqlite) to r.db\n\
             kaneda: admin on http://127.0.0.1:40002\n"
        );
        assert_eq!(greeting(&status, admin, true), format!("{short}{NEXT}"));
    }
}
