//! Fuzzes [`lazaretto_fuzz::parquet`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::parquet(bytes));
