//! Architectures as the build names them (`TARGET_ARCH`) and as images do (GOARCH, image-spec, "Image configuration").

/// What an image calls an architecture, and what a build does.
const NAMES: [(&str, &str); 15] = [
    ("386", "i686"),
    ("amd64", "x86_64"),
    ("arm", "arm"),
    ("arm64", "aarch64"),
    ("loong64", "loongarch64"),
    ("mips", "mips"),
    ("mips64", "mips64"),
    ("mips64le", "mips64el"),
    ("mipsle", "mipsel"),
    ("ppc", "powerpc"),
    ("ppc64", "powerpc64"),
    ("ppc64le", "powerpc64le"),
    ("riscv32", "riscv32"),
    ("riscv64", "riscv64"),
    ("s390x", "s390x"),
];

/// The build's name of an image's architecture: `x86_64` for `amd64`. One that is not known stays as it is.
///
/// `target_arch` is the build's own `TARGET_ARCH`. Where it means the same architecture it is taken as written, for a build may be
/// more exact than an image: `i586` for `386`.
pub fn build_name<'a>(architecture: &'a str, target_arch: Option<&'a str>) -> &'a str {
    let target_arch = target_arch.map(str::trim).filter(|name| !name.is_empty());
    if let Some(name) = target_arch.filter(|name| image_name(name) == Some(architecture) || *name == architecture) {
        return name;
    }
    NAMES.iter().find(|(image, _)| *image == architecture).map_or(architecture, |(_, build)| build)
}

/// What an image calls the build's architecture; `None` where images have no name for it.
pub fn image_name(target_arch: &str) -> Option<&'static str> {
    let known = |build: &str| NAMES.iter().find(|(_, name)| *name == build).map(|(image, _)| *image);
    known(target_arch).or_else(|| match target_arch.as_bytes() {
        [b'i', b'3'..=b'7', b'8', b'6'] => Some("386"),
        [b'a', b'r', b'm', ..] => Some("arm"),
        _ => target_arch.strip_prefix("ppc").and_then(|bits| match bits {
            "" => Some("ppc"),
            "64" => Some("ppc64"),
            "64le" => Some("ppc64le"),
            _ => None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_as_the_build_does() {
        for (image, build) in [
            ("amd64", "x86_64"),
            ("arm64", "aarch64"),
            ("arm", "arm"),
            ("386", "i686"),
            ("riscv64", "riscv64"),
            ("ppc64le", "powerpc64le"),
            ("mips64le", "mips64el"),
            ("loong64", "loongarch64"),
            ("s390x", "s390x"),
            ("wasm", "wasm"),
        ] {
            assert_eq!(build_name(image, None), build);
        }
    }

    #[test]
    fn target_arch_is_taken_as_written_where_it_means_the_same() {
        assert_eq!(build_name("386", Some("i586")), "i586");
        assert_eq!(build_name("arm", Some("armeb")), "armeb");
        assert_eq!(build_name("ppc64le", Some("ppc64le")), "ppc64le");
        assert_eq!(build_name("amd64", Some("i586")), "x86_64");
        assert_eq!(build_name("arm64", Some("arm")), "aarch64");
        assert_eq!(build_name("amd64", Some("")), "x86_64");
        assert_eq!(build_name("amd64", Some("${TARGET_ARCH}")), "x86_64");
        assert_eq!(build_name("sparc64", Some("sparc64")), "sparc64");
    }

    #[test]
    fn the_table_goes_both_ways() {
        for (image, build) in NAMES {
            assert_eq!(image_name(build), Some(image));
        }
        assert_eq!(image_name("i486"), Some("386"));
        assert_eq!(image_name("i986"), None);
        assert_eq!(image_name("ppc32"), None);
        assert_eq!(image_name("microblaze"), None);
    }
}
