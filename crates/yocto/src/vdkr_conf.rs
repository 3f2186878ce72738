//! `vdkr.conf`: what `vdkr` takes over from a build, a line `key=value` for each part of it. It lies in the registry's storage folder.

use std::fmt;

/// What a build tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VdkrConf {
    /// `HOST[:PORT]/NAMESPACE`, as a guest knows the host: where names without a registry are looked for first.
    pub registry: String,
    /// That one is reached over TLS only, and nothing takes its place when it does not answer.
    pub secure: bool,
    /// `HOST[:PORT]` of those that may speak plain HTTP.
    pub insecure: Vec<String>,
    /// The file with the authority that signed the registry's certificate, absolute.
    pub ca_cert: Option<String>,
}

/// A value that would be read as something else: lines end where it does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` has a line break, which vdkr.conf cannot hold")]
pub struct LineBreak(String);

impl VdkrConf {
    /// The file.
    ///
    /// # Errors
    /// The first value that holds a line break.
    pub fn text(&self) -> Result<String, LineBreak> {
        let values = [&self.registry].into_iter().chain(&self.insecure).chain(&self.ca_cert);
        match values.into_iter().find(|value| value.contains(['\n', '\r'])) {
            Some(value) => Err(LineBreak(value.clone())),
            None => Ok(self.to_string()),
        }
    }
}

impl fmt::Display for VdkrConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Written by the build. vdkr finds it from every folder of the build; `vdkr vconfig` and options count before it."
        )?;
        writeln!(f, "registry={}", self.registry)?;
        writeln!(f, "secure={}", u8::from(self.secure))?;
        if !self.insecure.is_empty() {
            writeln!(f, "insecure-registries={}", self.insecure.join(" "))?;
        }
        // In quotes: blanks at either end are the path's own.
        self.ca_cert.iter().try_for_each(|path| writeln!(f, "ca-cert=\"{path}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_part() {
        let conf = VdkrConf {
            registry: "10.0.2.2:5000/yocto".to_owned(),
            secure: false,
            insecure: vec!["10.0.2.2:5000".to_owned(), "build.example".to_owned()],
            ca_cert: Some("/a b/ca.crt".to_owned()),
        };
        let text = conf.text().unwrap();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "registry=10.0.2.2:5000/yocto",
                "secure=0",
                "insecure-registries=10.0.2.2:5000 build.example",
                "ca-cert=\"/a b/ca.crt\""
            ]
        );
        let broken = VdkrConf { ca_cert: Some("/a\nsecure=0".to_owned()), ..conf };
        assert!(broken.text().is_err());
    }
}
