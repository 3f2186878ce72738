//! The architectures of the virtual machine.

use std::fmt;
use std::str::FromStr;

use object::elf::{EM_AARCH64, EM_X86_64, Machine};

/// An architecture that machines are set up for. Images for its 32-bit kin run in the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// The text names no architecture that machines are set up for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no machine can be set up for the architecture {0:?}")]
pub struct UnknownArchitecture(pub String);

impl Architecture {
    /// As QEMU, the kernel's `uname -m` and the folders below the state folder have it: `x86_64`, `aarch64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Debian has it: `amd64`, `arm64`.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// As ELF headers have it (`e_machine`).
    pub(super) const fn machine(self) -> Machine {
        match self {
            Self::X86_64 => EM_X86_64,
            Self::Aarch64 => EM_AARCH64,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "x86_64" | "x86-64" | "amd64" => Ok(Self::X86_64),
            "aarch64" | "arm64" => Ok(Self::Aarch64),
            other => Err(UnknownArchitecture(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_in_use_is_understood() {
        for text in ["x86_64", "x86-64", "amd64"] {
            assert_eq!(text.parse(), Ok(Architecture::X86_64));
        }
        for text in ["aarch64", "arm64"] {
            assert_eq!(text.parse(), Ok(Architecture::Aarch64));
        }
        let error = "riscv64".parse::<Architecture>().unwrap_err();
        assert_eq!(error.to_string(), "no machine can be set up for the architecture \"riscv64\"");
    }
}
