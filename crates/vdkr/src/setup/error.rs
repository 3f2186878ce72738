//! What keeps a machine from being set up.

use std::io;
use std::path::{Path, PathBuf};

use super::Architecture;
use super::architecture::debian;

/// Why there is no new guest. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file or folder could not be read or made.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// `read`, `write` and so on.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A program that this system should have did not start.
    #[error("cannot run {program}")]
    Run {
        /// Its name.
        program: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The system's packages are not Debian's.
    #[error("there is no {program} here to fetch a kernel with")]
    NoApt {
        /// The program that is missing.
        program: &'static str,
    },
    /// The system's package sources do not offer what is needed, or could not be asked.
    #[error("apt finds no {what} for {}", debian(*architecture))]
    NotOffered {
        /// The package.
        what: String,
        /// The architecture.
        architecture: Architecture,
        /// What apt complained about; empty when it did not.
        #[source]
        said: Option<Said>,
    },
    /// A package could not be downloaded or unpacked.
    #[error("{program} failed")]
    Packages {
        /// The program.
        program: &'static str,
        /// What it said.
        #[source]
        said: Option<Said>,
    },
    /// The file is no kernel that the machine starts.
    #[error("{} is {found}, not {}", path.display(), wanted_kernel(*architecture))]
    NotTheKernel {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
        /// The architecture that was wanted.
        architecture: Architecture,
    },
    /// The kernel is packed in a way that is not read here.
    #[error("{} cannot be unpacked: {found}", path.display())]
    PackedKernel {
        /// The file.
        path: PathBuf,
        /// How it is packed.
        found: String,
    },
    /// The folder holds no kernel modules.
    #[error("there are no kernel modules in {}", .0.display())]
    NoModules(PathBuf),
    /// Modules and kernel are of two builds.
    #[error("the kernel is {kernel}, its modules are of {modules}")]
    OtherModules {
        /// The kernel's release, as `uname -r` has it.
        kernel: String,
        /// The release that the modules are of.
        modules: String,
    },
    /// The kernel lacks what the machine needs.
    #[error("the kernel {kernel} has no {}", names(missing))]
    MissingModules {
        /// The kernel's release.
        kernel: String,
        /// Each module with the option that gives it.
        missing: Vec<(String, &'static str)>,
    },
    /// A module or program is for another machine, or none.
    #[error("{} is no {what} for {architecture}", path.display())]
    NotFor {
        /// The file.
        path: PathBuf,
        /// `kernel module` or `program`.
        what: &'static str,
        /// The architecture that was wanted.
        architecture: Architecture,
    },
    /// There is no guest program.
    #[error("there is no guest program for {architecture}")]
    NoGuest {
        /// The architecture.
        architecture: Architecture,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The guest program would need libraries that its machine does not have.
    #[error("the guest program {} is not linked statically", .0.display())]
    DynamicGuest(PathBuf),
    /// The folder was not made by this program, or it is damaged.
    #[error("{} holds no guest for {architecture}: {reason}", path.display())]
    NotAGuest {
        /// The folder.
        path: PathBuf,
        /// The architecture that was wanted.
        architecture: Architecture,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a program said when it failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Said(pub String);

impl SetupError {
    pub(super) fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { doing, path: path.to_owned(), source }
    }

    /// The way out, if there is one to name.
    pub fn hint(&self) -> Option<String> {
        let given = "give a kernel with --kernel and --modules";
        Some(match self {
            Self::NoApt { .. } => {
                format!("{given}; or --from the folder that the layer's recipe vdkr-initramfs-create has made")
            }
            Self::NotOffered { architecture, .. } => format!(
                "is there a network, and do this system's package sources offer {}? Otherwise {given}",
                debian(*architecture)
            ),
            Self::Packages { .. } => "is there a network, and room on the disk?".to_owned(),
            Self::NotTheKernel { architecture: Architecture::X86_64, .. } => {
                "BitBake makes it as bzImage, in deploy/images of an x86-64 machine".to_owned()
            }
            Self::NotTheKernel { architecture: Architecture::Aarch64, .. } => {
                "BitBake makes it as Image, in deploy/images of a 64-bit Arm machine".to_owned()
            }
            Self::PackedKernel { .. } => "give the kernel as bzImage or Image".to_owned(),
            Self::NoModules(_) => {
                "--modules takes lib/modules/VERSION of that kernel, or the modules-MACHINE.tgz of BitBake".to_owned()
            }
            Self::OtherModules { .. } => "take both from one build".to_owned(),
            Self::MissingModules { missing, .. } => {
                let options: Vec<_> = missing.iter().map(|(_, option)| format!("CONFIG_{option}")).collect();
                format!("the kernel needs {}, built in or as a module", options.join(", "))
            }
            Self::NoGuest { architecture, looked } => {
                let looked: Vec<_> = looked.iter().map(|path| path.display().to_string()).collect();
                format!(
                    "looked for {}; make guest builds vdkr-guest-{architecture}, and --guest names another place",
                    looked.join(", ")
                )
            }
            Self::DynamicGuest(_) => "make guest builds one that is".to_owned(),
            Self::NotAGuest { .. } => "vdkr setup --force makes it anew".to_owned(),
            Self::File { .. } | Self::Run { .. } | Self::NotFor { .. } => return None,
        })
    }
}

fn wanted_kernel(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::X86_64 => "a kernel for x86_64 (bzImage)",
        Architecture::Aarch64 => "a kernel for aarch64 (Image)",
    }
}

fn names(missing: &[(String, &'static str)]) -> String {
    missing.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}
