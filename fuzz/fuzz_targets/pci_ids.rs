//! [`rocbed_fuzz::pci_ids`] for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocbed_fuzz::pci_ids(data));
