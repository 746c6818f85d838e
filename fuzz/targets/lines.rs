//! Tables of lines: refused, or what they promise. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::lines(bytes));
