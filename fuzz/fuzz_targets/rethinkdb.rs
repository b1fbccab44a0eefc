//! Any bytes as what RethinkDB sends and answers, and as a value that is sent to it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::sink::rethinkdb::check(bytes));
