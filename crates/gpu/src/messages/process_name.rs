//! Messages that begin with the name of a process.
//!
//! A process chooses its own name, up to 15 bytes of any kind: it could be the words of a fault. The kernel prints such a
//! name first in few messages, and each continues in its own way. The list was made from all of them in Linux 6.12.117
//! and 7.2.13 that can be reached on x86 and arm64.

/// The most bytes of a process's name (`TASK_COMM_LEN`, without the zero at the end).
const LONGEST: usize = 15;

/// What follows a process's name without its number, and the number after a slash.
const TAILS: [&str; 14] = [
    ": page allocation",
    ": vmalloc",
    ": vmemmap",
    ": Corrupted page table at",
    ": attempt to access beyond end of device",
    ": calling unsupported SCSI_IOCTL",
    ": vm.laptop_mode is deprecated",
    ": using deprecated /proc/",
    " calls setitimer() with",
    " sent an empty control message",
    " using unsupported default IPA limit",
    " uses obsolete (PF_INET,SOCK_PACKET)",
    " uses old SIOCAX25GETINFO",
    " wrote to ",
];

/// What may follow the number after a slash.
const SLASH_TAILS: [&str; 6] = [": reached RLIMIT", " is ", " [HC", " just changed", ":", " wrote to"];

/// Before the name of a process, which is not at the beginning here: the name of its program's file comes first, of any
/// length, and the process chooses both.
const FATAL_SIGNAL: &str = ": potentially unexpected fatal signal ";

const OOM_KILLER: &str = " invoked oom-killer: gfp_mask=";

/// What a message that begins with a process's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfProcess<'t> {
    /// It used up the memory; the rest of the message after the name.
    UsedUpMemory(&'t str),
    /// Nothing about GPUs.
    Other,
}

/// Whether a message begins with the name of a process, and what it says then.
pub(crate) fn of_process(message: &str) -> Option<OfProcess<'_>> {
    if message.ends_with('.') && memchr::memmem::find(message.as_bytes(), FATAL_SIGNAL.as_bytes()).is_some() {
        return Some(OfProcess::Other);
    }
    // A name may also have what follows other names: what is said of the memory goes first.
    let after_name = || std::iter::successors(after_byte(message), |rest| after_byte(rest)).take(LONGEST);
    if let Some(rest) = after_name().find(|rest| rest.starts_with(OOM_KILLER)) {
        return Some(OfProcess::UsedUpMemory(rest));
    }
    after_name().any(is_tail).then_some(OfProcess::Other)
}

/// The text after a byte of a name. `/dev/kmsg` has `\x0a` for bytes that cannot be printed.
fn after_byte(text: &str) -> Option<&str> {
    let escaped = text.strip_prefix("\\x").and_then(|rest| {
        let (digits, after) = rest.split_at_checked(2)?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(after)
    });
    escaped.or_else(|| {
        let first = text.chars().next()?;
        text.get(first.len_utf8()..)
    })
}

fn is_tail(rest: &str) -> bool {
    match rest.as_bytes().first() {
        Some(b'[') => is_number(rest, "[", "]"),
        Some(b'(') => is_number(rest, "(", ")"),
        Some(b'/') => {
            let digits = rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
            let after = rest.get(1 + digits..).unwrap_or_default();
            digits > 0 && SLASH_TAILS.iter().any(|tail| after.starts_with(tail))
        }
        Some(b' ') => {
            is_number(rest, " (", ")")
                || is_number(rest, " (pid ", ")")
                || TAILS.iter().any(|tail| rest.starts_with(tail))
        }
        Some(b':') => TAILS.iter().any(|tail| rest.starts_with(tail)),
        _ => false,
    }
}

