//! Default seccomp profiles of container engines, for machines without these engines. Each profile
//! refuses the same system calls as the engine's default profile does in a container without added
//! capabilities.

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// The profile of one or more engines.
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    /// The engines that have the profile.
    pub(crate) about: &'static str,
    /// System calls that fail with EPERM.
    refused: &'static [&'static [libc::c_long]],
    /// Whether the profile forbids new namespaces, and removes the capabilities that engines remove.
    contained: bool,
    /// Whether every use of `vb3` works under the profile.
    pub(crate) complete: bool,
}

/// System calls that need capabilities which no container has by default.
const ADMIN: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// System calls on other processes that need CAP_SYS_PTRACE in every version.
const TRACING: &[libc::c_long] = &[
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
];

const MEMORY: &[libc::c_long] = &[libc::SYS_process_vm_readv, libc::SYS_process_vm_writev];

const IO_URING: &[libc::c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

const LATER_THAN_20_10: &[libc::c_long] = &[
    libc::SYS_futex_waitv,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_mount_setattr,
    libc::SYS_process_mrelease,
    libc::SYS_memfd_secret,
];

/// All profiles.
pub(crate) const ALL: &[Profile] = &[
    Profile {
        name: "docker-20.10",
        about: "Docker 20.10 (Debian 12), default profile",
        refused: &[ADMIN, TRACING, MEMORY, LATER_THAN_20_10],
        contained: true,
        complete: true,
    },
    Profile {
        name: "moby",
        about: "today's Docker, default profile",
        refused: &[ADMIN, TRACING, IO_URING],
        contained: true,
        complete: true,
    },
    Profile {
        name: "no-ptrace",
        about: "a profile that forbids ptrace and its kin (as Flatpak's)",
        refused: &[TRACING, MEMORY, &[libc::SYS_ptrace]],
        contained: false,
        complete: false,
    },
];

/// Returns the profile with this name.
///
/// # Errors
/// There is no such profile.
pub(crate) fn find(name: &str) -> Result<&'static Profile> {
    let found = ALL.iter().find(|profile| profile.name == name);
    found.with_context(|| {
        let names: Vec<_> = ALL.iter().map(|profile| profile.name).collect();
        format!("there is no profile {name}; there are {}", names.join(", "))
    })
}

impl Profile {
    /// Applies the profile to this thread and to everything that the thread starts from now on.
    ///
    /// # Errors
    /// The kernel refuses the filter.
    pub(crate) fn apply(&self) -> Result<()> {
        if self.contained {
            for lost in [
                CapabilitySet::SYS_ADMIN,
                CapabilitySet::SYS_PTRACE,
                CapabilitySet::SYS_MODULE,
                CapabilitySet::SYS_RAWIO,
                CapabilitySet::SYS_NICE,
                CapabilitySet::SYS_RESOURCE,
                CapabilitySet::SYS_TIME,
                CapabilitySet::DAC_READ_SEARCH,
                CapabilitySet::NET_ADMIN,
            ] {
                // This fails for a user who is not root, and has none of these capabilities.
                let _ = remove_capability_from_bounding_set(lost);
            }
        }
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = self
            .refused
            .iter()
            .flat_map(|calls| calls.iter())
            .map(|&nr| (nr, Vec::new()))
            .collect();
        if self.contained {
            rules.insert(libc::SYS_clone, name_spaces()?);
        }
        apply(rules, libc::EPERM)?;
        if self.contained {
            // The filter cannot read clone3's flags in memory. With ENOSYS, the C library uses clone.
            apply(
                BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
                libc::ENOSYS,
            )?;
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
        let has =
            SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(bit), bit)?;
        SeccompRule::new(vec![has])
    };
    let rules: std::result::Result<Vec<_>, seccompiler::BackendError> =
        flags.into_iter().map(rule).collect();
    Ok(rules?)
}

fn apply(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<()> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => TargetArch::x86_64,
        "aarch64" => TargetArch::aarch64,
        other => bail!("no profiles for {other}"),
    };
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}
