//! `container-registry.sh`: a few lines of POSIX shell that hand over to `wharf` with a build's settings.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A setting that a build may bake into the script; the order is that of the script. Passwords and tokens have no place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the variable that `variable` names")]
pub enum Setting {
    Topdir,
    Url,
    Namespace,
    Insecure,
    Secure,
    TlsVerify,
    Auth,
    TagStrategy,
    AuthMode,
    AuthFile,
    CredsFile,
    Username,
    CertDays,
    CaDays,
    CertSan,
    CaCert,
    Images,
    SearchFirst,
    DockerInsecure,
    ImageVersion,
    TargetArch,
    DeployDirImages,
    DeployDirImage,
}

impl Setting {
    /// Every setting, in the order of the script.
    pub const ALL: [Self; 23] = [
        Self::Topdir,
        Self::Url,
        Self::Namespace,
        Self::Insecure,
        Self::Secure,
        Self::TlsVerify,
        Self::Auth,
        Self::TagStrategy,
        Self::AuthMode,
        Self::AuthFile,
        Self::CredsFile,
        Self::Username,
        Self::CertDays,
        Self::CaDays,
        Self::CertSan,
        Self::CaCert,
        Self::Images,
        Self::SearchFirst,
        Self::DockerInsecure,
        Self::ImageVersion,
        Self::TargetArch,
        Self::DeployDirImages,
        Self::DeployDirImage,
    ];

    /// The variable that holds it, in the build and in the environment of `wharf`.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Topdir => "TOPDIR",
            Self::Url => "CONTAINER_REGISTRY_URL",
            Self::Namespace => "CONTAINER_REGISTRY_NAMESPACE",
            Self::Insecure => "CONTAINER_REGISTRY_INSECURE",
            Self::Secure => "CONTAINER_REGISTRY_SECURE",
            Self::TlsVerify => "CONTAINER_REGISTRY_TLS_VERIFY",
            Self::Auth => "CONTAINER_REGISTRY_AUTH",
            Self::TagStrategy => "CONTAINER_REGISTRY_TAG_STRATEGY",
            Self::AuthMode => "CONTAINER_REGISTRY_AUTH_MODE",
            Self::AuthFile => "CONTAINER_REGISTRY_AUTHFILE",
            Self::CredsFile => "CONTAINER_REGISTRY_CREDSFILE",
            Self::Username => "CONTAINER_REGISTRY_USERNAME",
            Self::CertDays => "CONTAINER_REGISTRY_CERT_DAYS",
            Self::CaDays => "CONTAINER_REGISTRY_CA_DAYS",
            Self::CertSan => "CONTAINER_REGISTRY_CERT_SAN",
            Self::CaCert => "CONTAINER_REGISTRY_CA_CERT",
            Self::Images => "CONTAINER_REGISTRY_IMAGES",
            Self::SearchFirst => "CONTAINER_REGISTRY_SEARCH_FIRST",
            Self::DockerInsecure => "DOCKER_REGISTRY_INSECURE",
            Self::ImageVersion => "IMAGE_VERSION",
            Self::TargetArch => "TARGET_ARCH",
            Self::DeployDirImage => "DEPLOY_DIR_IMAGE",
            Self::DeployDirImages => "DEPLOY_DIR_IMAGES",
        }
    }

    /// The variable that says the same in another way: whoever sets that one does not want this one's baked value. Where both are
    /// baked, the earlier one of the script counts.
    const fn alternative(self) -> Option<&'static str> {
        match self {
            Self::DeployDirImage => Some("DEPLOY_DIR_IMAGES"),
            Self::DeployDirImages => Some("DEPLOY_DIR_IMAGE"),
            _ => None,
        }
    }
}

/// The values to bake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baked(BTreeMap<Setting, String>);

impl Baked {
    /// Bakes a value; an empty one counts as unset. Of several values of one setting the last counts.
    pub fn set(&mut self, setting: Setting, value: &str) {
        if value.is_empty() {
            self.0.remove(&setting);
        } else {
            self.0.insert(setting, value.to_owned());
        }
    }
}

/// Where the storage folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoragePlace {
    /// The script lies in the storage folder, and finds it at run time, through symbolic links too: both may move.
    BesideScript,
    /// A folder with an absolute path.
    At(String),
}

const HEAD: &str = "\
#!/bin/sh
# Written by the build. It hands over to wharf; each setting below holds unless the environment has another one.
# Values are meant as they stand, whatever they hold.
# shellcheck disable=SC2016,SC2089,SC2090
";

const OWN_FOLDER: &str = r#"self=$0
while [ -L "$self" ]; do
    target=$(readlink -- "$self") || exit 1
    case $target in
        /*) self=$target ;;
        *) self=$(dirname -- "$self")/$target ;;
    esac
done
storage=$(CDPATH='' cd -P -- "$(dirname -- "$self")" && pwd) || exit 1
"#;

const TAIL: &str = r#"
# Messages go where the scripts that call this one read them.
export WHARF_MESSAGES=stdout
own=$CONTAINER_REGISTRY_STORAGE/bin/wharf
if [ -n "${WHARF:-}" ]; then
    wharf=$WHARF
elif [ -f "$own" ] && [ -x "$own" ]; then
    wharf=$own
else
    wharf=wharf
fi
case $wharf in
    */*) [ -f "$wharf" ] && [ -x "$wharf" ] ;;
    *) command -v -- "$wharf" >/dev/null ;;
esac || {
    printf '%s\n' "$wharf: no such program." \
        "Put wharf at $own, install it in a folder of PATH, or set WHARF to its path."
    exit 1
}
exec "$wharf" "$@"
"#;

/// The script as text: portable shell, to be made executable by the caller. It always ends as `wharf` does, or with 1 when there is
/// no `wharf`, and says on standard output how to get one then.
pub fn render(baked: &Baked, storage: &StoragePlace) -> String {
    let mut script = HEAD.to_owned();
    match storage {
        StoragePlace::BesideScript => script.push_str(OWN_FOLDER),
        // Writing to a string cannot fail.
        StoragePlace::At(path) => _ = writeln!(script, "storage={}", quoted(path)),
    }
    script.push_str("CONTAINER_REGISTRY_STORAGE=${CONTAINER_REGISTRY_STORAGE:-$storage}\nexport CONTAINER_REGISTRY_STORAGE\n");
    for (setting, value) in &baked.0 {
        let variable = setting.variable();
        _ = match setting.alternative() {
            Some(other) => writeln!(script, "[ -n \"${{{variable}:-}}${{{other}:-}}\" ] || {variable}={}", quoted(value)),
            None => writeln!(script, "[ -n \"${{{variable}:-}}\" ] || {variable}={}", quoted(value)),
        };
        _ = writeln!(script, "export {variable}");
    }
    script.push_str(TAIL);
    script
}

/// A value between single quotes, where only the single quote itself means anything to a shell. NUL, which no variable can hold, is
/// left out.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\0', "").replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests;
