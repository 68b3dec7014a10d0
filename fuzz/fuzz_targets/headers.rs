//! Fuzzes [`lazaretto_fuzz::headers`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::headers(bytes));
