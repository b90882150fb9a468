//! Default seccomp profiles of container engines, for machines without these engines. Each profile
//! refuses the same system calls as the engine's default profile does in a container without added
//! capabilities.

use anyhow::{Context as _, Result};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// The profile of one or more engines.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// System calls that fail with EPERM.
    refused: &'static [&'static [libc::c_long]],
    /// Whether the profile forbids new namespaces, and removes the capabilities that engines remove.
    contained: bool,
    /// Whether every use of `vb3` works under the profile.
    pub(crate) complete: bool,
}

/// Makes a list of system calls from the names of their numbers in libc.
macro_rules! calls {
    ($($name:ident)*) => {
        &[$(libc::$name),*]
    };
}

/// System calls that need capabilities which no container has by default.
const ADMIN: &[libc::c_long] = calls![
    SYS_acct SYS_add_key SYS_bpf SYS_clock_settime SYS_delete_module SYS_fanotify_init
    SYS_finit_module SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick SYS_get_mempolicy
    SYS_init_module SYS_kexec_load SYS_keyctl SYS_lookup_dcookie SYS_mbind SYS_mount SYS_move_mount
    SYS_move_pages SYS_open_by_handle_at SYS_open_tree SYS_perf_event_open SYS_pivot_root
    SYS_quotactl SYS_reboot SYS_request_key SYS_set_mempolicy SYS_setdomainname SYS_sethostname
    SYS_setns SYS_settimeofday SYS_swapoff SYS_swapon SYS_syslog SYS_umount2 SYS_unshare
    SYS_userfaultfd SYS_vhangup
];

/// System calls on other processes that need CAP_SYS_PTRACE in the profiles of all engine versions.
const TRACING: &[libc::c_long] = calls![SYS_kcmp SYS_pidfd_getfd SYS_process_madvise];

const MEMORY: &[libc::c_long] = calls![SYS_process_vm_readv SYS_process_vm_writev];

const IO_URING: &[libc::c_long] = calls![
    SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register
];

const LATER_THAN_20_10: &[libc::c_long] = calls![
    SYS_futex_waitv SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
    SYS_mount_setattr SYS_process_mrelease SYS_memfd_secret
];

/// Capabilities that engines remove.
const LOST: CapabilitySet = CapabilitySet::SYS_ADMIN
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_MODULE)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_RESOURCE)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::NET_ADMIN);

pub(crate) const ALL: &[Profile] = &[
    // Docker 20.10 (Debian 12), default profile.
    Profile {
        name: "docker-20.10",
        refused: &[ADMIN, TRACING, MEMORY, LATER_THAN_20_10],
        contained: true,
        complete: true,
    },
    // Today's Docker, default profile.
    Profile {
        name: "moby",
        refused: &[ADMIN, TRACING, IO_URING],
        contained: true,
        complete: true,
    },
    // A profile that forbids ptrace and similar calls, as Flatpak's does.
    Profile {
        name: "no-ptrace",
        refused: &[TRACING, MEMORY, &[libc::SYS_ptrace]],
        contained: false,
        complete: false,
    },
];

pub(crate) fn find(name: &str) -> Result<&'static Profile> {
    let found = ALL.iter().find(|profile| profile.name == name);
    found.with_context(|| {
        let names: Vec<_> = ALL.iter().map(|profile| profile.name).collect();
        format!("there is no profile {name}; there are {}", names.join(", "))
    })
}

impl Profile {
    /// Applies the profile to this thread and to everything that the thread starts from now on.
    pub(crate) fn apply(&self) -> Result<()> {
        if self.contained {
            for lost in LOST.iter() {
                // This fails for a user who is not root. Such a user has none of these capabilities.
                let _ = remove_capability_from_bounding_set(lost);
            }
        }
        let refused = self.refused.iter().flat_map(|calls| calls.iter());
        let mut rules: BTreeMap<i64, _> = refused.map(|&nr| (nr, Vec::new())).collect();
        if self.contained {
            rules.insert(libc::SYS_clone, name_spaces()?);
        }
        apply(rules, libc::EPERM)?;
        if self.contained {
            // The filter cannot read clone3's flags in memory. With ENOSYS, the C library uses clone.
            let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
            apply(clone3, libc::ENOSYS)?;
        }
        Ok(())
    }
}

/// Returns a rule for each flag of clone that makes a namespace.
fn name_spaces() -> Result<Vec<SeccompRule>> {
    let flags = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let rule = |flag: libc::c_int| {
        let bit = u64::from(flag.cast_unsigned());
        let masked = SeccompCmpOp::MaskedEq(bit);
        let has = SeccompCondition::new(0, SeccompCmpArgLen::Qword, masked, bit)?;
        Ok(SeccompRule::new(vec![has])?)
    };
    flags.into_iter().map(rule).collect()
}

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<()> {
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
