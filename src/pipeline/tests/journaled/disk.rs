//! A folder whose disk fails when told.

use std::io::{self, IoSlice};
use std::sync::Condvar;

use super::*;
use crate::journal::{File, Files, Folder};

/// A folder whose disk fails when told.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) folder: Folder,
    pub(super) fails: Arc<AtomicBool>,
    pub(super) gate: Arc<Gate>,
    /// Bytes that are free.
    pub(super) free: Arc<AtomicU64>,
    pub(super) unreadable: Arc<Mutex<Unreadable>>,
    pub(super) trap: Arc<Mutex<Option<Trap>>>,
}

/// The disk begins to fail as this is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trap {
    pub(super) text: &'static str,
    /// The write itself fails; else the sync behind it is the first to fail.
    pub(super) fails_write: bool,
}

/// What the disk does not give.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Unreadable {
    #[default]
    Nothing,
    Everything,
    /// A file.
    File(String),
}

/// What goes to disk waits in front of it while it is closed.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_closed: Mutex<bool>,
    changed: Condvar,
    is_reached: AtomicBool,
}

impl Gate {
    pub(super) fn close(&self, is_closed: bool) {
        *self.is_closed.lock().unwrap() = is_closed;
        self.changed.notify_all();
    }

    /// Whether something waits in front of it, or did when it was closed last.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Ordering::Acquire)
    }

    fn pass(&self) {
        let is_closed = self.is_closed.lock().unwrap();
        self.is_reached.store(*is_closed, Ordering::Release);
        drop(self.changed.wait_while(is_closed, |is_closed| *is_closed).unwrap());
    }
}

#[derive(Debug)]
pub(super) struct DiskFile {
    name: String,
    file: <Folder as Files>::File,
    unreadable: Arc<Mutex<Unreadable>>,
    trap: Arc<Mutex<Option<Trap>>>,
    fails: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

fn works(fails: &AtomicBool) -> io::Result<()> {
    if fails.load(Ordering::Acquire) { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
}

impl Disk {
    fn file(&self, name: &str, file: <Folder as Files>::File) -> DiskFile {
        DiskFile {
            name: name.to_owned(),
            file,
            unreadable: Arc::clone(&self.unreadable),
            trap: Arc::clone(&self.trap),
            fails: Arc::clone(&self.fails),
            gate: Arc::clone(&self.gate),
        }
    }
}

impl Files for Disk {
    type File = DiskFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<DiskFile> {
        works(&self.fails)?;
        Ok(self.file(name, self.folder.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        Ok(self.file(name, self.folder.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        works(&self.fails)?;
        Files::sync(&self.folder)
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.free.load(Ordering::Acquire))
    }
}

impl File for DiskFile {
    fn write_at(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        works(&self.fails)?;
        let is_it = |trap: &mut Trap| {
            parts.iter().any(|part| memchr::memmem::find(part, trap.text.as_bytes()).is_some())
        };
        let sprung = self.trap.lock().unwrap().take_if(is_it);
        if sprung.is_some_and(|trap| trap.fails_write) {
            self.fails.store(true, Ordering::Release);
            return works(&self.fails);
        }
        self.file.write_at(at, parts)?;
        if sprung.is_some() {
            self.fails.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let is_unreadable = match &*self.unreadable.lock().unwrap() {
            Unreadable::Nothing => false,
            Unreadable::Everything => true,
            Unreadable::File(name) => *name == self.name,
        };
        if is_unreadable {
            // EIO
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.read_at(at, into)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        works(&self.fails)?;
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.file.cut(length)
    }
}
