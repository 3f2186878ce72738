//! System calls, by seccomp (seccomp(2)).
//!
//! A list of what is refused, and not of what is allowed: the C library and the runtime change the calls they make from version to version, and
//! a server must not fail by that. Refused calls fail with EPERM and do not end the process: to whoever is kept out it makes no difference, and
//! nobody is given a way to end the server.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

/// What no registry does.
const REFUSED: &[libc::c_long] = &[
    // Other programs, and other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_personality,
    // File systems, and ways around the paths in them.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine's clock and names.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// The same under numbers that only this architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_mknod, libc::SYS_kexec_file_load];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

/// Under this bit the kernel may take calls of another ABI, with the same numbers for most calls.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;
/// What has another number there: execve, ptrace, kexec_load, process_vm_readv, process_vm_writev, execveat.
#[cfg(target_arch = "x86_64")]
const X32_OWN: [libc::c_long; 6] = [520, 521, 528, 539, 540, 545];

/// Kinds of sockets that are made: those of clients and upstreams, of the owner, and of the C library when it looks for addresses.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Refuses them to this thread and to those it starts. Says what is missing where the kernel does not have it.
pub fn restrict() -> Result<(), String> {
    let missing = |error: &dyn std::fmt::Display| format!("seccomp, which keeps a program from system calls: {error}");
    let program = program().map_err(|error| missing(&error))?;
    apply_filter(&program).map_err(|error| missing(&error))
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let numbers = REFUSED.iter().chain(REFUSED_HERE).copied();
    // No rule means whatever the arguments are.
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = numbers.map(|number| (number, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    {
        let other: Vec<_> = refused.keys().copied().chain(X32_OWN).chain([libc::SYS_socket]).map(|number| number | X32).collect();
        refused.extend(other.into_iter().map(|number| (number, Vec::new())));
    }
    let conditions = FAMILIES
        .iter()
        .map(|family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs())));
    let other_sockets = SeccompRule::new(conditions.collect::<Result<_, _>>()?)?;
    refused.insert(libc::SYS_socket, vec![other_sockets]);
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(refused, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?.try_into()
}
