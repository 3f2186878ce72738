//! What setup asks of ELF files: whose they are, whether a program loads others, what a kernel module says of itself.

use object::Endianness;
use object::elf::{DT_NEEDED, ET_DYN, ET_EXEC, FileHeader64, Machine, SHT_DYNAMIC};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

type Header = FileHeader64<Endianness>;

/// The machine a 64-bit file is for; nothing for other files.
pub fn machine(data: &[u8]) -> Option<Machine> {
    let header = Header::parse(data).ok()?;
    Some(header.e_machine(header.endian().ok()?))
}

/// Whether a program runs without a loader and libraries; nothing for files that are no program.
pub fn is_static(data: &[u8]) -> Option<bool> {
    let header = Header::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
        return None;
    }
    for segment in header.program_headers(endian, data).ok()? {
        if segment.interpreter(endian, data).ok()?.is_some() {
            return Some(false);
        }
    }
    // A library names no loader either, but what it needs itself.
    let sections = header.sections(endian, data).ok()?;
    if !sections.iter().any(|section| section.sh_type(endian) == SHT_DYNAMIC) {
        return Some(true);
    }
    let table = sections.dynamic_table(endian, data).ok()?;
    Some(!table.iter().any(|entry| entry.tag == DT_NEEDED))
}

/// The `name=value` pairs of a kernel module (`.modinfo`); nothing for a file that is no module.
pub fn module_info(data: &[u8]) -> Option<Vec<(String, String)>> {
    let header = Header::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let (_, section) = sections.section_by_name(endian, b".modinfo")?;
    let info = section.data(endian, data).ok()?;
    let pair = |text: &[u8]| {
        let (name, value) = std::str::from_utf8(text).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    Some(info.split(|byte| *byte == 0).filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::elf::{EM_AARCH64, EM_X86_64};

    #[test]
    fn this_very_test_is_a_dynamic_program() {
        let data = std::fs::read("/proc/self/exe").unwrap();
        assert!([EM_X86_64, EM_AARCH64].contains(&machine(&data).unwrap()));
        assert_eq!(is_static(&data), Some(false));
    }

    #[test]
    fn what_is_no_elf_file_or_cut_off_says_nothing() {
        let data = std::fs::read("/proc/self/exe").unwrap();
        for data in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &data[..80]] {
            assert_eq!(is_static(data), None);
            assert_eq!(module_info(data), None);
        }
        // What it names as its loader stands at the beginning, so that much may be known of a part; its sections are at the end.
        assert_eq!(module_info(&data[..4096]), None);
        assert_eq!(machine(b"MZ"), None);
    }
}
