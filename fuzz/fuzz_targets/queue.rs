//! Any bytes as a message of each of Kaneda's queues.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::source::queue::check(bytes));
