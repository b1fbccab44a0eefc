//! The log against a model of it: histories with failing disks, crashes and restarts, and what each sink is given after
//! each of them.

use proptest::prelude::*;

use super::*;
use world::World;

mod queue;
mod sink;
mod world;

const SINKS: [&str; 2] = ["a", "b"];
/// A source whose messages are known again.
const QUEUE: &str = "queue";

/// One step of a history.
#[derive(Debug, Clone)]
enum Action {
    /// Appends so many entries with so many records each; the last for one sink only.
    Append {
        entries: u64,
        records: usize,
        target: Option<usize>,
    },
    Sync,
    /// Takes so many messages of the queue.
    Take {
        messages: usize,
    },
    /// The broker confirms some of those that are durable.
    Confirm {
        of_ten: u64,
    },
    /// Stores what is known of the queue, if so many messages are in no record.
    PutKnown {
        most: usize,
    },
    /// A sink decides some of what it was given, durable or not.
    Decide {
        sink: usize,
        of_ten: u64,
    },
    /// Stores a cursor of a sink: at most at this part of what is decided.
    Put {
        sink: usize,
        lag: u64,
    },
    /// Appends what is left of the oldest entry of a sink again.
    Carry {
        sink: usize,
    },
    Reclaim,
    RemoveOldest,
    Restart,
    /// So many of a hundred operations fail.
    Fail {
        percent: u64,
    },
    /// The machine stops after so many operations.
    Stop {
        operations: u64,
    },
    /// Power fails, or the process is killed; or it ends as it should. The next one may lack the second sink, or the
    /// queue.
    Crash {
        is_power: bool,
        sinks: usize,
        has_queue: bool,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let sink = 0..SINKS.len();
    let target = prop_oneof![3 => Just(None), 1 => sink.clone().prop_map(Some)];
    prop_oneof![
        10 => (1..4_u64, 1..6_usize, target)
            .prop_map(|(entries, records, target)| Action::Append { entries, records, target }),
        5 => Just(Action::Sync),
        6 => (1..5_usize).prop_map(|messages| Action::Take { messages }),
        3 => (0..11_u64).prop_map(|of_ten| Action::Confirm { of_ten }),
        2 => (0..4_usize).prop_map(|most| Action::PutKnown { most }),
        8 => (sink.clone(), 0..11_u64).prop_map(|(sink, of_ten)| Action::Decide { sink, of_ten }),
        5 => (sink.clone(), 0..4_u64).prop_map(|(sink, lag)| Action::Put { sink, lag }),
        4 => sink.prop_map(|sink| Action::Carry { sink }),
        2 => Just(Action::Reclaim),
        1 => Just(Action::RemoveOldest),
        2 => Just(Action::Restart),
        1 => prop_oneof![Just(0), Just(10_u64), Just(60)].prop_map(|percent| Action::Fail { percent }),
        1 => (1..60_u64).prop_map(|operations| Action::Stop { operations }),
        3 => (any::<bool>(), 1..=SINKS.len(), prop::bool::weighted(0.8))
            .prop_map(|(is_power, sinks, has_queue)| Action::Crash { is_power, sinks, has_queue }),
    ]
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: 8 * ProptestConfig::default().cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_each_sink_gets_what_is_durable_and_not_decided_once(
        seed: u64,
        history in prop::collection::vec(action(), 1..60),
    ) {
        let mut world = World::new(seed);
        for action in &history {
            world.run(action);
        }
        world.crash(true);
    }
}

/// A history with everything in it.
const HISTORY: [Action; 32] = [
    Action::Append { entries: 3, records: 2, target: None },
    Action::Take { messages: 3 },
    Action::Sync,
    Action::Confirm { of_ten: 5 },
    Action::PutKnown { most: 0 },
    Action::Take { messages: 3 },
    Action::Append { entries: 2, records: 3, target: Some(1) },
    Action::Decide { sink: 0, of_ten: 5 },
    Action::Decide { sink: 1, of_ten: 10 },
    Action::Put { sink: 0, lag: 0 },
    Action::Append { entries: 3, records: 5, target: None },
    Action::Put { sink: 1, lag: 1 },
    Action::Append { entries: 3, records: 5, target: None },
    Action::Carry { sink: 0 },
    Action::Confirm { of_ten: 5 },
    Action::Put { sink: 0, lag: 0 },
    Action::Reclaim,
    Action::Restart,
    Action::Decide { sink: 0, of_ten: 10 },
    Action::Append { entries: 1, records: 1, target: None },
    Action::RemoveOldest,
    // Segments that are done with give their files to others.
    Action::Append { entries: 3, records: 5, target: None },
    Action::Append { entries: 3, records: 5, target: None },
    Action::RemoveOldest,
    Action::Append { entries: 3, records: 5, target: None },
    Action::Append { entries: 3, records: 5, target: None },
    Action::Sync,
    Action::RemoveOldest,
    Action::Append { entries: 3, records: 5, target: None },
    Action::Append { entries: 2, records: 5, target: None },
    Action::Sync,
    Action::Append { entries: 1, records: 5, target: None },
];

#[test]
fn the_machine_may_stop_in_any_operation() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        HISTORY.iter().for_each(|action| world.run(action));
        let all = world.disk.operations();
        assert!(all > 60);
        assert!(world.reuses() > 0);
        for operations in 1..all {
            let mut world = World::new(seed);
            world.disk.stop_after(operations);
            HISTORY.iter().for_each(|action| world.run(action));
            world.crash(true);
        }
    }
}

