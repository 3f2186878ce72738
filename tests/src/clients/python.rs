//! Clients from PyPI, driven by small scripts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::tools::{PATH, require, target_folder};

/// Steps with oras, for [`run_python`].
pub const ORAS: &str = include_str!("python/oras_client.py");
/// A login, a push and a pull with oras; see there.
pub const SECURE_ORAS: &str = include_str!("python/secure_oras.py");
/// A whole tour with python-dxf, for [`run_python`].
pub const DXF: &str = include_str!("python/dxf_client.py");
/// An OpenID Connect provider; see there.
pub const ISSUER: &str = include_str!("python/issuer.py");
/// A login at it; see there.
pub const ID_TOKEN: &str = include_str!("python/id_token.py");
/// A push and a pull with the Docker engine's client, to be run where the engine is.
pub const DOCKER: &str = include_str!("python/docker_client.py");

/// The Python of the virtual environment with the clients: `WHARF_TEST_VENV`, else `target/test-venv`.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn python() -> PathBuf {
    let folder = std::env::var_os("WHARF_TEST_VENV").map_or_else(|| target_folder().join("test-venv"), PathBuf::from);
    let python = folder.join("bin/python");
    assert!(python.exists(), "no virtual environment at {}: run scripts/install-test-tools", folder.display());
    python
}

/// Runs a script with this home folder; returns the JSON it printed.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn run_python<S: AsRef<OsStr>>(home: &Path, script: &str, arguments: impl IntoIterator<Item = S>) -> Value {
    let mut command = Command::new(require("timeout"));
    command.args(["-k", "5", "120"]).arg(python()).args(["-c", script]).args(arguments);
    command.env_clear().env("PATH", PATH).env("HOME", home).current_dir(home);
    let done = command.output().expect("run timeout");
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}\n{stdout}\n{stderr}", done.status);
    serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {stdout}\n{stderr}"))
}
