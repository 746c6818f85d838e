//! Records of separated values, which are rows as all others are. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::csv(bytes));
