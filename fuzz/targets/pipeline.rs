//! Pipeline files: a plan, or an error with its place. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::pipeline(bytes));
