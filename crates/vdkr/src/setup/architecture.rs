//! How architectures are called by those that setup talks to.

use object::elf::{EM_AARCH64, EM_X86_64, Machine};
use wharf_machine::Architecture;

/// Debian's name: `amd64`, `arm64`.
pub const fn debian(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "amd64",
        Architecture::Aarch64 => "arm64",
    }
}

/// The number in ELF headers (`e_machine`).
pub const fn machine(architecture: Architecture) -> Machine {
    match architecture {
        Architecture::X86_64 => EM_X86_64,
        Architecture::Aarch64 => EM_AARCH64,
    }
}
