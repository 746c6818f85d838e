//! Answers of guests: what passes the check keeps the contract. See `weir_tests::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_tests::fuzz::answer(bytes));
