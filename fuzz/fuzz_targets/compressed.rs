//! Fuzzes [`lazaretto_fuzz::compressed`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::compressed(bytes));
