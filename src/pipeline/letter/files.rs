//! The files of dead letters: `NAME.jsonl`, which is written to, and `NAME.000001.jsonl` and so on, which were full.
//!
//! A file that was full is never written to or renamed again. The oldest is deleted when there are too many.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::document::{self, Read};
use super::known::Known;
use super::{Counters, Letter};

/// Letters are put together up to so many bytes before they are written.
pub(super) const BUFFER: usize = 32 << 10;

/// The files of one sink.
pub(super) struct Files {
    path: PathBuf,
    max_size: u64,
    max_files: usize,
    known: Known,
    /// The numbers of those that were full.
    full: BTreeSet<u64>,
    current: Option<Current>,
}

/// The file that is written to. It is locked.
struct Current {
    file: File,
    /// Its bytes; all on disk.
    length: u64,
}

impl Files {
    pub(super) fn new(path: PathBuf, max_size: u64, max_files: usize) -> Self {
        Files { path, max_size, max_files, known: Known::default(), full: BTreeSet::new(), current: None }
    }

    /// Writes the letters that are not there already, in order, and returns when they are on disk. After an error those
    /// that are not on disk are not in the files either, as far as the file system lets undo it.
    pub(super) fn write<'l>(
        &mut self,
        sink: &str,
        letters: impl Iterator<Item = &'l Letter>,
        counters: &Counters,
    ) -> io::Result<()> {
        self.open()?;
        let mut pending = Pending::default();
        let (mut line, mut key) = (Vec::new(), Vec::new());
        let mut repeated = 0;
        for letter in letters {
            line.clear();
            document::write(sink, letter, &mut line, &mut key);
            let number = self.known.number(&key);
            if self.known.has(number) || pending.numbers.contains(&number) {
                repeated += 1;
                continue;
            }
            if self.length() + pending.bytes() > 0
                && self.length() + pending.bytes() + line.len() as u64 > self.max_size
            {
                self.commit(&mut pending, counters)?;
                self.rotate(counters)?;
            }
            pending.numbers.insert(number);
            pending.buffer.extend_from_slice(&line);
            if pending.buffer.len() >= BUFFER {
                self.append(&mut pending)?;
            }
        }
        self.commit(&mut pending, counters)?;
        counters.repeated.add(repeated);
        Ok(())
    }

    fn length(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.length)
    }

    /// Puts what is pending on disk.
    fn commit(&mut self, pending: &mut Pending, counters: &Counters) -> io::Result<()> {
        if pending.numbers.is_empty() {
            return Ok(());
        }
        self.append(pending)?;
        let Some(current) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = current.file.sync_data() {
            self.undo();
            return Err(error);
        }
        current.length += pending.appended;
        counters.written.add(pending.numbers.len() as u64);
        counters.bytes.add(pending.appended);
        pending.appended = 0;
        let file = self.next();
        for number in pending.numbers.drain() {
            self.known.add(number, file);
        }
        Ok(())
    }

    /// Writes the buffer behind what is there.
    fn append(&mut self, pending: &mut Pending) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        if let Err(error) = current.file.write_all(&pending.buffer) {
            self.undo();
            return Err(error);
        }
        pending.appended += pending.buffer.len() as u64;
        pending.buffer.clear();
        Ok(())
    }

    /// Takes back what is not on disk. What cannot be taken back is found when the file is opened again.
    fn undo(&mut self) {
        if let Some(current) = self.current.take() {
            let _ = current.file.set_len(current.length);
        }
    }

    /// The number that the current file gets when it is full.
    fn next(&self) -> u64 {
        self.full.last().map_or(1, |last| last + 1)
    }

    /// Closes the current file, begins another, and deletes the oldest that are too many.
    fn rotate(&mut self, counters: &Counters) -> io::Result<()> {
        let number = self.next();
        fs::rename(&self.path, self.numbered(number))?;
        self.current = None;
        self.full.insert(number);
        while self.full.len() >= self.max_files
            && let Some(&oldest) = self.full.first()
        {
            let path = self.numbered(oldest);
            let letters = count(&path)?;
            fs::remove_file(&path)?;
            self.full.remove(&oldest);
            self.known.forget(oldest);
            counters.deleted.add(letters);
        }
        self.create()
    }

    /// Opens the current file, unless it is open and nobody has touched the files meanwhile.
    fn open(&mut self) -> io::Result<()> {
        let full = self.find()?;
        let is_same = self.current.as_ref().is_some_and(|current| is_at(&current.file, &self.path));
        if is_same && full == self.full {
            return Ok(());
        }
        (self.full, self.known, self.current) = (full, Known::default(), None);
        for &number in &self.full {
            learn(&self.numbered(number), number, &mut self.known)?;
        }
        learn(&self.path, self.next(), &mut self.known)?;
        self.create()
    }

    /// Opens the current file and makes it if it is not there. Half a line at its end, left by a crash, is closed.
    fn create(&mut self) -> io::Result<()> {
        let folder = self.folder();
        make(folder)?;
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        // A file system without locks is no reason to keep no letters.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(io::Error::other("another process writes to it: name another file"));
        }
        if is_new {
            File::open(folder)?.sync_all()?;
        }
        let mut length = file.metadata()?.len();
        if length > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        self.current = Some(Current { file, length });
        Ok(())
    }

    /// The numbers of the files that were full.
    fn find(&self) -> io::Result<BTreeSet<u64>> {
        let entries = match fs::read_dir(self.folder()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries?,
        };
        let mut numbers = BTreeSet::new();
        for entry in entries {
            let path = entry?.path();
            let digits = path.file_stem().map(Path::new).and_then(Path::extension).or(path.extension());
            let number = digits.and_then(|digits| digits.to_str()?.parse().ok());
            numbers.extend(number.filter(|number| self.numbered(*number) == path));
        }
        Ok(numbers)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// `sqlite.jsonl` becomes `sqlite.000001.jsonl`: by name they stand in their order, the current one last.
    fn numbered(&self, number: u64) -> PathBuf {
        match self.path.extension() {
            Some(extension) => {
                let mut end = std::ffi::OsString::from(format!("{number:06}."));
                end.push(extension);
                self.path.with_extension(end)
            }
            None => self.path.with_extension(format!("{number:06}")),
        }
    }
}

/// Letters that are not on disk yet.
#[derive(Default)]
struct Pending {
    numbers: HashSet<u64>,
    buffer: Vec<u8>,
    /// Bytes that are in the file already.
    appended: u64,
}

impl Pending {
    fn bytes(&self) -> u64 {
        self.appended + self.buffer.len() as u64
    }
}

/// Whether `file` is what the path names.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |data: fs::Metadata| (data.dev(), data.ino());
    file.metadata().map(id).ok().is_some_and(|open| fs::metadata(path).map(id).ok() == Some(open))
}

/// Makes a folder, and those above it, each on disk.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    make(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above)?.sync_all()
}

/// Lines of a file.
fn count(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let (mut lines, mut piece) = (0, vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(lines),
            read => lines += memchr::memchr_iter(b'\n', &piece[..read]).count() as u64,
        }
    }
}

/// Remembers the letters of a file.
fn learn(path: &Path, number: u64, known: &mut Known) -> io::Result<()> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    // A device has no length: nothing is read from it, or it would never end.
    let length = file.metadata()?.len();
    let (mut lines, mut line) = (BufReader::new(file.take(length)), Vec::new());
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Some(key) = Read::of(&line).ok().and_then(|letter| letter.key()) {
            known.add(known.number(key.as_bytes()), number);
        }
        line.clear();
    }
    Ok(())
}
