//! Time and CPU time that reports cost.

#![allow(dead_code, reason = "each bench asks for some of it")]

use std::io;
use std::time::{Duration, Instant};

/// `/proc` counts CPU time in these.
const TICK: Duration = Duration::from_millis(10);

/// What was spent on reports.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) reports: usize,
    pub(crate) wall: Duration,
    /// User and system time of whoever is measured.
    pub(crate) cpu: Duration,
}

impl Spent {
    pub(crate) fn add(&mut self, other: &Spent) {
        self.reports += other.reports;
        self.wall += other.wall;
        self.cpu += other.cpu;
    }

    pub(crate) fn sum(of: &[Spent]) -> Spent {
        let mut sum = Spent::default();
        of.iter().for_each(|spent| sum.add(spent));
        sum
    }

    /// Reports a second.
    pub(crate) fn rate(&self) -> f64 {
        self.reports as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of CPU time for a report.
    pub(crate) fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.reports as f64
    }
}

/// Whose CPU time is counted.
#[derive(Debug, Clone, Copy)]
enum Whose {
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
    /// Of this process, all threads.
    pub(crate) fn start() -> io::Result<Meter> {
        Meter::of(Whose::Own)
    }

    /// Of a group of processes.
    pub(crate) fn of_group(group: u32) -> io::Result<Meter> {
        Meter::of(Whose::Group(group))
    }

    fn of(whose: Whose) -> io::Result<Meter> {
        Ok(Meter { whose, start: Instant::now(), cpu: cpu(whose)? })
    }

    /// What was spent since on so many reports.
    pub(crate) fn stop(&self, reports: usize) -> io::Result<Spent> {
        Ok(Spent { reports, wall: self.start.elapsed(), cpu: cpu(self.whose)? - self.cpu })
    }
}

fn cpu(whose: Whose) -> io::Result<Duration> {
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
