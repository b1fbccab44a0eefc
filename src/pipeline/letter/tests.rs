//! The files on a real file system: what is in them after crashes, rotations and strangers.

use std::fs;
use std::path::PathBuf;

use super::document::Read;
use super::files::Files;
use super::*;
use crate::protocol::{Limits, parse};
use crate::record::{Dialect, LineOrigin, OpenChunk, Origin};

struct Folder {
    folder: tempfile::TempDir,
    counters: Counters,
}

fn letter(line: &str, id: &str) -> Letter {
    let origin = Origin { source: "test".into(), dialect: Dialect::Kaneda, host: "box".into() };
    let mut open = OpenChunk::new(origin);
    open.begin_read(1_795_374_000_123_456_789);
    open.append(line.as_bytes());
    open.set_line_origin(LineOrigin { at: 0, id: id.into(), time: None, position: None });
    let (bytes, table) = open.parts();
    let line = &bytes[..line.len()];
    parse(line, Dialect::Kaneda, &Limits::default(), &mut |record| table.push(&record, bytes, 0)).unwrap();
    let rejection = Arc::new(Rejection { reason: "bad", detail: "it \"says\" no".into() });
    Letter { chunk: Arc::new(open.close().unwrap()), index: 0, rejection }
}

/// Letters of reports with ids of ours.
fn letters(ids: impl IntoIterator<Item = u32>) -> Vec<Letter> {
    ids.into_iter().map(|id| letter("a:1|c", &format!("id-{id}"))).collect()
}

