//! Time and CPU time.

use std::time::{Duration, Instant};

use crate::Result;

/// `/proc` counts CPU time in these.
const TICK: Duration = Duration::from_millis(10);

/// What was spent on reports.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) reports: usize,
    pub(crate) wall: Duration,
    /// User and system time of the consumer.
    pub(crate) cpu: Duration,
}

impl Spent {
    pub(crate) fn sum(of: &[Spent]) -> Spent {
        Spent {
            reports: of.iter().map(|spent| spent.reports).sum(),
            wall: of.iter().map(|spent| spent.wall).sum(),
            cpu: of.iter().map(|spent| spent.cpu).sum(),
        }
    }
}

/// Whose CPU time is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    Own,
    /// Of all processes of a group, and of those that ended and were waited for.
    Group(u32),
}

/// Begins to run when it is made.
pub(crate) struct Meter {
    whose: Whose,
    start: Instant,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn start(whose: Whose) -> Result<Meter> {
        Ok(Meter { whose, start: Instant::now(), cpu: cpu(whose)? })
    }

    pub(crate) fn stop(&self, reports: usize) -> Result<Spent> {
        Ok(Spent { reports, wall: self.start.elapsed(), cpu: cpu(self.whose)? - self.cpu })
    }
}

fn cpu(whose: Whose) -> Result<Duration> {
    let Whose::Group(group) = whose else {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        return Ok(TICK * numbers(&stat)[11..13].iter().sum::<u32>());
    };
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")? {
        // Some end while they are looked at.
        let Ok(stat) = std::fs::read_to_string(entry?.path().join("stat")) else { continue };
        let numbers = numbers(&stat);
        if numbers.get(2) == Some(&group) {
            ticks += numbers[11..15].iter().sum::<u32>();
        }
    }
    Ok(TICK * ticks)
}

/// Behind the name, which may hold spaces: the group is the 3rd, times begin with the 12th. What is no number is 0.
fn numbers(stat: &str) -> Vec<u32> {
    let behind = stat.rsplit(')').next().unwrap_or_default();
    behind.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
}
