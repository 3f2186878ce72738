//! The image's name in a deployed basename: `NAME[-MACHINE][.rootfs][-DATE][.rootfs][-TAG]-oci`.
//!
//! Releases of the build order the parts differently (`IMAGE_NAME_SUFFIX` behind the date up to 4.2, before it from 4.3, and both with
//! a class that appends it once more), and each part may be configured away.

use std::fs;
use std::path::Path;

/// What follows the name of a layout, the longest first. A `-dir.tar` holds the layout's folder and not only what is in it.
const KINDS: [&str; 4] = ["-oci-dir.tar", "-oci.tar", "-oci", ".tar"];
/// The usual `IMAGE_NAME_SUFFIX`.
const ROOTFS: &str = ".rootfs";
/// Digits of a date with a time, `20260112143022`.
const DATE_DIGITS: usize = 14;

/// A basename taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// The image's name; never empty unless the basename is.
    pub name: String,
    /// The digits of the date, in an order that sorts.
    pub date: Option<String>,
}

/// The image's name of a path that someone names: that of its basename, with each part taken off that is there. `machine` is the machine's
/// name; `None`: the name of the folder that holds the path. `ref_names` are the layout's own annotations.
pub fn name_of_path(path: &Path, machine: Option<&str>, ref_names: &[String]) -> String {
    // A path such as `.` has a name only once it is looked up.
    let looked_up = if path.file_name().is_none() { fs::canonicalize(path).ok() } else { None };
    let path = looked_up.as_deref().unwrap_or(path);
    let base = path.file_name().unwrap_or_default().to_string_lossy();
    let folders: Vec<String> = match machine {
        Some(machine) => vec![machine.to_owned()],
        None => path.parent().map(folder_names).unwrap_or_default(),
    };
    take_apart(&base, &folders, ref_names).name
}

/// What a folder may be called: by the name it was reached by, and by its own.
pub(super) fn folder_names(folder: &Path) -> Vec<String> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let real = fs::canonicalize(folder).ok();
    let names = [folder.file_name(), real.as_deref().and_then(Path::file_name)];
    names.into_iter().flatten().filter_map(|name| name.to_str()).map(str::to_owned).collect()
}

/// Takes each part off from the end, once, as long as something is left.
pub(super) fn take_apart(base: &str, machines: &[String], ref_names: &[String]) -> Parts {
    let mut rest = KINDS.iter().find_map(|kind| without(base, kind)).unwrap_or(base);
    let tags = ref_names.iter().map(|tag| format!("-{}", tag.replace(':', "_")));
    // Of `1` and `v-1` the longer one is what the build wrote.
    rest = tags.filter(|tag| tag.len() > 1).filter_map(|tag| without(rest, &tag)).min_by_key(|rest| rest.len()).unwrap_or(rest);
    rest = without(rest, ROOTFS).unwrap_or(rest);
    let mut date = None;
    if let Some((before, digits)) = without_date(rest) {
        rest = before;
        date = Some(digits);
    }
    rest = without(rest, ROOTFS).unwrap_or(rest);
    rest = machines.iter().find_map(|machine| without(rest, &format!("-{machine}"))).unwrap_or(rest);
    Parts { name: rest.to_owned(), date }
}

/// The text without its end, unless nothing would be left.
fn without<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    text.strip_suffix(end).filter(|rest| !rest.is_empty())
}

