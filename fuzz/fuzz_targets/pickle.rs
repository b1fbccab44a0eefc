//! Any bytes as a pickle.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::source::queue::pickle::check(bytes));
