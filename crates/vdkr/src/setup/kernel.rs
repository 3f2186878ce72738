//! The kernel: whose it is, and whether QEMU starts it.

use std::fs;
use std::path::Path;

use super::compressed::decompressed;
use super::{Architecture, SetupError, elf};

/// A kernel as QEMU takes it.
#[derive(Debug)]
pub struct Kernel {
    /// bzImage, or Image.
    pub image: Vec<u8>,
    /// Its release, as `uname -r` has it.
    pub release: String,
}

/// What a file is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// The x86 boot protocol's header (the kernel's documentation, "The Linux/x86 Boot Protocol").
    BzImage { can_64_bit: bool },
    /// The header of "Booting AArch64 Linux".
    Arm64Image,
    /// A kernel packed as an EFI program that unpacks itself (`CONFIG_EFI_ZBOOT`): QEMU before 9.1 does not start it.
    Zboot { offset: usize, length: usize, compression: String },
    /// Something else, named.
    Other(&'static str),
}

/// Reads a kernel; one that is compressed as a whole is unpacked, so that the guest need not do it.
///
/// # Errors
/// A file that cannot be read, is of another architecture, or no kernel.
pub fn read(path: &Path, architecture: Architecture) -> Result<Kernel, SetupError> {
    let data = fs::read(path).map_err(|error| SetupError::file("read", path, error))?;
    let packed = |found: String| SetupError::PackedKernel { path: path.to_owned(), found };
    let unpacked = |data| decompressed(data).map_err(|error| packed(error.to_string()));
    let mut image = unpacked(data)?;
    if let Kind::Zboot { offset, length, compression } = kind(&image) {
        let payload = image.get(offset..offset.saturating_add(length)).ok_or_else(|| packed("it is cut off".to_owned()))?;
        let payload = payload.to_vec();
        image = match compression.as_str() {
            "gzip" | "xzkern" | "zstd" | "zstd22" => unpacked(payload)?,
            other => return Err(packed(format!("it is compressed with {other}"))),
        };
    }
    let wrong = |found: &str| SetupError::NotTheKernel { path: path.to_owned(), found: found.to_owned(), architecture };
    match (kind(&image), architecture) {
        (Kind::BzImage { can_64_bit: true }, Architecture::X86_64) | (Kind::Arm64Image, Architecture::Aarch64) => {}
        (Kind::BzImage { can_64_bit: true }, _) => return Err(wrong("a kernel for x86_64")),
        (Kind::BzImage { can_64_bit: false }, _) => return Err(wrong("a kernel for 32-bit x86")),
        (Kind::Arm64Image, _) => return Err(wrong("a kernel for aarch64")),
        (Kind::Zboot { .. }, _) => return Err(wrong("packed twice")),
        (Kind::Other(found), _) => return Err(wrong(found)),
    }
    let release = release(&image, architecture).ok_or_else(|| wrong("a kernel that does not tell its release"))?;
    Ok(Kernel { image, release })
}

fn kind(image: &[u8]) -> Kind {
    let at = |offset: usize, bytes: &[u8]| image.get(offset..offset + bytes.len()) == Some(bytes);
    let number = |offset| u32_at(image, offset).and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
    if at(0, b"MZ") && at(4, b"zimg") {
        let name = image.get(24..56).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        return Kind::Zboot { offset: number(8), length: number(12), compression: String::from_utf8_lossy(name).into_owned() };
    }
    if at(0x1fe, &[0x55, 0xaa]) && at(0x202, b"HdrS") {
        // Bit 0 of xloadflags (protocol 2.12): there is a 64-bit entry.
        return Kind::BzImage { can_64_bit: image.get(0x236).is_some_and(|flags| flags & 1 == 1) };
    }
    if at(56, b"ARM\x64") {
        return Kind::Arm64Image;
    }
    Kind::Other(if elf::machine(image).is_some() {
        "an ELF file (vmlinux)"
    } else if at(0x24, &0x016f_2818_u32.to_le_bytes()) {
        "a kernel for 32-bit Arm (zImage)"
    } else if at(0, &0x2705_1956_u32.to_be_bytes()) {
        "packed for U-Boot (uImage)"
    } else if at(0, &0xd00d_feed_u32.to_be_bytes()) {
        "packed for U-Boot (fitImage)"
    } else {
        "no kernel"
    })
}

