//! opkg: a file for all packages in the form of dpkg's, and one for each package beside it.

use super::Role;

/// Where Yocto and OpenWrt have it.
const FOLDERS: [&[u8]; 2] = [b"var/lib/opkg/", b"usr/lib/opkg/"];

/// Whether a file is of opkg's list.
pub(super) fn role(path: &[u8]) -> Option<Role> {
    let name = FOLDERS.iter().find_map(|folder| path.strip_prefix(*folder))?;
    if name == b"status" {
        return Some(Role::OpkgStatus);
    }
    let name = name.strip_prefix(b"info/")?.strip_suffix(b".control")?;
    (!name.contains(&b'/')).then_some(Role::OpkgControl)
}
