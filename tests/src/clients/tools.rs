//! Finding the clients. What is missing fails the test: a client that was never run proves nothing.

use std::path::{Path, PathBuf};

/// Programs and the Debian packages that bring them.
const PACKAGES: [(&str, &str); 33] = [
    ("bsdtar", "libarchive-tools"),
    ("buildah", "buildah"),
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("cp", "coreutils"),
    ("curl", "curl"),
    ("date", "coreutils"),
    ("docker", "docker.io"),
    ("docker-registry", "docker-registry"),
    ("dockerd", "docker.io"),
    ("fakeroot", "fakeroot"),
    ("getfattr", "attr"),
    ("gzip", "gzip"),
    ("ip", "iproute2"),
    ("kill", "procps"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("podman", "podman"),
    ("pseudo", "pseudo"),
    ("python3", "python3"),
    ("runc", "runc"),
    ("setfattr", "attr"),
    ("setpriv", "util-linux"),
    ("skopeo", "skopeo"),
    ("sudo", "sudo"),
    ("tar", "tar"),
    ("timeout", "coreutils"),
    ("umoci", "umoci"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
    ("zstd", "zstd"),
];

/// Where programs are looked for, also those that only an administrator has in the search path.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of a program; what is a path already stays what it is.
///
/// # Panics
/// When it is not installed; the message names the package.
#[track_caller]
pub fn require(program: &str) -> PathBuf {
    if program.contains('/') {
        return program.into();
    }
    let found = PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file());
    found.unwrap_or_else(|| match PACKAGES.iter().find(|(name, _)| *name == program) {
        Some((_, package)) => {
            panic!("{program} is missing: install the Debian package {package}, or run scripts/install-test-tools")
        }
        None => panic!("{program} is missing"),
    })
}

/// Test programs lie in `target/<profile>/deps`.
pub(super) fn target_folder() -> PathBuf {
    let own = std::env::current_exe().expect("the path of the test program");
    own.ancestors().nth(3).expect("a target folder").to_owned()
}