/// A short one with every write that there is: of entries, alone and behind others that are not synced; of segments in new
/// files and in the file of another; of cursors, and of what is known of a queue.
const SHORT: [Action; 20] = [
    Action::Append { entries: 1, records: 1, target: None },
    Action::Append { entries: 2, records: 1, target: Some(1) },
    Action::Sync,
    Action::Take { messages: 1 },
    Action::Sync,
    Action::PutKnown { most: 0 },
    Action::Decide { sink: 0, of_ten: 10 },
    Action::Decide { sink: 1, of_ten: 10 },
    Action::Put { sink: 0, lag: 0 },
    Action::Append { entries: 1, records: 1, target: None },
    Action::Carry { sink: 1 },
    Action::RemoveOldest,
    Action::Append { entries: 2, records: 1, target: None },
    Action::Append { entries: 1, records: 1, target: None },
    Action::Append { entries: 1, records: 1, target: None },
    Action::Sync,
    Action::Decide { sink: 0, of_ten: 10 },
    Action::Put { sink: 0, lag: 0 },
    Action::Reclaim,
    Action::Append { entries: 1, records: 1, target: None },
];

#[test]
fn the_machine_may_stop_at_any_byte_of_any_write_and_leave_any_of_what_was_not_synced() {
    let begin = || World::with(Settings { segment_size: 300 }, 0, 0);
    let mut world = begin();
    let before = world.disk.operations();
    SHORT.iter().for_each(|action| world.act(action));
    let all = world.disk.operations() - before;
    assert!(world.reuses() > 0);
    let mut crashes = 0;
    for operations in 1..=all {
        let mut world = begin();
        world.disk.stop_after(operations);
        let mut history = SHORT.iter();
        while !world.disk.is_stopped() {
            world.act(history.next().unwrap());
        }
        for remains in world.disk.remains() {
            let mut world = world.copy();
            world.crash_to(remains);
            // What comes from then on is safe as well.
            world.act(&Action::Append { entries: 1, records: 1, target: None });
            world.act(&Action::Sync);
            world.crash(true);
            crashes += 1;
        }
    }
    assert!(crashes > 10_000);
}

#[test]
fn a_segment_that_could_not_be_begun_and_not_be_removed_hides_no_other() {
    let history = [
        Action::Append { entries: 1, records: 2, target: None },
        Action::Put { sink: 0, lag: 0 },
        Action::Crash { is_power: false, sinks: 1, has_queue: true },
        Action::Fail { percent: 60 },
        Action::Append { entries: 1, records: 1, target: None },
        Action::Restart,
        Action::Fail { percent: 0 },
        Action::Restart,
        Action::Append { entries: 1, records: 1, target: None },
        Action::Append { entries: 1, records: 1, target: None },
        Action::Restart,
    ];
    let mut world = World::new(3_672_149_591_309_401_380);
    history.iter().for_each(|action| world.run(action));
    world.crash(true);
}
