//! [`rocbed_fuzz::s3_answer`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::s3_answer(data));
