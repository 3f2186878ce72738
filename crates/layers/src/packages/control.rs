//! Stanzas of `Name: value` lines, in which dpkg and opkg keep what they know (deb-control(5)).

use super::{Package, add, package};

/// What a stanza says of a package.
#[derive(Default)]
struct Stanza<'a> {
    name: Option<&'a str>,
    version: Option<&'a str>,
    architecture: Option<&'a str>,
    status: Option<&'a str>,
    is_anything: bool,
}

/// The installed packages of a list. Where a stanza has no status the package is installed, for then the file is there because it is.
pub(super) fn packages(bytes: &[u8]) -> Result<Vec<Package>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    let mut packages = Vec::new();
    let mut stanza = Stanza::default();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            if let Some(package) = std::mem::take(&mut stanza).package()? {
                add(&mut packages, package)?;
            }
            continue;
        }
        stanza.is_anything = true;
        // A line that is indented goes on with the field above, and none of those that count has a second line.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let (field, value) = line.split_once(':').ok_or_else(|| "it has a line without a colon".to_owned())?;
        let value = Some(value.trim());
        match field.trim_end() {
            field if field.eq_ignore_ascii_case("Package") => stanza.name = value,
            field if field.eq_ignore_ascii_case("Version") => stanza.version = value,
            field if field.eq_ignore_ascii_case("Architecture") => stanza.architecture = value,
            field if field.eq_ignore_ascii_case("Status") => stanza.status = value,
            _ => {}
        }
    }
    Ok(packages)
}

impl Stanza<'_> {
    fn package(self) -> Result<Option<Package>, String> {
        if !self.is_anything {
            return Ok(None);
        }
        // What is wanted, an error flag, and the state: `install ok installed`.
        let state = self.status.and_then(|status| status.split_ascii_whitespace().nth(2));
        if matches!(state, Some("not-installed" | "config-files")) {
            return Ok(None);
        }
        let name = self.name.ok_or_else(|| "it has a stanza without a package".to_owned())?;
        package(name, self.architecture, self.version.unwrap_or_default()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Vec<String>, String> {
        let shown = |(name, version): Package| format!("{name} {version}");
        Ok(packages(text.as_bytes())?.into_iter().map(shown).collect())
    }

    #[test]
    fn stanzas_are_packages() {
        let text = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0-3\nDescription: x\n Version: 9\n .\n\n\n\
                    package: b\r\nversion: 1\r\n\r\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: half\nStatus: install ok half-configured\nVersion: 2";
        assert_eq!(listed(text).unwrap(), ["a:amd64 1:2.0-3", "b 1", "half 2"]);
        assert_eq!(listed("\n\n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_list_is_said_so() {
        for text in ["nonsense", "Version: 1\n", "Package:\n", "Package: \u{1b}[31m\nVersion: 1\n"] {
            assert!(listed(text).is_err(), "{text:?}");
        }
        assert!(packages(b"Package: \xff\n").is_err());
        let many: String = (0..=crate::packages::MAX_PACKAGES).map(|number| format!("Package: p{number}\n\n")).collect();
        assert!(listed(&many).unwrap_err().contains("more than"));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = packages(&bytes);
        }

        #[test]
        fn what_is_written_is_read(names in proptest::collection::vec("[a-z][a-z0-9+.-]{0,9}", 0..9), version in "[0-9][0-9:.~+-]{0,9}") {
            let text: String = names.iter().map(|name| format!("Package: {name}\nVersion: {version}\n\n")).collect();
            let expected: Vec<_> = names.iter().map(|name| format!("{name} {version}")).collect();
            proptest::prop_assert_eq!(listed(&text).unwrap(), expected);
        }
    }
}
