//! Builds Debian ROCm test appliances: recipe, lock, root file system, image.
