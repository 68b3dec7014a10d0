//! Fuzzes [`lazaretto_fuzz::proof`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::proof(bytes));
