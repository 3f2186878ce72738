//! Which platforms run in a virtual machine of an architecture, and which of several runs best.

use wharf_machine::Architecture;
use wharf_oci::Platform;

/// How well an image runs: the less the better; `None` when it does not.
fn rank(arch: Architecture, platform: &Platform) -> Option<usize> {
    // A guest has the processor that the build's own images need (x86-64-v3, ARMv8.2), and runs 32-bit programs as well.
    let order: &[&str] = match arch {
        Architecture::X86_64 => &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
        Architecture::Aarch64 => &["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"],
    };
    let is = |text: &&str| text.parse::<Platform>().is_ok_and(|known| known.same_as(platform));
    let exact = order.iter().position(is);
    // Later revisions of 64-bit ARM have one name; what of them an image needs it does not say.
    let is_later_arm = arch == Architecture::Aarch64 && platform.matches(&Platform::new("linux", "arm64"));
    exact.or(is_later_arm.then_some(0))
}

/// Whether an image of this platform runs.
pub fn runs(arch: Architecture, platform: &Platform) -> bool {
    rank(arch, platform).is_some()
}

/// The position of the platform that runs best; of equals the first.
pub fn choose<'a>(arch: Architecture, platforms: impl Iterator<Item = Option<&'a Platform>>) -> Option<usize> {
    let ranked = platforms.enumerate().filter_map(|(position, platform)| Some((rank(arch, platform?)?, position)));
    ranked.min().map(|(_, position)| position)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arch: Architecture, platforms: &[&str]) -> Option<usize> {
        let platforms: Vec<Platform> = platforms.iter().map(|text| text.parse().unwrap()).collect();
        choose(arch, platforms.iter().map(Some))
    }

    #[test]
    fn the_best_that_runs_is_chosen() {
        assert_eq!(chosen(Architecture::X86_64, &["linux/386", "linux/amd64", "linux/arm64"]), Some(1));
        assert_eq!(chosen(Architecture::X86_64, &["linux/amd64/v2", "linux/amd64/v4", "linux/amd64/v3"]), Some(2));
        assert_eq!(chosen(Architecture::X86_64, &["linux/386"]), Some(0));
        assert_eq!(chosen(Architecture::X86_64, &["linux/amd64/v4", "windows/amd64"]), None);
        assert_eq!(chosen(Architecture::Aarch64, &["linux/arm/v6", "linux/arm/v7", "linux/amd64"]), Some(1));
        assert_eq!(chosen(Architecture::Aarch64, &["linux/arm", "linux/arm64/v8"]), Some(1));
        assert_eq!(chosen(Architecture::Aarch64, &["linux/amd64"]), None);
    }
}
