//! Where lines go: standard output, or a file that is opened again when it was rotated.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An output, open or not.
#[derive(Debug)]
pub(super) struct Output {
    /// None: standard output.
    path: Option<PathBuf>,
    file: Option<File>,
}

/// Whether it is the output of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The same.
    Still,
    /// Another one, at whose start, or behind a line feed, writing goes on.
    Anew,
}

impl Output {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Output { path, file: None }
    }

    /// Makes it ready: opens it if it is not open, or if its name is no longer that of the open file.
    pub(super) fn ready(&mut self) -> io::Result<(Opened, &mut File)> {
        let still = self.file.take().filter(|file| self.path.as_deref().is_none_or(|path| is_at(file, path)));
        let (opened, file) = match still {
            Some(file) => (Opened::Still, file),
            None => (Opened::Anew, self.open()?),
        };
        Ok((opened, self.file.insert(file)))
    }

    /// Opens it again before the next batch.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// For errors.
    pub(super) fn name(&self) -> String {
        self.path.as_ref().map_or("standard output".into(), |path| path.display().to_string())
    }

    fn open(&self) -> io::Result<File> {
        let Some(path) = &self.path else {
            // Not through `std::io::Stdout`, whose buffer does not tell how far a failed write came.
            return Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // To read its end, a file has to be readable; a pipe and a device must not be opened so.
        let is_special = std::fs::metadata(path).is_ok_and(|file| !file.is_file());
        let mut file = OpenOptions::new().read(!is_special).append(true).create(true).open(path)?;
        if !is_special && ends_within_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }
}

/// Whether a crash, or a full disk, has left half a line.
fn ends_within_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_line_is_closed_and_a_whole_one_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (before, after) in [("", "new\n"), ("whole\n", "whole\nnew\n"), ("whole\nha", "whole\nha\nnew\n")]
        {
            let path = folder.path().join("log");
            std::fs::write(&path, before).unwrap();
            let mut output = Output::new(Some(path.clone()));
            output.ready().unwrap().1.write_all(b"new\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn a_file_that_was_moved_is_opened_again_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/log");
        let mut output = Output::new(Some(path.clone()));
        assert_eq!(output.ready().unwrap().0, Opened::Anew);
        assert_eq!(output.ready().unwrap().0, Opened::Still);
        std::fs::rename(&path, folder.path().join("new/log.1")).unwrap();
        assert_eq!(output.ready().unwrap().0, Opened::Anew);
        assert!(path.exists());
        output.close();
        assert_eq!(output.ready().unwrap().0, Opened::Anew);
    }

    #[test]
    fn standard_output_stays_open() {
        let mut output = Output::new(None);
        assert_eq!(output.ready().unwrap().0, Opened::Anew);
        assert_eq!(output.ready().unwrap().0, Opened::Still);
    }
}
