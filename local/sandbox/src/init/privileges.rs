//! Changes to the image's user, with only the privileges that a service needs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, fchown, getegid, geteuid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::identity::Identity;
use landfall_kernel::userns::{explain, map};

/// The capabilities of an image's root: Docker's default set (moby: oci/caps/defaults.go) without MKNOD (no control
/// group limits devices here), NET_RAW (instances send packets like ordinary hosts), AUDIT_WRITE and SETFCAP (no use
/// here).
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// Permanently changes to the image's user. With `instance`, a process of a running instance, it changes to the user
/// of that process if the instance's namespace has only one.
pub(super) fn give_up(
    identity: &Identity,
    instance: Option<BorrowedFd<'_>>,
    single_user: bool,
) -> Result<(), String> {
    if !single_user {
        bound()?;
        become_user(identity).map_err(|error| {
            explain(
                &format!("become user {}:{}", identity.uid, identity.gid),
                error,
            )
        })?;
    } else if let Some(instance) = instance {
        setns(instance, CloneFlags::CLONE_NEWUSER)
            .map_err(|error| explain("enter the instance's user namespace", error))?;
        bound()?;
    } else {
        // The cloud's namespace has one user. A namespace below it gives that user the required number, and no
        // privileges over objects of the cloud.
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        unshare(CloneFlags::CLONE_NEWUSER)
            .map_err(|error| explain("create the instance's user namespace", error))?;
        map((identity.uid, user), (identity.gid, group))?;
        bound()?;
    }
    let kept = if geteuid().is_root() {
        KEPT
    } else {
        CapabilitySet::empty()
    };
    limit(kept).map_err(|error| format!("drop capabilities: {error}"))?;
    prctl::set_no_new_privs().map_err(|error| explain("forbid new privileges", error))
}

fn become_user(identity: &Identity) -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    // A service that opens /dev/stdout opens this pipe again, and needs the permission.
    fchown(io::stdout().as_fd(), Some(uid), Some(gid))?;
    fchown(io::stderr().as_fd(), Some(uid), Some(gid))?;
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Removes all capabilities except [`KEPT`] from this process and its later programs.
fn bound() -> Result<(), String> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // The kernel has no capability with this number, and none with a higher one.
            Err(error) if error.raw_os_error() == Errno::EINVAL as i32 => break,
            Err(error) => return Err(format!("limit capabilities: {error}")),
        }
    }
    Ok(())
}

fn limit(kept: CapabilitySet) -> io::Result<()> {
    clear_ambient_capability_set()?;
    let kept = capabilities(None)?.permitted.intersection(kept);
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}
