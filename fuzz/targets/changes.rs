//! Changes of rows, against a second decoder. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::changes(bytes));
