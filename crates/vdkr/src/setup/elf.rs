//! What setup asks of ELF files: whose they are, what a program loads, what a kernel module says of itself.

use object::Endianness;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, ET_DYN, ET_EXEC, FileHeader64, Machine, SHT_DYNAMIC};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

type Header = FileHeader64<Endianness>;

/// What the dynamic loader reads in a program or library.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linking {
    /// The loader, by its absolute path; static programs and most libraries name none.
    pub interpreter: Option<String>,
    /// Libraries by name, `DT_NEEDED`.
    pub needed: Vec<String>,
    /// Folders to look in first, `DT_RPATH` and `DT_RUNPATH`, not expanded.
    pub folders: Vec<String>,
}

/// The machine a 64-bit file is for; nothing for other files.
pub fn machine(data: &[u8]) -> Option<Machine> {
    let header = Header::parse(data).ok()?;
    Some(header.e_machine(header.endian().ok()?))
}

/// What a program or library has loaded; nothing for files that are neither.
pub fn linking(data: &[u8]) -> Option<Linking> {
    let header = Header::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(endian)) {
        return None;
    }
    let mut linking = Linking::default();
    for segment in header.program_headers(endian, data).ok()? {
        if let Some(path) = segment.interpreter(endian, data).ok()? {
            linking.interpreter = Some(String::from_utf8(path.to_owned()).ok()?);
        }
    }
    let sections = header.sections(endian, data).ok()?;
    if !sections.iter().any(|section| section.sh_type(endian) == SHT_DYNAMIC) {
        return Some(linking);
    }
    let table = sections.dynamic_table(endian, data).ok()?;
    for entry in &table {
        let text = || String::from_utf8(table.string(entry).ok()?.to_owned()).ok();
        match entry.tag {
            DT_NEEDED => linking.needed.push(text()?),
            DT_RPATH | DT_RUNPATH => linking.folders.extend(text()?.split(':').map(str::to_owned)),
            _ => {}
        }
    }
    Some(linking)
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
        let linking = linking(&data).unwrap();
        assert!(linking.interpreter.is_some_and(|path| path.contains("/ld-")), "no loader");
        assert!(linking.needed.contains(&"libc.so.6".to_owned()), "{:?}", linking.needed);
    }

    #[test]
    fn what_is_no_elf_file_or_cut_off_says_nothing() {
        let data = std::fs::read("/proc/self/exe").unwrap();
        for data in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &data[..80], &data[..4096]] {
            assert_eq!(linking(data), None);
            assert_eq!(module_info(data), None);
        }
        assert_eq!(machine(b"MZ"), None);
    }
}
