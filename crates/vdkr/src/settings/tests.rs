use super::*;

fn resolve(flags: &Flags, program: &str, variables: &[(&str, &str)]) -> Result<Settings, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    let environment =
        [("HOME", home), ("VDKR_CONFIG_DEFAULTS", "/dev/null")].into_iter().chain(variables.iter().copied()).collect();
    Settings::resolve(flags, Path::new(program), environment)
}

#[test]
fn the_architecture_is_the_first_that_anybody_says() {
    let flags = |arch: &str| Flags { arch: Some(arch.to_owned()), ..Flags::default() };
    let arch = |flags: &Flags, program: &str, variables: &[(&str, &str)]| resolve(flags, program, variables).unwrap().arch;
    assert_eq!(arch(&flags("amd64"), "vdkr-aarch64", &[("VDKR_ARCH", "aarch64")]), Architecture::X86_64);
    assert_eq!(arch(&Flags::default(), "/usr/bin/vdkr-aarch64", &[("VDKR_ARCH", "x86_64")]), Architecture::Aarch64);
    assert_eq!(arch(&Flags::default(), "vdkr", &[("VDKR_ARCH", "arm64")]), Architecture::Aarch64);
    assert!(resolve(&flags("sparc"), "vdkr", &[]).is_err());
}

#[test]
fn registries_are_prefixes_of_names() {
    let prefix: RegistryPrefix = "10.0.2.2:5000/yocto/".parse().unwrap();
    assert_eq!(prefix.qualify("alpine"), "10.0.2.2:5000/yocto/alpine");
    assert_eq!("localhost:5000".parse::<RegistryPrefix>().unwrap().qualify("a/b:1"), "localhost:5000/a/b:1");
    for wrong in ["", "yocto", "host:99999/x", "host:5000/UPPER", "a b:5000"] {
        assert!(wrong.parse::<RegistryPrefix>().is_err(), "{wrong}");
    }
}

#[test]
fn wrong_values_are_named_with_where_they_stand() {
    let error = resolve(&Flags::default(), "vdkr", &[("VDKR_TIMEOUT", "soon")]).unwrap_err().to_string();
    assert!(error.contains("VDKR_TIMEOUT") && error.contains("soon"), "{error}");
    let flags = Flags { instance: Some("../x".to_owned()), ..Flags::default() };
    assert!(resolve(&flags, "vdkr", &[]).is_err());
}