/// The text before `-DATE` at its end, and the date's digits; `-20260112-143022` counts too.
fn without_date(text: &str) -> Option<(&str, String)> {
    let (before, last) = text.rsplit_once('-')?;
    let is_digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let (before, digits) = if is_digits(last, DATE_DIGITS) {
        (before, last.to_owned())
    } else {
        let (before, day) = before.rsplit_once('-')?;
        if !(is_digits(day, 8) && is_digits(last, 6)) {
            return None;
        }
        (before, format!("{day}{last}"))
    };
    (!before.is_empty()).then_some((before, digits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(base: &str, machine: &str, tags: &[&str]) -> String {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        take_apart(base, &[machine.to_owned()], &tags).name
    }

    #[test]
    fn the_forms_of_each_release_are_taken_apart() {
        for base in [
            "container-base-qemux86-64.rootfs-20260112143022-oci",
            "container-base-qemux86-64-20260112143022.rootfs-oci",
            "container-base-qemux86-64.rootfs-20260112143022.rootfs-oci",
            "container-base-qemux86-64.rootfs-oci",
            "container-base-qemux86-64-20260112143022-oci",
            "container-base-qemux86-64-20260112-143022.rootfs-oci",
            "container-base-20260112143022-oci",
            "container-base-qemux86-64.rootfs-20260112143022-latest-oci",
            "container-base-latest-oci",
            "container-base-latest-oci.tar",
            "container-base-qemux86-64.rootfs-20260112143022-oci.tar",
            "container-base-qemux86-64.rootfs-20260112143022-oci-dir.tar",
            "container-base-qemux86-64-oci",
            "container-base.rootfs-oci",
            "container-base-oci",
            "container-base.tar",
            "container-base",
        ] {
            assert_eq!(name(base, "qemux86-64", &["latest"]), "container-base", "{base}");
        }
    }

    #[test]
    fn only_what_is_there_is_taken_off_and_once() {
        for (base, machine, tags, expected) in [
            ("app-1.2-qemuarm64-oci", "qemuarm64", &["latest"][..], "app-1.2"),
            ("app-qemuarm64-oci", "qemux86-64", &["latest"], "app-qemuarm64"),
            ("qemuarm64-tools-qemuarm64-oci", "qemuarm64", &["latest"], "qemuarm64-tools"),
            ("app-qemuarm64-qemuarm64-oci", "qemuarm64", &[], "app-qemuarm64"),
            ("app-raspberrypi4-64.rootfs-20260112143022-oci", "raspberrypi4-64", &[], "app"),
            ("app-64-raspberrypi4-64-oci", "raspberrypi4-64", &[], "app-64"),
            ("app-2026-qemuarm64-20260112143022-oci", "qemuarm64", &[], "app-2026"),
            ("app-20260112-oci", "qemuarm64", &[], "app-20260112"),
            ("app-143022-oci", "qemuarm64", &[], "app-143022"),
            ("app20260112143022-oci", "qemuarm64", &[], "app20260112143022"),
            ("app-1-1-oci", "qemuarm64", &["1"], "app-1"),
            ("app-v1_2-oci", "qemuarm64", &["v1:2"], "app"),
            ("app-v-1-oci", "qemuarm64", &["1", "v-1"], "app"),
            ("app-latest-oci", "qemuarm64", &["other"], "app-latest"),
            ("app-latest-oci", "qemuarm64", &[], "app-latest"),
            ("app-latest-qemuarm64-oci", "qemuarm64", &["latest"], "app-latest"),
            ("qemuarm64-oci", "qemuarm64", &[], "qemuarm64"),
            ("-qemuarm64-oci", "qemuarm64", &[], "-qemuarm64"),
            ("latest-oci", "qemuarm64", &["latest"], "latest"),
            ("-20260112143022-oci", "qemuarm64", &[], "-20260112143022"),
            (".rootfs-oci", "qemuarm64", &[], ".rootfs"),
            ("-oci", "qemuarm64", &[], "-oci"),
            ("app--oci", "qemuarm64", &[""], "app-"),
            ("app-oci-oci", "qemuarm64", &[], "app-oci"),
        ] {
            assert_eq!(name(base, machine, tags), expected, "{base}");
        }
    }

    #[test]
    fn dates_sort_whichever_way_they_are_written() {
        let date = |base: &str| take_apart(base, &[], &[]).date;
        assert_eq!(date("a-20260112143022-oci").as_deref(), Some("20260112143022"));
        assert_eq!(date("a-20260112-143022.rootfs-oci").as_deref(), Some("20260112143022"));
        assert_eq!(date("a-2026011214302-oci"), None);
        assert_eq!(date("a-oci"), None);
    }

    #[test]
    fn a_path_is_named_after_its_basename() {
        let latest = ["latest".to_owned()];
        let name = |path: &str, machine| name_of_path(Path::new(path), machine, &latest);
        assert_eq!(name("/deploy/qemuarm64/app-qemuarm64-latest-oci", None), "app");
        assert_eq!(name("qemuarm64/app-qemuarm64.tar", None), "app");
        assert_eq!(name("/deploy/x/app-qemuarm64-oci/", Some("qemuarm64")), "app");
        assert_eq!(name("app-oci.tar", None), "app");
        assert_eq!(name("app", None), "app");
        assert_eq!(name("/", None), "");
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("app-oci");
        fs::create_dir(&folder).unwrap();
        assert_eq!(name_of_path(&folder.join(".."), Some("m"), &[]), root.path().file_name().unwrap().to_str().unwrap());
    }

    proptest! {
        #[test]
        fn every_combination_is_taken_apart(
            image in "[a-z]{1,5}(-[a-z0-9]{1,3}){0,2}x",
            machine in "[a-z]{2,5}[0-9]?(-64)?",
            has in any::<[bool; 5]>(),
        ) {
            let part = |index: usize, text: &str| if has[index] { text.to_owned() } else { String::new() };
            let base = format!(
                "{image}{}{}{}{}{}-oci",
                part(0, &format!("-{machine}")), part(1, ".rootfs"), part(2, "-20260112143022"), part(3, ".rootfs"), part(4, "-v1_2"),
            );
            prop_assume!(!image.ends_with(&format!("-{machine}")));
            prop_assert_eq!(name(&base, &machine, &["v1:2"]), image);
        }

        #[test]
        fn something_is_always_left(base in ".{1,30}", machine in "[a-z]{0,3}", tag in ".{0,5}") {
            prop_assert!(!name(&base, &machine, &[&tag]).is_empty());
            let whole = format!("-{base}-{machine}-oci");
            prop_assert!(!name(&whole, &machine, &[&tag]).is_empty());
        }
    }
}
