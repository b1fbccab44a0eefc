//! Deletes the oldest reports when they are too old or too many, in small steps between batches.
//!
//! A report's age counts from when it was stored, whatever time it says: one that was sent for 1970 is no less new.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::Config;
use crate::telemetry::Counter;

/// Rows that one step deletes when nothing came in: some tens of milliseconds, so that a batch need not wait.
/// After a batch it is at least twice as many as came in, so that deleting wins whatever the rate.
const STEP_ROWS: usize = 1000;
/// Free pages that one step gives back to the file system.
const STEP_PAGES: i64 = 1000;
/// Free pages are kept for the rows to come up to this part of the file. Giving back what the next batch needs would
/// move pages for nothing.
const SPARE_PART: i64 = 10;
/// An age is known so much less exactly than it is long; an hour at most.
const AGE_PARTS: u32 = 64;
const LARGEST_SPACING: Duration = Duration::from_secs(60 * 60);
/// How often an idle store looks whether reports are due.
const PAUSE: Duration = Duration::from_secs(60);

/// What retention did.
#[derive(Debug, Default)]
pub(super) struct Counters {
    age: Counter,
    size: Counter,
    failed: Counter,
}

impl Counters {
    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("retention_age_deleted", self.age.get()),
            ("retention_size_deleted", self.size.get()),
            ("retention_failed", self.failed.get()),
        ]
    }
}

/// When to delete.
#[derive(Debug)]
pub(super) struct Retention {
    /// `None`: never.
    age: Option<Duration>,
    /// In bytes; `None`: any.
    size: Option<i64>,
    /// When the last entry of `arrivals` was made, nanoseconds since 1970.
    marked: i64,
    /// No step before this time, because the last one failed.
    rests_until: i64,
    counters: Arc<Counters>,
}

/// Whether there may be more to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

impl Retention {
    pub(super) fn new(config: &Config, counters: Arc<Counters>) -> Self {
        let age = Some(config.retention_age.get()).filter(|age| !age.is_zero());
        let size = i64::try_from(config.retention_size.bytes()).ok().filter(|&size| size > 0);
        Retention { age, size, marked: 0, rests_until: 0, counters }
    }

    /// Does one step after a batch of `stored` records, or when none came; `now` in nanoseconds since 1970. Returns
    /// how long the next step has time if no batch comes.
    pub(super) fn step(&mut self, connection: &mut Connection, stored: usize, now: i64) -> Duration {
        if now < self.rests_until {
            return self.pause();
        }
        match self.try_step(connection, STEP_ROWS.max(2 * stored), now) {
            Ok(Step::More) => Duration::ZERO,
            Ok(Step::Done) => self.pause(),
            Err(error) => {
                self.counters.failed.add(1);
                self.rests_until = now.saturating_add(nanos(PAUSE));
                tracing::warn!(path = connection.path(), "cannot delete old reports: {error}");
                PAUSE
            }
        }
    }

    /// How long an idle store has time between two steps.
    pub(super) fn pause(&self) -> Duration {
        self.age.map_or(PAUSE, |age| (age / AGE_PARTS).clamp(Duration::from_millis(100), PAUSE))
    }

    fn try_step(&mut self, connection: &Connection, rows: usize, now: i64) -> rusqlite::Result<Step> {
        if let Some(age) = self.age {
            self.mark(connection, age, now)?;
            if let Some(last_row) = expired(connection, now.saturating_sub(nanos(age)))? {
                let deleted = delete(connection, last_row, rows)?;
                self.counters.age.add(deleted as u64);
                if deleted < rows {
                    connection.execute("DELETE FROM arrivals WHERE last_row <= ?1", [last_row])?;
                }
                return Ok(Step::More);
            }
        }
        let [pages, free, page_size] = ["page_count", "freelist_count", "page_size"]
            .map(|name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)));
        let (pages, free, page_size) = (pages?, free?, page_size?);
        let used = (pages - free) * page_size;
        if let Some(size) = self.size.filter(|&size| used > size) {
            let deleted = delete(connection, i64::MAX, rows.min(excess(connection, used, size)?))?;
            self.counters.size.add(deleted as u64);
            return Ok(if deleted > 0 { Step::More } else { Step::Done });
        }
        if free > (pages / SPARE_PART).max(STEP_PAGES) {
            vacuum(connection)?;
            let left: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
            // A file that was made without `auto_vacuum` gives nothing back.
            return Ok(if left < free { Step::More } else { Step::Done });
        }
        Ok(Step::Done)
    }

    /// Notes in `arrivals`, from time to time, that all rows so far were stored by now.
    fn mark(&mut self, connection: &Connection, age: Duration, now: i64) -> rusqlite::Result<()> {
        let spacing = nanos((age / AGE_PARTS).min(LARGEST_SPACING));
        if self.marked <= now && now < self.marked.saturating_add(spacing) {
            return Ok(());
        }
        let last: Option<i64> =
            connection.query_row("SELECT max(rowid) FROM reports", (), |row| row.get(0))?;
        // When someone has emptied the table, its rows are counted from 1 again: old entries would be about new rows.
        connection.execute("DELETE FROM arrivals WHERE last_row > ?1", [last.unwrap_or(0)])?;
        if let Some(last) = last {
            connection.execute("INSERT INTO arrivals VALUES (?1, ?2) ON CONFLICT DO NOTHING", [last, now])?;
        }
        self.marked = now;
        Ok(())
    }
}

