//! Arrays whose elements become rows. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::elements(bytes));
