//! Messages that look like a fault but are not one, listed so that they are not added as faults. Compared last.

use super::{CatalogueEntry, Meaning, Speaker, entry};
use Speaker::{Driver, Kfd, Power, Ras};

const fn harmless(
    speaker: Speaker,
    words: &'static str,
    why: &'static str,
    since: &'static str,
    source: &'static str,
) -> CatalogueEntry {
    entry(speaker, words, Meaning::Harmless(why), since, source)
}

#[rustfmt::skip]
pub(super) const ENTRIES: &[CatalogueEntry] = &[
    harmless(Driver, "Disabling VM faults because of PRT request", "a program maps sparse memory", "4.12", "amdgpu/gmc_v8_0.c"),
    harmless(Ras, "DF poison setting is inconsistent", "a setting of the firmware", "5.18", "amdgpu/df_v3_6.c"),
    harmless(Ras, "Poison setting is inconsistent in DF/UMC", "a setting of the firmware", "5.18", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "RAS poison mode is", "which mode is on", "6.0", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "RAS: optional ras ta ucode is not", "the chip has none", "5.5", "amdgpu/amdgpu_psp.c"),
    harmless(Ras, "ras ta ucode is not available", "the chip has none", "5.5", "amdgpu/amdgpu_psp.c"),
    harmless(Ras, "RAS Init Status: 0x0", "of the start", "5.15", "amdgpu/amdgpu_psp.c"),
    harmless(Ras, "{n} correctable hardware errors", "repaired", "5.4", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "socket: {n}, die: {n}{}correctable hardware errors", "repaired", "5.13", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "0 uncorrectable hardware errors", "there were none", "5.4", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "Can't find deferred error", "only its count is missing", "6.9", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "RAS records:{n} exceeds 90% of threshold", "a warning ahead of time", "5.18", "amdgpu/amdgpu_ras_eeprom.c"),
    harmless(Ras, "No RAS poison status in", "a question that was answered", "6.0", "amdgpu/amdgpu_ras.c"),
    harmless(Ras, "Accelerator Check Architecture events logged", "the STATUS that follows says what happened", "6.7", "amdgpu/amdgpu_aca.c"),
    harmless(Ras, "hardware error logged by the scrubber", "the STATUS beside it says what happened", "6.13-7.2", "amdgpu/amdgpu_aca.c"),
    harmless(Driver, "page fault is enabled", "of the start", "5.x", "amdgpu/gmc_v9_0.c"),
    harmless(Driver, "reset method: ", "how it would be reset", "5.x", "amdgpu/amdgpu_device.c"),
    harmless(Driver, "Specified reset method:", "a module parameter", "5.4", "amdgpu/nv.c"),
    harmless(Driver, "lockup timeout disabled", "a module parameter", "4.x", "amdgpu/amdgpu_device.c"),
    harmless(Driver, "Skip scheduling IBs", "follows a reset", "4.x", "amdgpu/amdgpu_job.c"),
    harmless(Driver, "PSP runtime database doesn't exist", "optional", "5.13", "amdgpu/amdgpu_psp.c"),
    harmless(Driver, "cap microcode does not exist, skip", "optional", "6.0", "amdgpu/amdgpu_psp.c"),
    harmless(Driver, "psp gfx command {}failed and response status is", "some are not supported by every firmware", "5.5", "amdgpu/amdgpu_psp.c"),
    harmless(Driver, "S3 suspend abort", "a suspend that did not happen", "6.3", "amdgpu/soc15.c"),
    harmless(Driver, "IH ring buffer overflow", "interrupts came faster than they were read", "4.x", "amdgpu/cik_ih.c"),
    harmless(Kfd, "Runlist is getting oversubscribed", "slower, and right", "4.x", "amdkfd/kfd_packet_manager.c"),
    harmless(Kfd, "client {n} does not support poison consumption", "of the interrupt's source", "6.0", "amdkfd/kfd_int_process_v9.c"),
    harmless(Kfd, "sq_intr: error", "a wave of a program", "5.5", "amdkfd/kfd_int_process_v9.c"),
    harmless(Power, "WARN: GPU thermal throttling temperature reached", "slower, and right", "5.8", "pm/swsmu/smu11/arcturus_ppt.c"),
    harmless(Power, "WARN: GPU is throttled", "slower, and right", "6.5", "pm/swsmu/smu13/smu_v13_0_6_ppt.c"),
    harmless(Power, "ERROR: GPU under temperature range", "it has cooled down", "4.20", "pm/swsmu/smu11/smu_v11_0.c"),
    harmless(Power, "SMU driver if version not matched", "of the start", "5.5", "pm/swsmu/smu11/smu_v11_0.c"),
];