impl Folder {
    fn new() -> Self {
        Folder { folder: tempfile::tempdir().unwrap(), counters: Counters::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("dead").join(name)
    }

    fn files(&self, max_size: u64, max_files: usize) -> Files {
        Files::new(self.path("x.jsonl"), max_size, max_files)
    }

    fn write(&self, files: &mut Files, letters: &[Letter]) {
        files.write("x", letters.iter(), &self.counters).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The ids in a file, `?` for a line that is no letter.
    fn ids(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let key = |line: &str| Read::of(line.as_bytes()).ok().and_then(|letter| letter.key());
        text.lines().map(|line| key(line).unwrap_or("?".into())).collect()
    }

    fn all(&self) -> Vec<String> {
        self.names().iter().flat_map(|name| self.ids(name)).collect()
    }
}

fn names(ids: impl IntoIterator<Item = u32>) -> Vec<String> {
    ids.into_iter().map(|id| format!("id-{id}")).collect()
}

#[test]
fn a_letter_says_all_that_replaying_takes() {
    let folder = Folder::new();
    folder.write(
        &mut folder.files(9999, 1),
        &[letter("a:1|c|#b|T1795374000.50", "own"), letter("a:1|c|i:mine", "")],
    );
    let text = fs::read_to_string(folder.path("x.jsonl")).unwrap();
    let without_time = |line: &str| {
        let (start, end) = line.split_once("\",").unwrap();
        assert!(start.starts_with("{\"time\":\"20"), "{line}");
        end.to_owned()
    };
    let lines: Vec<_> = text.lines().map(without_time).collect();
    assert_eq!(
        lines,
        [
            r#""received":"2026-11-22T19:00:00.123456791Z","sink":"x","reason":"bad","detail":"it \"says\" no","own_id":true,"position":2,"report":{"metric":"counter","name":"a","value":1,"tags":["b"],"timestamp":"2026-11-22T19:00:00.50Z","host":"box","id":"own"}}"#,
            r#""received":"2026-11-22T19:00:00.123456791Z","sink":"x","reason":"bad","detail":"it \"says\" no","own_id":false,"position":2,"report":{"metric":"counter","name":"a","value":1,"timestamp":"2026-11-22T19:00:00.123456791Z","host":"box","id":"mine"}}"#
        ]
    );
}

#[test]
fn what_a_letter_gives_for_replaying_has_our_id_beside_it_and_a_clients_in_it() {
    let folder = Folder::new();
    folder.write(&mut folder.files(9999, 1), &[letter("a:1|c", "own"), letter("a:1|c|i:mine", "")]);
    let text = fs::read_to_string(folder.path("x.jsonl")).unwrap();
    let lines: Vec<_> = text.lines().map(|line| Read::of(line.as_bytes()).unwrap().line().unwrap()).collect();
    assert_eq!((lines[0].own_id.as_str(), lines[1].own_id.as_str()), ("own", ""));
    assert!(lines.iter().all(|line| line.received == Some(1_795_374_000_123_456_791)));
    assert!(!String::from_utf8_lossy(&lines[0].bytes).contains("own"));
    assert!(String::from_utf8_lossy(&lines[1].bytes).contains(r#""id":"mine""#));
}

#[test]
fn a_repeat_is_not_written_again_also_by_another_process() {
    let folder = Folder::new();
    folder.write(&mut folder.files(9999, 2), &letters([1, 2, 1]));
    folder.write(&mut folder.files(9999, 2), &letters([2, 3]));
    assert_eq!(folder.ids("x.jsonl"), names([1, 2, 3]));
    assert_eq!((folder.counters.written.get(), folder.counters.repeated.get()), (3, 2));
    // Other reports under one name of the client are no repeats.
    let clients = [letter("a:1|c|i:mine", ""), letter("a:2|c|i:mine", ""), letter("a:1|c|i:mine", "")];
    folder.write(&mut folder.files(9999, 2), &clients);
    assert_eq!(folder.ids("x.jsonl").len(), 5);
}

#[test]
fn half_a_line_is_closed_and_a_whole_one_without_its_end_is_kept() {
    let folder = Folder::new();
    folder.write(&mut folder.files(9999, 2), &letters([1, 2]));
    let path = folder.path("x.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    folder.write(&mut folder.files(9999, 2), &letters([2, 3]));
    assert_eq!(folder.ids("x.jsonl"), ["id-1", "?", "id-2", "id-3"]);
    fs::write(&path, whole.trim_end()).unwrap();
    folder.write(&mut folder.files(9999, 2), &letters([2, 3]));
    assert_eq!(folder.ids("x.jsonl"), names([1, 2, 3]));
}

#[test]
fn files_are_bounded_in_size_and_number_and_what_that_deletes_is_counted() {
    let folder = Folder::new();
    folder.write(&mut folder.files(9999, 9), &letters([1]));
    let size = fs::metadata(folder.path("x.jsonl")).unwrap().len();
    let mut files = folder.files(3 * size, 3);
    folder.write(&mut files, &letters(1..=8));
    assert_eq!(folder.names(), ["x.000001.jsonl", "x.000002.jsonl", "x.jsonl"]);
    assert_eq!(folder.all(), names(1..=8));
    folder.write(&mut files, &letters(3..=9));
    assert_eq!((folder.counters.deleted.get(), folder.counters.repeated.get()), (0, 7));
    // Another one is too many: the oldest goes, and its letters are not known any more.
    folder.write(&mut files, &letters([9, 1]));
    assert_eq!(folder.names(), ["x.000001.jsonl", "x.000002.jsonl", "x.jsonl"]);
    folder.write(&mut files, &letters([10, 1]));
    assert_eq!(folder.names(), ["x.000002.jsonl", "x.000003.jsonl", "x.jsonl"]);
    assert_eq!(folder.all(), [names(4..=10), names([1])].concat());
    assert_eq!(folder.counters.deleted.get(), 3);
    assert_eq!(folder.counters.written.get(), 11);
}

#[test]
fn a_letter_longer_than_a_file_has_one_for_itself() {
    let folder = Folder::new();
    folder.write(&mut folder.files(10, 9), &letters(1..=3));
    assert_eq!(folder.names(), ["x.000001.jsonl", "x.000002.jsonl", "x.jsonl"]);
    assert_eq!(folder.all(), names(1..=3));
}

#[test]
fn files_that_someone_took_away_are_noticed() {
    let folder = Folder::new();
    let mut files = folder.files(400, 9);
    folder.write(&mut files, &letters(1..=3));
    fs::rename(folder.path("x.jsonl"), folder.folder.path().join("elsewhere")).unwrap();
    fs::remove_file(folder.path("x.000001.jsonl")).unwrap();
    folder.write(&mut files, &letters(1..=3));
    assert_eq!(folder.all(), names([2, 1, 3]));
    fs::remove_dir_all(folder.path("")).unwrap();
    folder.write(&mut files, &letters([3]));
    assert_eq!(folder.all(), names([3]));
}

#[test]
fn a_file_that_another_process_writes_to_is_not_written_to() {
    let folder = Folder::new();
    folder.write(&mut folder.files(9999, 9), &letters([1]));
    let other = fs::File::open(folder.path("x.jsonl")).unwrap();
    other.lock().unwrap();
    let error = folder.files(9999, 9).write("x", letters([2]).iter(), &folder.counters).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    drop(other);
    folder.write(&mut folder.files(9999, 9), &letters([2]));
    assert_eq!(folder.all(), names([1, 2]));
}

#[test]
fn strangers_in_the_folder_are_left_alone() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("")).unwrap();
    for name in ["x.1.jsonl", "x.00000a.jsonl", "y.000007.jsonl", "x.000009.json"] {
        fs::write(folder.path(name), "mine").unwrap();
    }
    folder.write(&mut folder.files(10, 1), &letters(1..=3));
    let mut names = folder.names();
    names.retain(|name| name != "x.jsonl");
    assert_eq!(names, ["x.000009.json", "x.00000a.jsonl", "x.1.jsonl", "y.000007.jsonl"]);
    assert_eq!((folder.ids("x.jsonl"), folder.counters.deleted.get()), (self::names([3]), 2));
}

#[test]
fn only_the_last_letters_are_known() {
    let mut known = known::Known::default();
    let last = known::WINDOW as u64;
    (0..=last).for_each(|number| known.add(number, 1));
    assert!(!known.has(0) && known.has(1) && known.has(last));
}

/// A disk that is full in the middle of a batch: what was begun is taken back.
#[cfg(target_os = "linux")]
#[test]
fn what_could_not_be_written_whole_is_not_in_the_file() {
    // Nothing fits into the device; a file cannot be limited without harming other tests.
    let folder = Folder::new();
    fs::create_dir_all(folder.path("")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path("x.jsonl")).unwrap();
    let mut files = folder.files(9999, 9);
    assert!(files.write("x", letters([1]).iter(), &folder.counters).is_err());
    fs::remove_file(folder.path("x.jsonl")).unwrap();
    folder.write(&mut files, &letters([1]));
    assert_eq!((folder.all(), folder.counters.written.get()), (names([1]), 1));
}
