//! Kernel modules without kmod: their .modinfo, dependencies, aliases and loading order.