/// `[12]: `, `(12) `: a number in brackets, and then a colon or a blank.
fn is_number(rest: &str, open: &str, close: &str) -> bool {
    let inside = rest.strip_prefix(open).and_then(|rest| rest.split_once(close));
    inside.is_some_and(|(number, after)| {
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && (after.starts_with(':') || after.starts_with(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each message of Linux 7.2.13 that begins with a name, with its source.
    const MESSAGES: &[&str] = &[
        "NAME[4711]: segfault at 0 ip 0 sp 0 error 6 in x[1,2]", // arch/x86/mm/fault.c
        "NAME[4711] control protection ip:0 sp:0 ssp:0 error:1(near ret)", // arch/x86/kernel/cet.c
        "NAME[4711] vsyscall attempted with vsyscall=none ip:0", // arch/x86/entry/vsyscall/vsyscall_64.c
        "NAME[4711] bad frame in rt_sigreturn frame:0 ip:0 sp:0 orax:0", // arch/x86/kernel/signal.c
        "NAME: Corrupted page table at address 7f0000000000",    // arch/x86/mm/fault.c
        "NAME[4711]: unhandled exception: DABT (lower EL), ESR 0x0", // arch/arm64/kernel/traps.c
        "NAME using unsupported default IPA limit, upgrade your VMM", // arch/arm64/kvm/mmu.c
        "NAME: page allocation failure: order:4, mode:0x0",      // mm/page_alloc.c
        "NAME: page allocation stall for 10 secs: order:4",      // mm/page_alloc.c
        "NAME: vmalloc error: size 4096, failed to map pages",   // mm/vmalloc.c
        "NAME: vmemmap alloc failure: order:4, mode:0x0",        // mm/sparse-vmemmap.c
        "NAME: vm.laptop_mode is deprecated. Ignoring setting.", // mm/page-writeback.c
        "NAME[4711]: memfd_create() requires MFD_NOEXEC_SEAL with vm.memfd_noexec=2", // mm/memfd.c
        "NAME (4711): attempted to duplicate a private mapping with mremap.", // mm/mremap.c
        "NAME (4711) used greatest stack depth: 9000 bytes left", // kernel/exit.c
        "NAME (4711): highest shadow stack usage: 9 bytes",      // kernel/scs.c
        "NAME wrote to net/ipv4/x when file position was not 0!", // kernel/sysctl.c
        "NAME calls setitimer() with new_value NULL pointer.",   // kernel/time/itimer.c
        "NAME/4711: reached RLIMIT_SIGPENDING, dropped signal 10", // kernel/signal.c
        "NAME: potentially unexpected fatal signal 11.",         // kernel/signal.c
        "NAME: sh: potentially unexpected fatal signal 11.",     // kernel/signal.c
        "NAME/4711 is trying to acquire lock:",                  // kernel/locking/lockdep.c
        "NAME/4711 [HC0[0]:SC0[0]:HE1:SE1] takes:",              // kernel/locking/lockdep.c
        "NAME/4711 just changed the state of lock:",             // kernel/locking/lockdep.c
        "NAME: attempt to access beyond end of device",          // block/blk-core.c
        "NAME: calling unsupported SCSI_IOCTL_SEND_COMMAND",     // block/bsg.c
        "NAME uses obsolete (PF_INET,SOCK_PACKET)",              // net/socket.c
        "NAME sent an empty control message without MSG_MORE.",  // crypto/af_alg.c
        "NAME(4711): Attempt to set a LOCK_MAND lock via flock(2).", // fs/locks.c
        "NAME (4711): drop_caches: 3",                           // fs/drop_caches.c
        "NAME (pid 4711) is setting deprecated v1 encryption policy; recommend upgrading to v2.", // fs/crypto/policy.c
    ];

    #[test]
    fn a_name_of_any_bytes_is_known_by_what_follows() {
        for name in
            ["a", "fifteen bytes!!", "kfd: GPU hang", "x[1]", "kfd: GPU hang\\x0a\\x0a", "\\xc3\\xa9\\x5cx", "é"]
        {
            for message in MESSAGES {
                let message = message.replace("NAME", name);
                assert_eq!(of_process(&message), Some(OfProcess::Other), "{message}");
            }
            let message = format!("{name} invoked oom-killer: gfp_mask=0x140cca, order=0");
            assert!(matches!(of_process(&message), Some(OfProcess::UsedUpMemory(_))), "{message}");
        }
    }

    #[test]
    fn other_messages_do_not_begin_with_a_name() {
        for message in [
            "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx_0.0.0 timeout, signaled seq=1",
            "kfd kfd: amdgpu: added device 1002:164e",
            "amdgpu: GPU reset(2) failed",
            "amdgpu: Hang detected doorbell 1002 pipe 1 queue 2 type 0",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "INFO: task kworker/3:1:213 blocked for more than 120 seconds.",
            "AMD-Vi: Completion-Wait loop timed out",
            "Oops: 0000 [#1] PREEMPT SMP NOPTI",
            "Out of memory: Killed process 812 (test) total-vm:1kB",
        ] {
            assert_eq!(of_process(message), None, "{message}");
        }
    }
}
