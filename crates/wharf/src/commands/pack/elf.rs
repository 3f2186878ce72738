//! The architecture of a program, as its file says it.

/// Bytes of a file that say it.
pub const HEADER: usize = 20;

/// The architecture, by the names of images, that a program in the Executable and Linkable Format is for; `None` for all else, and for
/// architectures that images have no name for.
pub fn architecture(header: &[u8]) -> Option<&'static str> {
    let header: &[u8; HEADER] = header.get(..HEADER)?.try_into().ok()?;
    let [0x7f, b'E', b'L', b'F', class, order, ..] = *header else { return None };
    let is_64 = class == 2;
    let is_little = order == 1;
    let machine = [header[18], header[19]];
    let machine = if is_little { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) };
    // The numbers are those of the ELF specification's e_machine.
    Some(match (machine, is_64, is_little) {
        (3, _, _) => "386",
        (8, false, false) => "mips",
        (8, false, true) => "mipsle",
        (8, true, false) => "mips64",
        (8, true, true) => "mips64le",
        (20, _, _) => "ppc",
        (21, _, false) => "ppc64",
        (21, _, true) => "ppc64le",
        (22, true, _) => "s390x",
        (40, _, _) => "arm",
        (62, _, _) => "amd64",
        (183, _, _) => "arm64",
        (243, true, _) => "riscv64",
        (243, false, _) => "riscv32",
        (258, true, _) => "loong64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(machine: u16, class: u8, order: u8) -> Vec<u8> {
        let machine = if order == 1 { machine.to_le_bytes() } else { machine.to_be_bytes() };
        let mut header = vec![0x7f, b'E', b'L', b'F', class, order];
        header.resize(18, 0);
        header.extend(machine);
        header
    }

    #[test]
    fn programs_say_what_they_run_on() {
        for (machine, class, order, name) in [
            (62, 2, 1, Some("amd64")),
            (183, 2, 1, Some("arm64")),
            (40, 1, 1, Some("arm")),
            (3, 1, 1, Some("386")),
            (8, 1, 2, Some("mips")),
            (8, 2, 1, Some("mips64le")),
            (21, 2, 1, Some("ppc64le")),
            (243, 2, 1, Some("riscv64")),
            (22, 2, 2, Some("s390x")),
            (9999, 2, 1, None),
        ] {
            assert_eq!(architecture(&header(machine, class, order)), name, "{machine}");
        }
        assert_eq!(architecture(b"#!/bin/sh\n exit 0 \n....."), None);
        assert_eq!(architecture(&header(62, 2, 1)[..19]), None);
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(architecture(&own), wharf_yocto::architecture::image_name(std::env::consts::ARCH));
    }
}
