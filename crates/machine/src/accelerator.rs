//! What executes the guest's instructions.

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's own translation, for every architecture on every host.
    Tcg,
    /// The host's processor, for its own architecture.
    Kvm,
}

impl Accelerator {
    /// Its name on QEMU's command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}
