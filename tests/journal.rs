//! `kaneda journal`, on a journal of the first format, which every later version has to read.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/journal");
const SEGMENT: &str = "00000000000000000001.log";

/// Runs `kaneda journal` with these words and a folder.
fn journal(words: &[&str], folder: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kaneda"));
    let Output { status, stdout, stderr } =
        command.env_clear().arg("journal").args(words).arg(folder).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A copy of the fixture, for what changes it.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(FIXTURE).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

#[test]
fn a_journal_of_the_first_format_is_read() {
    let (code, out, err) = journal(&["cat"], Path::new(FIXTURE));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, fs::read_to_string(Path::new(FIXTURE).join("records.jsonl")).unwrap());
    let (code, out, _) = journal(&["verify"], Path::new(FIXTURE));
    assert_eq!((code, out.as_str()), (0, "1 segments, 5 entries, 15 records, 2 cursors, 0 queues\n"));
    // Looking changes nothing.
    assert!(!Path::new(FIXTURE).join("lock").exists());
}

#[test]
fn ls_says_how_far_each_sink_has_come() {
    let (code, out, _) = journal(&["ls"], Path::new(FIXTURE));
    assert_eq!(code, 0);
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..5], [SEGMENT, "9", "5", "15", "1096"]);
    assert_eq!(rows[4], ["log", "2", "6", "3", "9", "4", "1", "1"]);
    // The three of entry 9, and the two that are undecided.
    assert_eq!(rows[5], ["sqlite", "6", "5", "11", "4", "1", "1"]);
}

#[test]
fn verify_says_what_is_damaged_and_where_and_ends_with_1() {
    let folder = copy();
    let path = folder.path().join(SEGMENT);
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[70] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (code, out, _) = journal(&["verify"], folder.path());
    assert_eq!(code, 1);
    assert!(out.starts_with(&format!("{SEGMENT}: byte 48, ")), "{out}");
    assert!(out.ends_with("1 segments, 4 entries, 11 records, 2 cursors, 0 queues\n"), "{out}");
    // An unfinished end is no damage.
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let (code, out, _) = journal(&["verify"], folder.path());
    assert_eq!(code, 0);
    assert!(out.contains("unfinished") && out.contains(" 4 entries"), "{out}");
    fs::write(&path, &whole).unwrap();
    fs::write(folder.path().join("sqlite.cursor"), b"KANEDACU").unwrap();
    let (code, out, _) = journal(&["verify"], folder.path());
    assert_eq!(code, 1);
    assert!(out.contains("sqlite.cursor is damaged"), "{out}");
}

/// What is known of a queue, as `docs/journal.md` has it: one message listed, `next` above all.
fn known() -> Vec<u8> {
    let mut checked = 1_u32.to_le_bytes().to_vec();
    checked.extend_from_slice(&100_u64.to_le_bytes());
    checked.extend_from_slice(&1_u32.to_le_bytes());
    checked.extend_from_slice(&1_795_374_000_000_000_000_i64.to_le_bytes());
    checked.extend_from_slice(&6_u32.to_le_bytes());
    checked.extend_from_slice(b"task-1");
    [b"KANEDAKN", &crc32c::crc32c(&checked).to_le_bytes()[..], &checked].concat()
}

#[test]
fn a_queue_is_listed_verified_and_forgotten() {
    let folder = copy();
    fs::write(folder.path().join("my%20queue.known"), known()).unwrap();
    let (code, out, _) = journal(&["ls"], folder.path());
    assert_eq!(code, 0);
    let last = out.lines().last().unwrap();
    assert_eq!((last.starts_with("my queue "), last.split_whitespace().last()), (true, Some("1")), "{out}");
    let (code, out, _) = journal(&["verify"], folder.path());
    assert_eq!((code, out.ends_with(" 2 cursors, 1 queues\n")), (0, true), "{out}");
    let (code, _, err) = journal(&["forget", "my queue"], folder.path());
    assert_eq!((code, err.contains("no cursor of a sink my queue")), (1, true), "{err}");
    let (code, _, err) = journal(&["forget", "--source", "log 2"], folder.path());
    assert_eq!((code, err.contains("no queue of a source log 2; there are: my queue")), (1, true), "{err}");
    let (code, out, err) = journal(&["forget", "--source", "my queue"], folder.path());
    assert_eq!((code, out.as_str()), (0, "forgot my queue, of which 1 messages were known\n"), "{err}");
    assert!(!folder.path().join("my%20queue.known").exists());
    fs::write(folder.path().join("celery.known"), b"KANEDAKN").unwrap();
    let (code, out, _) = journal(&["verify"], folder.path());
    assert_eq!((code, out.contains("celery.known is damaged")), (1, true), "{out}");
    let (_, out, _) = journal(&["ls"], folder.path());
    assert!(out.contains("celery.known is damaged"), "{out}");
}

#[test]
fn a_sink_is_forgotten_but_not_while_a_daemon_runs() {
    let folder = copy();
    let (code, _, err) = journal(&["forget", "mongodb"], folder.path());
    assert_eq!((code, err.contains("there are: log 2, sqlite")), (1, true), "{err}");
    let lock = fs::File::open(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let (code, _, err) = journal(&["forget", "sqlite"], folder.path());
    assert_eq!((code, err.contains("another kaneda uses it")), (1, true), "{err}");
    drop(lock);
    let (code, out, err) = journal(&["forget", "sqlite"], folder.path());
    assert_eq!((code, out.contains("for which 5 records waited")), (0, true), "{out}{err}");
    assert!(!folder.path().join("sqlite.cursor").exists());
    assert!(folder.path().join("log%202.cursor").exists());
    let absent = folder.path().join("absent");
    assert_eq!(journal(&["forget", "sqlite"], &absent).0, 1);
    assert!(!absent.exists());
}
