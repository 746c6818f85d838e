//! Entries of stored state: refused, or held. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::state(bytes));
