//! dpkg: one file for all packages, or, in images without dpkg itself, one file for each.

use super::Role;

const STATUS: &[u8] = b"var/lib/dpkg/status";
const STATUS_FOLDER: &[u8] = b"var/lib/dpkg/status.d/";

/// Whether a file is of dpkg's list.
pub(super) fn role(path: &[u8]) -> Option<Role> {
    let is_piece = || {
        let name = path.strip_prefix(STATUS_FOLDER)?;
        // Digests of a package's files lie beside what is said of it.
        (!name.contains(&b'/') && !name.ends_with(b".md5sums")).then_some(Role::Dpkg)
    };
    if path == STATUS { Some(Role::Dpkg) } else { is_piece() }
}
