//! Why something was not done, as one process tells another.

use serde::{Deserialize, Serialize};
use wharf_machine::{Architecture, MachineError};
use wharf_rootfs::RootfsError;
use wharf_terminal::ui::Failure;

/// Why something was not done, in words for the one who wanted it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub message: String,
    /// What lies behind it.
    pub causes: Vec<String>,
    /// The way out.
    pub hint: Option<String>,
    /// The exit code that says it.
    pub code: u8,
}

impl Refusal {
    /// Of an error, with what caused it.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self { message: error.to_string(), causes, hint: None, code: 125 }
    }

    /// Of words.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint: None, code: 125 }
    }

    /// With a way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Refusal> for Failure {
    fn from(Refusal { message, causes, hint, .. }: Refusal) -> Self {
        Self::Report { message, causes, hint }
    }
}

impl From<RootfsError> for Refusal {
    fn from(error: RootfsError) -> Self {
        Self { hint: error.hint().map(str::to_owned), ..Self::of(&error) }
    }
}

impl From<MachineError> for Refusal {
    fn from(error: MachineError) -> Self {
        let hint = match &error {
            MachineError::NoQemu(architecture) => Some(format!(
                "install QEMU's system emulation ({}), or name the program in VDKR_QEMU",
                match architecture {
                    Architecture::X86_64 => "Debian: qemu-system-x86, Fedora: qemu-system-x86-core",
                    Architecture::Aarch64 => "Debian: qemu-system-arm, Fedora: qemu-system-aarch64-core",
                }
            )),
            MachineError::OldQemu { .. } => {
                Some("install QEMU 7.2 or later, and name it in VDKR_QEMU where it is not in PATH".to_owned())
            }
            MachineError::NoGuest { architecture, .. } => Some(format!("make them with `vdkr --arch {architecture} setup`")),
            _ => None,
        };
        Self { hint, ..Self::of(&error) }
    }
}
