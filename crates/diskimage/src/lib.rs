//! Disk images from partitions: GPT, the EFI system partition, unified kernel images, block maps.
