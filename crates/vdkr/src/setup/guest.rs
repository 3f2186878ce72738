//! The guest program: the first process of the machine, built for the machine's architecture.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::architecture::machine;
use super::{Architecture, SetupError, elf};

/// Names the folder that holds `guest-ARCH`.
const FOLDER: &str = "VDKR_GUEST_DIR";

/// Finds and reads the guest program: the one that was named; else `guest-ARCH` in the folder that `VDKR_GUEST_DIR` names; else
/// `vdkr-guest-ARCH` beside this program, in `../lib/wharf` or in `../guest`.
///
/// # Errors
/// There is none; it is for another architecture, or not static.
pub fn read(given: Option<&Path>, architecture: Architecture) -> Result<Vec<u8>, SetupError> {
    let candidates = match given {
        Some(path) => vec![path.to_owned()],
        None => candidates(std::env::var_os(FOLDER), std::env::current_exe().ok().as_deref(), architecture),
    };
    for path in &candidates {
        match fs::read(path) {
            Ok(program) => return checked(path, program, architecture),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SetupError::file("read", path, error)),
        }
    }
    Err(SetupError::NoGuest { architecture, looked: candidates })
}

fn candidates(folder: Option<OsString>, program: Option<&Path>, architecture: Architecture) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Some(folder) = folder.filter(|folder| !folder.is_empty()) {
        let folder = PathBuf::from(folder);
        found.push(folder.join(format!("guest-{architecture}")));
        // As `make guest` names them.
        found.push(folder.join(format!("vdkr-guest-{architecture}")));
    }
    if let Some(folder) = program.and_then(Path::parent) {
        let name = format!("vdkr-guest-{architecture}");
        found.push(folder.join(&name));
        if let Some(above) = folder.parent() {
            found.push(above.join("lib/wharf").join(&name));
            // In a clone: the target folder, where `make guest` puts them.
            found.push(above.join("guest").join(&name));
        }
    }
    found
}

fn checked(path: &Path, program: Vec<u8>, architecture: Architecture) -> Result<Vec<u8>, SetupError> {
    match elf::is_static(&program).filter(|_| elf::machine(&program) == Some(machine(architecture))) {
        Some(true) => Ok(program),
        Some(false) => Err(SetupError::DynamicGuest(path.to_owned())),
        None => Err(SetupError::NotFor { path: path.to_owned(), what: "program", architecture }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_looked_for_in_the_order_that_is_documented() {
        let found = candidates(Some("/guests".into()), Some(Path::new("/opt/bin/vdkr")), Architecture::Aarch64);
        let expected = [
            "/guests/guest-aarch64",
            "/guests/vdkr-guest-aarch64",
            "/opt/bin/vdkr-guest-aarch64",
            "/opt/lib/wharf/vdkr-guest-aarch64",
            "/opt/guest/vdkr-guest-aarch64",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        let found = candidates(Some("".into()), None, Architecture::Aarch64);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn only_a_static_program_will_do() {
        let here: Architecture = std::env::consts::ARCH.parse().unwrap();
        let error = |path: &str| read(Some(Path::new(path)), here).unwrap_err().to_string();
        assert!(error("/proc/self/exe").ends_with("is not linked statically"));
        assert_eq!(error("/etc/passwd"), format!("/etc/passwd is no program for {here}"));
        assert_eq!(error("/nowhere"), format!("there is no guest program for {here}"));
        read(Some(Path::new("/bin/busybox")), here).expect("Debian's static busybox");
    }
}
