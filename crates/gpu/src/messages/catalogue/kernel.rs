//! Messages of the kernel itself: oopses, corrupted data, stuck processors and tasks.

use super::{CatalogueEntry, FaultKind, Meaning, Scope, Speaker, entry, fault};
use FaultKind::{Hardware, Kernel as Bug, OutOfMemory};
use Speaker::{Kernel, Memory, Watchdog};

const fn used_up(words: &'static str, since: &'static str, source: &'static str) -> CatalogueEntry {
    entry(Memory, words, Meaning::Fault(OutOfMemory, Scope::Process), since, source)
}

const fn in_driver(words: &'static str, since: &'static str, source: &'static str) -> CatalogueEntry {
    entry(Watchdog, words, Meaning::IfInDriver(FaultKind::Hang), since, source)
}

#[rustfmt::skip]
pub(super) const ENTRIES: &[CatalogueEntry] = &[
    fault(Kernel, Bug, "BUG: kernel NULL pointer dereference", "5.1", "arch/x86/mm/fault.c"),
    fault(Kernel, Bug, "BUG: unable to handle page fault", "5.1", "arch/x86/mm/fault.c"),
    fault(Kernel, Bug, "BUG: unable to handle kernel", "4.x", "arch/x86/mm/fault.c"),
    fault(Kernel, Bug, "kernel BUG at {w}:{n}!", "4.x", "lib/bug.c"),
    fault(Kernel, Bug, "Oops: {n} [#", "4.x", "arch/x86/kernel/dumpstack.c"),
    fault(Kernel, Bug, "Oops: Oops: {n} [#", "6.10", "arch/x86/kernel/dumpstack.c"),
    fault(Kernel, Bug, "Oops: general protection fault", "6.10", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "Oops: {}: {n} [#", "6.10", "arch/x86/kernel/dumpstack.c"),
    fault(Kernel, Bug, "general protection fault, ", "5.6", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "general protection fault: {n} [#", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "invalid opcode: {n} [#", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "divide error: {n} [#", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "stack segment: {n} [#", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "double fault: {n} [#", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "traps: PANIC: double fault", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "BUG: stack guard page was hit", "4.x", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "BUG: {w} stack guard page was hit", "5.16", "arch/x86/kernel/traps.c"),
    fault(Kernel, Bug, "Unable to handle kernel ", "4.x", "arch/arm64/mm/fault.c"),
    fault(Kernel, Bug, "Internal error: ", "4.x", "arch/arm64/kernel/traps.c"),
    fault(Kernel, Bug, "Insufficient stack space to handle exception", "4.15", "arch/arm64/kernel/traps.c"),
    fault(Kernel, Bug, "Bad mode in {} handler detected", "4.x", "arch/arm64/kernel/traps.c"),
    fault(Kernel, Bug, "Unhandled {}exception in {}", "5.x", "arch/arm64/kernel/traps.c"),
    fault(Kernel, Bug, "SError Interrupt on CPU", "4.x", "arch/arm64/kernel/traps.c"),
    fault(Kernel, Bug, "Kernel panic - not syncing", "4.x", "kernel/panic.c"),
    fault(Kernel, Bug, "list_add corruption", "4.x", "lib/list_debug.c"),
    fault(Kernel, Bug, "list_del corruption", "4.x", "lib/list_debug.c"),
    fault(Kernel, Bug, "slab error in ", "4.x", "mm/slab.c"),
    fault(Kernel, Bug, "BUG: KASAN: ", "4.x", "mm/kasan/report.c"),
    fault(Kernel, Bug, "BUG: KFENCE: ", "5.12", "mm/kfence/report.c"),
    fault(Kernel, Bug, "BUG: KMSAN: ", "6.1", "mm/kmsan/report.c"),
    fault(Kernel, Bug, "BUG: Bad page state", "4.x", "mm/page_alloc.c"),
    fault(Kernel, Bug, "BUG: Bad page map", "4.x", "mm/memory.c"),
    fault(Kernel, Bug, "BUG: Bad page cache", "4.x", "mm/filemap.c"),
    fault(Kernel, Bug, "BUG: Bad rss-counter state", "4.x", "kernel/fork.c"),
    fault(Kernel, Bug, "BUG: scheduling while atomic", "4.x", "kernel/sched/core.c"),
    fault(Kernel, Bug, "BUG: spinlock ", "4.x", "kernel/locking/spinlock_debug.c"),
    fault(Kernel, Bug, "BUG: workqueue lockup", "4.x", "kernel/workqueue.c"),
    fault(Kernel, Bug, "refcount_t: underflow; use-after-free", "4.13", "lib/refcount.c"),
    fault(Kernel, Bug, "refcount_t: addition on 0; use-after-free", "4.13", "lib/refcount.c"),
    fault(Watchdog, Bug, "watchdog: BUG: soft lockup - CPU#", "4.13", "kernel/watchdog.c"),
    fault(Watchdog, Bug, "NMI watchdog: BUG: soft lockup - CPU#", "4.x", "kernel/watchdog.c"),
    fault(Watchdog, Bug, "BUG: soft lockup - CPU#", "4.x", "kernel/watchdog.c"),
    fault(Watchdog, Bug, "watchdog: Watchdog detected hard LOCKUP", "6.5", "kernel/watchdog.c"),
    fault(Watchdog, Bug, "NMI watchdog: Watchdog detected hard LOCKUP", "4.x", "kernel/watchdog_hld.c"),
    fault(Watchdog, Bug, "Watchdog detected hard LOCKUP", "4.x", "kernel/watchdog_hld.c"),
    fault(Watchdog, Bug, "watchdog: CPU{n}: Watchdog detected hard LOCKUP", "6.16", "kernel/watchdog.c"),
    fault(Watchdog, Bug, "rcu: INFO: {w} self-detected stall", "4.20", "kernel/rcu/tree_stall.h"),
    fault(Watchdog, Bug, "rcu: INFO: {w} detected stall", "4.20", "kernel/rcu/tree_stall.h"),
    fault(Watchdog, Bug, "rcu: INFO: {w} detected expedited stall", "4.20", "kernel/rcu/tree_exp.h"),
    fault(Watchdog, Bug, "INFO: rcu_{w} self-detected stall", "4.x", "kernel/rcu/tree.c"),
    fault(Watchdog, Bug, "INFO: rcu_{w} detected stall", "4.x", "kernel/rcu/tree.c"),
    fault(Watchdog, Bug, "INFO: rcu_{w} detected expedited stall", "4.x", "kernel/rcu/tree_exp.h"),
    in_driver("INFO: task {}:{n} blocked for more than", "4.x", "kernel/hung_task.c"),
    in_driver("INFO: task {}:{n} blocked in I/O wait for more than", "6.18", "kernel/hung_task.c"),
    fault(Kernel, Hardware, "mce: [Hardware Error]: CPU {n}: Machine Check Exception", "4.x", "arch/x86/kernel/cpu/mce/core.c"),
    used_up("Out of memory: Killed process", "4.x", "mm/oom_kill.c"),
    used_up("Out of memory: Kill process", "4.x", "mm/oom_kill.c"),
    used_up("Out of memory (oom_kill_allocating_task): Killed process", "5.x", "mm/oom_kill.c"),
    used_up("Memory cgroup out of memory: Kill", "4.x", "mm/oom_kill.c"),
    used_up("{} invoked oom-killer: gfp_mask=", "4.x", "mm/oom_kill.c"),
];
