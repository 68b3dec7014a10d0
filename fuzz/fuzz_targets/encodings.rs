//! Fuzzes [`lazaretto_fuzz::encodings`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::encodings(bytes));
