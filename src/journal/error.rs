//! Why a journal cannot be opened, and what to do about it.

use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another kaneda uses it: stop that one, or set [journal] path to another folder")]
    Locked,
    /// A later version wrote it.
    #[error(
        "{file} is of format {version}, and this kaneda knows formats up to {known}: run the version that wrote it, \
         or move the folder away to start with an empty journal"
    )]
    Version {
        /// The file.
        file: String,
        /// Its format.
        version: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// What is known of a sink cannot be read.
    #[error(
        "{file} is damaged, so that it is not known what its sink has stored: move it away, and the sink starts as \
         a new one"
    )]
    Cursor {
        /// The file.
        file: String,
    },
    /// What is known of a queue's messages cannot be read.
    #[error(
        "{file} is damaged, so that it is not known which messages of its queue are stored: move it away, and those \
         that the queue delivers again are stored again"
    )]
    Known {
        /// The file.
        file: String,
    },
    /// The clock was set back since numbers were taken from it.
    #[error(
        "its sequence numbers are higher than those of what is in memory, because the clock was set back: restart kaneda, \
         which opens it then"
    )]
    Numbers,
    /// The disk fails.
    #[error("{what}: {error}")]
    Io {
        /// What was tried, on which file.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
}

impl OpenError {
    /// Whether the disk is in trouble: full, read-only, or failing. It may be over in a while. Whatever else is wrong takes a
    /// person.
    pub(super) fn is_of_disk(&self) -> bool {
        let OpenError::Io { error, .. } = self else { return false };
        let is_full = [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge,
            ErrorKind::WriteZero,
            ErrorKind::ReadOnlyFilesystem,
        ];
        is_full.contains(&error.kind()) || error.raw_os_error() == Some(Errno::IO.raw_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_trouble_is_told_from_what_takes_a_person() {
        let of = |errno: Errno| OpenError::Io { what: String::new(), error: errno.into() }.is_of_disk();
        assert!([Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::ROFS, Errno::IO].into_iter().all(of));
        let lasting = [Errno::ACCESS, Errno::PERM, Errno::NOTDIR, Errno::EXIST, Errno::LOOP, Errno::MFILE];
        assert!(!lasting.into_iter().any(of));
        assert!(!OpenError::Locked.is_of_disk());
    }
}
