//! Fuzzes [`lazaretto_fuzz::csv`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::csv(bytes));
