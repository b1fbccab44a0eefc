//! Whether a file could be written, without leaving one behind.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Whether `path` can be written, or made if it is not there. Makes no file, so that a check as root leaves nothing
/// behind that the daemon could not write to. The error is a sentence.
pub fn file(path: &Path) -> Result<(), String> {
    if path.exists() {
        // Without waiting: a pipe may have no reader.
        let opened = OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(path);
        return opened.map(drop).map_err(|error| match error.raw_os_error() {
            Some(libc::ENXIO) => format!("cannot write to {}: nobody reads it", path.display()),
            _ => format!("cannot write to {}: {error}", path.display()),
        });
    }
    beside(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

/// Whether files can be made in the folder of `path`, or in the nearest one above it that is there.
pub fn beside(path: &Path) -> Result<(), String> {
    let folder = nearest(path);
    let trial = folder.join(format!(".kaneda-probe-{}", std::process::id()));
    let tried = File::create_new(&trial).and_then(|_| std::fs::remove_file(&trial));
    tried.map_err(|error| format!("cannot write to the folder {}: {error}", folder.display()))
}

/// The nearest folder above `path` that is there.
fn nearest(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_be_made_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        file(&folder.path().join("a/b/c")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_pipe_without_a_reader_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(file(&pipe).unwrap_err().ends_with("nobody reads it"));
    }

    #[test]
    fn a_file_in_place_of_a_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("a");
        std::fs::write(&in_the_way, "").unwrap();
        file(&in_the_way).unwrap();
        let error = file(&in_the_way.join("b")).unwrap_err();
        assert!(error.contains(&format!("cannot write to the folder {}: ", in_the_way.display())), "{error}");
        assert!(file(folder.path()).unwrap_err().starts_with("cannot write to "));
    }
}
