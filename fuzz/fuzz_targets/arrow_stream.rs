//! Fuzzes [`lazaretto_fuzz::arrow_stream`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::arrow_stream(bytes));
