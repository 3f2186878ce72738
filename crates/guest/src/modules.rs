//! The kernel's modules.

use std::fs::{self, File};
use std::path::Path;

use crate::error::{Doing, GuestError};

/// The modules to load, a path a line, each after those that it needs.
const ORDER: &str = "/lib/modules/order";

/// Load what the machine needs and its kernel does not have built in.
///
/// # Errors
/// A module that is listed and cannot be loaded.
pub fn load() -> Result<(), GuestError> {
    let order = match fs::read_to_string(ORDER) {
        Ok(order) => order,
        // A kernel that has everything built in.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing(|| format!("read {ORDER}")),
    };
    for path in order.lines().filter(|line| !line.is_empty()) {
        let path = Path::new("/lib/modules").join(path);
        let file = File::open(&path).doing(|| format!("open {}", path.display()))?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error).doing(|| format!("load {}", path.display())),
        }
    }
    Ok(())
}
