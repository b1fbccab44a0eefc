//! Any bytes as a segment and as a cursor of the journal.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::journal::check_journal(bytes));
