//! Fuzzes [`lazaretto_fuzz::metadata`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::metadata(bytes));
