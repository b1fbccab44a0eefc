//! What the log needs of a folder and its files, so that tests can put faults under it.

use std::fmt::Debug;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::OpenError;

/// A folder of files. Names are plain: no separators.
pub trait Files: Debug + Send + Sync + 'static {
    /// A file in it.
    type File: File;

    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a new file, to be read and written; an error if there is one of that name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that is there, to be read and cut.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in one step, in place of any that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Whoever has it open can read on.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns once what files there are, and their names, will survive a loss of power.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free(&self) -> io::Result<u64>;
}

/// An open file.
pub trait File: Debug + Send + Sync + 'static {
    /// Writes `parts`, one behind the other, from byte `at` on: all of them, or there is an error, and then any of
    /// the bytes may have been written. `parts` are used up.
    fn write_at(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Reads from byte `at` on, and says how many bytes there were: fewer than asked for, but none only at the end.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Returns once the contents will survive a loss of power.
    fn sync(&self) -> io::Result<()>;

    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Takes away what is behind the first `length` bytes.
    fn cut(&self, length: u64) -> io::Result<()>;
}

/// A folder on disk.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The folder itself, for `fsync`.
    own: fs::File,
    /// Locked for as long as it is open; none where the folder is only read.
    lock: Option<fs::File>,
}

/// Locked by the one process that writes the folder.
const LOCK: &str = "lock";

impl Folder {
    /// Makes the folder, and its parents, if there is none, and keeps every other process out of it.
    pub fn open(path: &Path) -> Result<Folder, OpenError> {
        let failed = |error| OpenError::Io { what: path.display().to_string(), error };
        make(path).map_err(failed)?;
        let lock = OpenOptions::new().create(true).append(true).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let own = fs::File::open(path).map_err(failed)?;
        Ok(Folder { path: path.to_owned(), own, lock: Some(lock) })
    }

    /// Only to read, also while a daemon writes it.
    pub fn look(path: &Path) -> io::Result<Folder> {
        Ok(Folder { path: path.to_owned(), own: fs::File::open(path)?, lock: None })
    }
}

/// Makes a folder that is there after a loss of power.
fn make(path: &Path) -> io::Result<()> {
    let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let new: Vec<_> = path.ancestors().take_while(is_new).collect();
    fs::create_dir_all(path)?;
    for folder in new {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

impl Files for Folder {
    type File = fs::File;

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        // A name that is no text is none of ours.
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<fs::File> {
        OpenOptions::new().create_new(true).read(true).write(true).open(self.path.join(name))
    }

    fn open(&self, name: &str) -> io::Result<fs::File> {
        OpenOptions::new().read(true).write(self.lock.is_some()).open(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        self.own.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.own)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

impl File for fs::File {
    fn write_at(&self, mut at: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        while !parts.is_empty() {
            match rustix::io::pwritev(self, parts, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    IoSlice::advance_slices(&mut parts, written);
                    at += written as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, into, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_has_a_folder_and_others_may_look() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        let error = Folder::open(&path).unwrap_err();
        assert!(error.to_string().contains("another kaneda uses it"));
        folder.create("x").unwrap();
        assert_eq!(Folder::look(&path).unwrap().list().unwrap().len(), 2);
        drop(folder);
        assert!(Folder::open(&path).is_ok());
    }

    #[test]
    fn parts_are_written_one_behind_the_other_however_many_there_are() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        let file = folder.create("x").unwrap();
        let bytes: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
        let mut parts: Vec<_> = bytes.chunks(2).map(IoSlice::new).collect();
        File::write_at(&file, 3, &mut parts).unwrap();
        let mut read = vec![0; 6000];
        assert_eq!(File::read_at(&file, 0, &mut read).unwrap(), 5003);
        assert_eq!((&read[..3], &read[3..5003]), (&[0; 3][..], &bytes[..]));
        file.cut(7).unwrap();
        assert_eq!(File::length(&folder.open("x").unwrap()).unwrap(), 7);
        assert_eq!(folder.create("x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(folder.free().unwrap() > 0);
    }
}