fn u32_at(image: &[u8], offset: usize) -> Option<u32> {
    image.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// x86 keeps the release in its header, for all else is compressed; elsewhere it is in the line that the kernel says first.
fn release(image: &[u8], architecture: Architecture) -> Option<String> {
    let text = match architecture {
        Architecture::X86_64 => {
            let offset = image.get(0x20e..)?.first_chunk().copied().map(u16::from_le_bytes)?;
            image.get(0x200 + usize::from(offset)..)?
        }
        Architecture::Aarch64 => {
            const BANNER: &[u8] = b"Linux version ";
            let begins = |window: &[u8]| window.starts_with(BANNER) && window[BANNER.len()].is_ascii_digit();
            let start = image.windows(BANNER.len() + 1).position(begins)?;
            &image[start + BANNER.len()..]
        }
    };
    let end = text.iter().take(256).position(|byte| matches!(byte, 0 | b' '))?;
    let release = std::str::from_utf8(&text[..end]).ok()?;
    release.starts_with(|first: char| first.is_ascii_digit()).then(|| release.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    /// The headers of a kernel for x86, and nothing behind them.
    pub fn bz_image(release: &str) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x236] = 1;
        let text = format!("{release} (user@host) #1 SMP");
        image[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
        image
    }

    fn arm64_image(release: &str) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[..2].copy_from_slice(b"MZ");
        image[56..60].copy_from_slice(b"ARM\x64");
        let text = format!("Linux version %s\0Linux version {release} (user@host)");
        image[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
        image
    }

    fn zboot(image: &[u8], compression: &str) -> Vec<u8> {
        let mut header = vec![0; 64];
        header[..2].copy_from_slice(b"MZ");
        header[4..8].copy_from_slice(b"zimg");
        header[8..12].copy_from_slice(&64_u32.to_le_bytes());
        header[12..16].copy_from_slice(&u32::try_from(image.len()).unwrap().to_le_bytes());
        header[24..24 + compression.len()].copy_from_slice(compression.as_bytes());
        header.extend_from_slice(image);
        header
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read_bytes(bytes: &[u8], architecture: Architecture) -> Result<Kernel, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        fs::write(&path, bytes).unwrap();
        read(&path, architecture).map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn kernels_as_they_are_built_are_read() {
        let kernel = read_bytes(&bz_image("6.6.1-yocto"), Architecture::X86_64).unwrap();
        assert_eq!((kernel.release.as_str(), kernel.image.len()), ("6.6.1-yocto", 0x400));
        let image = arm64_image("6.1.0-9-arm64");
        for packed in [image.clone(), gzip(&image), zboot(&gzip(&image), "gzip"), gzip(&zboot(&gzip(&image), "gzip"))] {
            let kernel = read_bytes(&packed, Architecture::Aarch64).unwrap();
            assert_eq!((kernel.release.as_str(), kernel.image), ("6.1.0-9-arm64", image.clone()));
        }
    }

    #[test]
    fn other_files_are_named() {
        let fails = |bytes: &[u8], architecture| read_bytes(bytes, architecture).unwrap_err();
        let (x86, arm) = (Architecture::X86_64, Architecture::Aarch64);
        let mut old = bz_image("6.6.1");
        old[0x236] = 0;
        for (bytes, architecture, expected) in [
            (arm64_image("6.1.0"), x86, "FILE is a kernel for aarch64, not a kernel for x86_64 (bzImage)"),
            (bz_image("6.6.1"), arm, "FILE is a kernel for x86_64, not a kernel for aarch64 (Image)"),
            (old, x86, "FILE is a kernel for 32-bit x86, not a kernel for x86_64 (bzImage)"),
            (b"x".to_vec(), x86, "FILE is no kernel, not a kernel for x86_64 (bzImage)"),
            (fs::read("/proc/self/exe").unwrap(), x86, "FILE is an ELF file (vmlinux), not a kernel for x86_64 (bzImage)"),
            (zboot(&gzip(&arm64_image("6")), "lzo"), arm, "FILE cannot be unpacked: it is compressed with lzo"),
            (zboot(b"", "gzip")[..63].to_vec(), arm, "FILE cannot be unpacked: it is cut off"),
            (arm64_image(""), arm, "FILE is a kernel that does not tell its release, not a kernel for aarch64 (Image)"),
        ] {
            assert_eq!(fails(&bytes, architecture), expected);
        }
    }

    #[test]
    fn any_first_bytes_are_borne() {
        for whole in [bz_image("6.6.1"), zboot(&gzip(&arm64_image("6")), "gzip")] {
            for length in 0..whole.len() {
                let _ = kind(&whole[..length]);
                let _ = release(&whole[..length], Architecture::X86_64);
                let _ = release(&whole[..length], Architecture::Aarch64);
            }
        }
    }
}
