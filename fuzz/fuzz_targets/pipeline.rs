//! Fuzzes [`lazaretto_fuzz::pipeline`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::pipeline(bytes));
