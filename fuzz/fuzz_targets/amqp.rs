//! Any bytes as a RabbitMQ sends them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| kaneda::source::queue::sieve::check(bytes));
