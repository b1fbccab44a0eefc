//! The file of a Unix socket: replaced when its owner is dead, removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use socket2::{Domain, SockAddr, Socket, Type};

/// A bound socket's file. Dropped, it is removed, if it is still the one that was made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Makes a socket and its file. A file that a dead process left there is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when a living process has it; `AlreadyExists` when it is no socket.
    pub fn bind(path: &Path, kind: Type, mode: Mode) -> io::Result<(Socket, SocketFile)> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, kind, None)?;
        socket.set_nonblocking(true)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != io::ErrorKind::AddrInUse {
                return Err(error);
            }
            remove_stale(path, &address, kind)?;
            socket.bind(&address)?;
        }
        // Before it listens, so that nobody comes in by what the umask allowed.
        fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
        let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
        Ok((socket, file))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // The next start replaces it as stale if it cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which file stands at `path`.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Removes the file of a socket that nobody has open.
fn remove_stale(path: &Path, address: &SockAddr, kind: Type) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is there and is no socket"));
    }
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    // A living process whose queue is full would make it wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Who may send to a socket: the permissions of its file, written `"0660"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Default for Mode {
    /// Owner and group.
    fn default() -> Self {
        Mode(0o660)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o777 => Ok(Mode(mode)),
            _ => Err(D::Error::custom(format!("`{text}` is no mode of a file: write \"0660\""))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path, kind: Type) -> io::Result<(Socket, SocketFile)> {
        let bound = SocketFile::bind(path, kind, Mode::default())?;
        if kind == Type::STREAM {
            bound.0.listen(1)?;
        }
        Ok(bound)
    }

    #[test]
    fn a_living_owner_keeps_its_socket_and_a_dead_one_is_replaced() {
        for kind in [Type::STREAM, Type::DGRAM] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("socket");
            let (socket, file) = bind(&path, kind).unwrap();
            assert_eq!(bind(&path, kind).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            let other_kind = if kind == Type::STREAM { Type::DGRAM } else { Type::STREAM };
            assert_eq!(bind(&path, other_kind).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            // As when a process is killed.
            drop(socket);
            std::mem::forget(file);
            assert!(path.exists());
            let (_socket, file) = bind(&path, kind).unwrap();
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        assert_eq!(bind(&path, Type::STREAM).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn the_file_of_a_successor_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (_first, file) = bind(&path, Type::STREAM).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        let _second = bind(&path, Type::STREAM).unwrap();
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn the_mode_is_what_the_key_says() {
        #[derive(Deserialize)]
        struct Table {
            mode: Mode,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mode = toml::from_str::<Table>(r#"mode = "0602""#).unwrap().mode;
        let _bound = SocketFile::bind(&path, Type::STREAM, mode).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o602);
        for text in ["", "8", "7777", "rw"] {
            assert!(toml::from_str::<Table>(&format!("mode = {text:?}")).is_err(), "{text}");
        }
    }
}
