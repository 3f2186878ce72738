//! The architectures that a machine can have.

use std::fmt;
use std::str::FromStr;

/// The architecture of a machine, by the name that builds give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// `x86_64`; runs programs for 32-bit x86 as well.
    X86_64,
    /// `aarch64`; runs programs for 32-bit arm as well.
    Aarch64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// That of this program, where a machine can have it.
    pub fn of_host() -> Option<Self> {
        std::env::consts::ARCH.parse().ok()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// QEMU's program for it.
    pub fn program(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No machine has an architecture of this name.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an architecture of virtual machines: x86_64 or aarch64")]
pub struct UnknownArchitecture(String);

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    /// Reads its name, or the one that images have for it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" | "amd64" => Ok(Self::X86_64),
            "aarch64" | "arm64" => Ok(Self::Aarch64),
            _ => Err(UnknownArchitecture(text.to_owned())),
        }
    }
}
