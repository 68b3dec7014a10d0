//! Fuzzes [`lazaretto_fuzz::wire`].
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lazaretto_fuzz::wire(bytes));
