//! An image's version, and the versions it stands for.

/// A version as the tag strategy `semver` takes it: up to three numbers, perhaps with a `v` in front and a pre-release behind
/// (Semantic Versioning 2.0.0, items 2, 9 and 10). Numbers keep their leading zeros, for `2024.04` is a version too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// All that is written before a `+`.
    text: &'a str,
    numbers: usize,
    pre_release: bool,
}

/// The text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version such as `1.2.3`, `v1.2`, or `1.2.3-rc1`, which the strategy `semver` needs")]
pub struct VersionError(pub String);

impl<'a> Version<'a> {
    /// Reads a version. What follows a `+` says how it was built and is left out.
    pub fn parse(written: &'a str) -> Result<Self, VersionError> {
        let refused = || VersionError(written.to_owned());
        let text = before_build(written);
        let unmarked = text.strip_prefix('v').unwrap_or(text);
        let (core, pre_release) = match unmarked.split_once('-') {
            Some((core, pre_release)) => (core, Some(pre_release)),
            None => (unmarked, None),
        };
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_identifier =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let numbers = core.split('.').count();
        if numbers > 3 || !core.split('.').all(is_number) || pre_release.is_some_and(|it| !it.split('.').all(is_identifier)) {
            return Err(refused());
        }
        Ok(Self { text, numbers, pre_release: pre_release.is_some() })
    }

    /// The version and those it stands for, from the narrowest to the widest: `1.2.3`, `1.2`, `1`. A pre-release stands for itself
    /// only, so that it moves no tag of a release.
    pub fn nested(&self) -> Vec<&'a str> {
        if self.pre_release {
            return vec![self.text];
        }
        let mut versions = Vec::with_capacity(self.numbers);
        let mut rest = Some(self.text);
        while let Some(version) = rest {
            versions.push(version);
            rest = version.rsplit_once('.').map(|(wider, _)| wider);
        }
        versions
    }
}

/// A version without what `+` adds to say how it was built: `1.2.3` of `1.2.3+gitAUTOINC`.
pub fn before_build(written: &str) -> &str {
    written.split_once('+').map_or(written, |(version, _)| version)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(text: &str) -> Option<Vec<&str>> {
        Version::parse(text).ok().map(|version| version.nested())
    }

    #[test]
    fn a_version_stands_for_wider_ones() {
        for (text, expected) in [
            ("1.2.3", &["1.2.3", "1.2", "1"][..]),
            ("1.2", &["1.2", "1"]),
            ("1", &["1"]),
            ("v1.2.3", &["v1.2.3", "v1.2", "v1"]),
            ("1.2.3+gitAUTOINC-5", &["1.2.3", "1.2", "1"]),
            ("1.2.3+", &["1.2.3", "1.2", "1"]),
            ("10.0.20", &["10.0.20", "10.0", "10"]),
            ("2024.04", &["2024.04", "2024"]),
            ("1.2.3-rc1", &["1.2.3-rc1"]),
            ("v1.2-rc.1-x+b", &["v1.2-rc.1-x"]),
            ("1-0", &["1-0"]),
        ] {
            assert_eq!(nested(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_named() {
        for text in [
            "",
            "v",
            "+1",
            "git",
            "1.",
            ".1",
            "1..2",
            "1.2.3.4",
            "1.2.x",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3~rc1",
            "vv1",
            "V1",
            "-1",
            " 1",
            "1.2.3-ä",
            "٣",
        ] {
            assert_eq!(Version::parse(text), Err(VersionError(text.to_owned())), "{text}");
        }
        assert!(VersionError("x1".to_owned()).to_string().contains("`x1`"));
    }

    proptest! {
        #[test]
        fn each_version_is_nested_in_the_next(
            v in "v?",
            numbers in proptest::collection::vec(0_u64.., 1..=3),
            build in proptest::option::of("[0-9a-zA-Z.+-]{0,12}"),
        ) {
            let core = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
            let text = format!("{v}{core}{}", build.map(|build| format!("+{build}")).unwrap_or_default());
            let versions = nested(&text).unwrap();
            prop_assert_eq!(versions.len(), numbers.len());
            prop_assert_eq!(versions[0], format!("{v}{core}"));
            prop_assert_eq!(versions[versions.len() - 1], format!("{v}{}", numbers[0]));
            for pair in versions.windows(2) {
                let narrower = pair[0].strip_prefix(pair[1]);
                prop_assert!(narrower.is_some_and(|rest| rest.starts_with('.')));
                prop_assert_eq!(nested(pair[1]).unwrap().len() + 1, nested(pair[0]).unwrap().len());
            }
        }

        #[test]
        fn a_pre_release_stands_alone(core in "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,2}", pre in "[0-9A-Za-z-]{1,6}(\\.[0-9A-Za-z-]{1,3}){0,2}") {
            let text = format!("{core}-{pre}");
            prop_assert_eq!(nested(&text), Some(vec![text.as_str()]));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".{0,40}") {
            if let Some(versions) = nested(&text) {
                prop_assert!(versions.len() <= 3);
                prop_assert!(text.starts_with(versions[0]));
            }
        }
    }
}