/// The last row of the oldest entry of `arrivals`, if it is from `before` or earlier.
fn expired(connection: &Connection, before: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT last_row, stored FROM arrivals ORDER BY last_row LIMIT 1")?
        .query_row((), |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
        .optional()
        .map(|oldest| oldest.and_then(|(last_row, stored)| (stored <= before).then_some(last_row)))
}

/// Gives free pages back to the file system. The pragma answers with a row a page, and goes on only when asked for
/// the next.
fn vacuum(connection: &Connection) -> rusqlite::Result<()> {
    let mut pragma = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({STEP_PAGES})"))?;
    let mut pages = pragma.raw_query();
    while pages.next()?.is_some() {}
    Ok(())
}

/// About how many rows have to go for `used` bytes to become `size`; at least one.
fn excess(connection: &Connection, used: i64, size: i64) -> rusqlite::Result<usize> {
    let rows: i64 = connection.query_row(
        "SELECT coalesce((SELECT max(rowid) FROM reports) - (SELECT min(rowid) FROM reports), 0)",
        (),
        |row| row.get(0),
    )?;
    Ok((rows as f64 * (used - size) as f64 / used as f64) as usize + 1)
}

/// Deletes the first `rows` rows, of those up to `last_row`. Returns how many there were.
fn delete(connection: &Connection, last_row: i64, rows: usize) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM reports WHERE rowid IN
                (SELECT rowid FROM reports WHERE rowid <= ?1 ORDER BY rowid LIMIT ?2)",
        )?
        .execute((last_row, i64::try_from(rows).unwrap_or(i64::MAX)))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sqlite::schema;
    use crate::unit::{Duration as Span, Size};

    const DAY: i64 = 86_400_000_000_000;
    const TODAY: i64 = 20_000 * DAY;

    struct Kept {
        connection: Connection,
        retention: Retention,
        counters: Arc<Counters>,
        _folder: tempfile::TempDir,
    }

    fn keeping(age: Span, size: Size) -> Kept {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            path: folder.path().join("reports.db"),
            retention_age: age,
            retention_size: size,
            ..Config::default()
        };
        let counters = Arc::new(Counters::default());
        let retention = Retention::new(&config, Arc::clone(&counters));
        Kept { connection: schema::open(&config).unwrap(), retention, counters, _folder: folder }
    }

    impl Kept {
        /// Stores `rows` reports that say they are from 1970, and takes one step at `now`.
        fn store(&mut self, rows: usize, now: i64) {
            self.connection
                .execute(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                     INSERT INTO reports (id, time, metric, name, text)
                     SELECT hex(randomblob(16)), 1, 'counter', 'a', hex(zeroblob(100)) FROM n",
                    [rows as i64],
                )
                .unwrap();
            self.retention.step(&mut self.connection, rows, now);
        }

        /// Takes steps until nothing is due, and says how many that were.
        fn rest(&mut self, now: i64) -> usize {
            (1..).find(|_| !self.retention.step(&mut self.connection, 0, now).is_zero()).unwrap()
        }

        fn ask(&self, sql: &str) -> i64 {
            self.connection.query_row(sql, (), |row| row.get(0)).unwrap()
        }

        fn rows(&self) -> i64 {
            self.ask("SELECT count(*) FROM reports")
        }
    }

    #[test]
    fn a_report_is_deleted_at_its_age_counted_from_when_it_was_stored() {
        let mut kept = keeping(Span::from_days(30), Size::default());
        kept.store(10, TODAY);
        kept.store(7, TODAY + 10 * DAY);
        kept.rest(TODAY + 29 * DAY);
        assert_eq!(kept.rows(), 17);
        kept.rest(TODAY + 30 * DAY);
        assert_eq!(kept.rows(), 7);
        kept.rest(TODAY + 41 * DAY);
        assert_eq!(kept.rows(), 0);
        assert_eq!(kept.counters.all()[0], ("retention_age_deleted", 17));
        assert_eq!(kept.ask("SELECT count(*) FROM arrivals"), 0);
    }

    #[test]
    fn old_reports_are_deleted_in_small_steps() {
        let mut kept = keeping(Span::from_days(1), Size::default());
        kept.store(3 * STEP_ROWS, TODAY);
        kept.retention.step(&mut kept.connection, 0, TODAY + DAY);
        assert_eq!(kept.rows(), 2 * STEP_ROWS as i64);
        assert!(kept.rest(TODAY + DAY) > 2);
        assert_eq!(kept.rows(), 0);
    }

    #[test]
    fn the_oldest_reports_go_when_all_are_too_large_and_the_space_is_given_back() {
        let mut kept = keeping(Span::default(), Size::from_mib(2));
        kept.store(40_000, TODAY);
        let before = kept.ask("PRAGMA page_count");
        assert!(before * 4096 > 4 << 20);
        kept.rest(TODAY);
        let used = (kept.ask("PRAGMA page_count") - kept.ask("PRAGMA freelist_count")) * 4096;
        assert!((15 << 17..=2 << 20).contains(&used), "{used} bytes used, no more deleted than necessary");
        assert!(kept.ask("PRAGMA page_count") < before - 1000);
        assert!(kept.ask("PRAGMA freelist_count") <= STEP_PAGES);
        assert_eq!(kept.ask("SELECT min(rowid) FROM reports"), 40_001 - kept.rows(), "the newest stay");
        assert_eq!(kept.counters.all()[1], ("retention_size_deleted", (40_000 - kept.rows()) as u64));
    }

    #[test]
    fn a_step_gives_back_as_many_pages_as_it_says() {
        let kept = keeping(Span::default(), Size::default());
        let sql = "CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(8000000)); DROP TABLE filler";
        kept.connection.execute_batch(sql).unwrap();
        let before = kept.ask("PRAGMA freelist_count");
        assert!(before > STEP_PAGES);
        vacuum(&kept.connection).unwrap();
        assert_eq!(kept.ask("PRAGMA freelist_count"), before - STEP_PAGES);
    }

    #[test]
    fn a_file_that_cannot_give_space_back_is_left_alone() {
        let mut kept = keeping(Span::default(), Size::default());
        let sql = "PRAGMA auto_vacuum = NONE; VACUUM; CREATE TABLE filler (x);
            INSERT INTO filler VALUES (zeroblob(8000000)); DROP TABLE filler";
        kept.connection.execute_batch(&format!("PRAGMA journal_mode = DELETE; {sql}")).unwrap();
        assert!(kept.ask("PRAGMA freelist_count") > STEP_PAGES);
        assert_eq!(kept.rest(TODAY), 1);
    }

    #[test]
    fn a_report_that_was_replaced_is_as_old_as_its_last_arrival() {
        let mut kept = keeping(Span::from_days(30), Size::default());
        let arrive = |kept: &Kept, id: &str, value: i64| {
            let none = None::<i64>;
            let row = (id, 1, "gauge", "a", value, "1", none, "box", none, none);
            kept.connection.execute(schema::INSERT_CLIENT, row).unwrap();
        };
        arrive(&kept, "heartbeat", 1);
        arrive(&kept, "other", 1);
        kept.retention.step(&mut kept.connection, 2, TODAY);
        arrive(&kept, "heartbeat", 2);
        kept.retention.step(&mut kept.connection, 1, TODAY + 20 * DAY);
        kept.rest(TODAY + 31 * DAY);
        assert_eq!(kept.rows(), 1);
        assert_eq!(kept.ask("SELECT value FROM reports WHERE id = 'heartbeat'"), 2);
    }

    #[test]
    fn deleting_keeps_up_with_large_batches() {
        let mut kept = keeping(Span::default(), Size::from_kib(512));
        for _ in 0..5 {
            kept.store(6 * STEP_ROWS, TODAY);
        }
        assert!(kept.rows() < 12 * STEP_ROWS as i64, "{} rows", kept.rows());
    }

    #[test]
    fn without_limits_nothing_is_deleted() {
        let mut kept = keeping(Span::default(), Size::default());
        kept.store(100, TODAY);
        kept.rest(i64::MAX);
        assert_eq!(kept.rows(), 100);
    }

    #[test]
    fn rows_that_are_counted_from_one_again_are_as_old_as_they_are() {
        let mut kept = keeping(Span::from_days(30), Size::default());
        kept.store(100, TODAY);
        kept.connection.execute("DELETE FROM reports", ()).unwrap();
        kept.store(50, TODAY + 20 * DAY);
        kept.store(50, TODAY + 20 * DAY);
        kept.rest(TODAY + 31 * DAY);
        assert_eq!(kept.rows(), 100);
    }

    #[test]
    fn a_step_that_fails_is_counted_and_not_tried_again_at_once() {
        let mut kept = keeping(Span::from_days(30), Size::default());
        kept.store(1, TODAY);
        kept.connection.execute("DROP TABLE arrivals", ()).unwrap();
        for seconds in [0, 1, 59, 61] {
            kept.retention.step(&mut kept.connection, 0, TODAY + DAY + seconds * 1_000_000_000);
        }
        assert_eq!(kept.counters.all()[2], ("retention_failed", 2));
    }
}
