//! QEMU as rocbed uses it: an accelerator that truly works, direct or UEFI boot, a log, an end.
