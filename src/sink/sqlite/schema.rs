//! The table, and opening the file that holds it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::Config;

/// What `PRAGMA user_version` says of a file whose tables look as below. Changes with them.
const VERSION: i64 = 1;

/// Without declared types on `value`, whose integers and doubles must stay what they are.
///
/// The rows stay in the order in which they arrived (rowid), which is what retention deletes by. `arrivals` says
/// when that was: all rows up to `last_row` were stored at the time `stored` (nanoseconds since 1970) or earlier.
const TABLES: &str = "
    CREATE TABLE reports (
        id     TEXT PRIMARY KEY NOT NULL,
        time   INTEGER NOT NULL,
        metric TEXT NOT NULL,
        name   TEXT NOT NULL,
        value,
        text   TEXT,
        tags   TEXT,
        host   TEXT,
        rate   REAL,
        extra  TEXT
    );
    CREATE INDEX reports_name_time ON reports (name, time);
    CREATE TABLE arrivals (last_row INTEGER PRIMARY KEY NOT NULL, stored INTEGER NOT NULL);
";

/// A report with an id of ours: if it is there, it is the same report again.
pub(super) const INSERT_OWN: &str = "
    INSERT INTO reports (id, time, metric, name, value, text, tags, host, rate, extra)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (id) DO NOTHING";

/// A report with a client's id: the last to arrive stays. It is new again, so it goes to the end: retention goes by
/// `rowid`.
pub(super) const INSERT_CLIENT: &str = "
    INSERT INTO reports (id, time, metric, name, value, text, tags, host, rate, extra)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (id) DO UPDATE SET
        rowid = (SELECT max(rowid) + 1 FROM reports),
        time = excluded.time, metric = excluded.metric, name = excluded.name, value = excluded.value,
        text = excluded.text, tags = excluded.tags, host = excluded.host, rate = excluded.rate,
        extra = excluded.extra";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Made by another version of the daemon.
    #[error(
        "{} holds version {found} of the table, this daemon writes version {VERSION}: name another file in `path`",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// It has tables, but not ours.
    #[error("{} is a database of something else: name another file in `path`", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The folder cannot be made or written to.
    #[error("cannot write to the folder {} of `path`: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// SQLite says no.
    #[error("{}: {error}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// The thread that would write could not be started.
    #[error("cannot start the thread that writes to the store: {0}")]
    Thread(std::io::Error),
}

/// Opens the file, and makes what is missing of folder, file and tables.
pub(super) fn open(config: &Config) -> Result<Connection, Error> {
    let path = &config.path;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::Folder { folder: folder.to_owned(), error })?;
    }
    let sqlite = |error| Error::Sqlite { path: path.clone(), error };
    let mut connection =
        Connection::open_with_flags(path, flags() | OpenFlags::SQLITE_OPEN_CREATE).map_err(sqlite)?;
    connection.busy_timeout(config.timeout.get()).map_err(sqlite)?;
    let version = version(&connection, path)?;
    let prepare = || {
        // Of a new file, this has to be said before anything is written.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // A batch that was larger than usual must not leave a large file for good.
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        Ok(())
    };
    prepare().map_err(sqlite)?;
    if version == 0 {
        create(&mut connection).map_err(sqlite)?;
    }
    Ok(connection)
}

/// Whether a file that is there can be used. One that is not there can, and one that cannot be read is none of
/// this function's business: that may pass.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    match read_only(path) {
        Err(error @ (Error::Version { .. } | Error::Foreign { .. })) => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file that is there can be written to. The error is a sentence.
pub(super) fn probe(path: &Path) -> Result<(), String> {
    let sqlite = |error| Error::Sqlite { path: path.to_owned(), error };
    let connection = Connection::open_with_flags(path, flags()).map_err(sqlite);
    connection
        .and_then(|connection| {
            version(&connection, path)?;
            connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(sqlite)
        })
        .map_err(|error| error.to_string())
}

/// One thread uses the connection, so SQLite needs no lock of its own.
fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn read_only(path: &Path) -> Result<i64, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| Error::Sqlite { path: path.to_owned(), error })?;
    version(&connection, path)
}

/// The version of the tables; 0: there are none yet.
fn version(connection: &Connection, path: &Path) -> Result<i64, Error> {
    let ask = |sql| connection.query_row(sql, (), |row| row.get(0));
    let sqlite = |error| Error::Sqlite { path: path.to_owned(), error };
    let found: i64 = ask("PRAGMA user_version").map_err(sqlite)?;
    let tables: i64 = ask("SELECT count(*) FROM sqlite_schema").map_err(sqlite)?;
    match found {
        0 if tables > 0 => Err(Error::Foreign { path: path.to_owned() }),
        0 | VERSION => Ok(found),
        _ => Err(Error::Version { path: path.to_owned(), found }),
    }
}

/// Makes the tables, all or none. Another process may have been faster.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", (), |row| row.get(0))?;
    if version == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &tempfile::TempDir) -> Config {
        Config { path: folder.path().join("a/b/reports.db"), ..Config::default() }
    }

    fn ask<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> T {
        connection.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_new_file_is_made_with_its_folders_and_settings() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&config(&folder)).unwrap();
        assert_eq!(ask::<i64>(&connection, "PRAGMA auto_vacuum"), 2, "incremental");
        assert_eq!(ask::<String>(&connection, "PRAGMA journal_mode"), "wal");
        assert_eq!(ask::<i64>(&connection, "PRAGMA synchronous"), 2, "full");
        assert_eq!(ask::<i64>(&connection, "PRAGMA user_version"), VERSION);
        drop(connection);
        let again = open(&config(&folder)).unwrap();
        assert_eq!(ask::<i64>(&again, "SELECT count(*) FROM reports"), 0);
        assert_eq!(ask::<i64>(&again, "PRAGMA synchronous"), 2, "full, also of a file that was there");
    }

    #[test]
    fn a_name_between_two_times_is_found_by_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&config(&folder)).unwrap();
        let plan: String = connection
            .query_row(
                "EXPLAIN QUERY PLAN SELECT value FROM reports WHERE name = 'a' AND time BETWEEN 1 AND 2",
                (),
                |row| row.get(3),
            )
            .unwrap();
        assert!(plan.contains("USING INDEX reports_name_time (name=? AND time>? AND time<?)"), "{plan}");
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        open(&config).unwrap().pragma_update(None, "user_version", 7).unwrap();
        for error in [check(&config.path).unwrap_err(), open(&config).unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("reports.db holds version 7 of the table, this daemon writes"), "{text}");
            assert!(text.ends_with("name another file in `path`"), "{text}");
        }
    }

    #[test]
    fn a_database_of_something_else_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("theirs.db");
        Connection::open(&path).unwrap().execute("CREATE TABLE theirs (a)", ()).unwrap();
        let before = std::fs::read(&path).unwrap();
        let config = Config { path, ..Config::default() };
        assert!(matches!(check(&config.path), Err(Error::Foreign { .. })));
        assert!(matches!(open(&config), Err(Error::Foreign { .. })));
        assert_eq!(std::fs::read(&config.path).unwrap(), before);
    }

    #[test]
    fn an_empty_file_is_taken_for_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { path: folder.path().join("reports.db"), ..Config::default() };
        std::fs::File::create(&config.path).unwrap();
        check(&config.path).unwrap();
        assert_eq!(ask::<i64>(&open(&config).unwrap(), "PRAGMA auto_vacuum"), 2);
    }
}
