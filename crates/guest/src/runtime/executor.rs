//! The last step into a container: its program takes the place of the runtime.

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use wharf_guest_protocol::Text;

/// What begins the words about a program that is not there.
pub const NOT_FOUND: &str = "there is no program ";
/// What begins the words about a program that cannot be run.
pub const NOT_RUNNABLE: &str = "cannot run the program ";

/// A program with its arguments and its environment, byte for byte: the runtime's own configuration holds Unicode only.
#[derive(Debug, Clone)]
pub struct Program {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl Program {
    /// Of the arguments and the environment, `NAME=value`.
    pub fn new(args: &[Text], env: &[Text]) -> Self {
        let pair = |entry: &Text| {
            let bytes = entry.as_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
            let value = bytes.get(at + 1..).unwrap_or_default();
            (OsStr::from_bytes(&bytes[..at]).to_owned(), OsStr::from_bytes(value).to_owned())
        };
        Self { args: args.iter().map(|text| text.as_os_str().to_owned()).collect(), env: env.iter().map(pair).collect() }
    }

    /// The program's path, as execvp(3) finds it.
    fn find(&self) -> Result<PathBuf, String> {
        let name = self.args.first().ok_or("there is nothing to run")?;
        let path = self.env.iter().rev().find(|(name, _)| name == "PATH").map_or(OsStr::new(""), |(_, value)| value.as_os_str());
        let candidates = if name.as_bytes().contains(&b'/') {
            vec![PathBuf::from(name)]
        } else {
            std::env::split_paths(path)
                .map(|folder| if folder.as_os_str().is_empty() { Path::new(".").join(name) } else { folder.join(name) })
                .collect()
        };
        let shown = name.to_string_lossy();
        let mut problem = None;
        for candidate in candidates {
            match std::fs::metadata(&candidate) {
                Ok(about) if about.is_dir() => problem = Some(format!("{NOT_RUNNABLE}{shown}: it is a folder")),
                Ok(about) if about.permissions().mode() & 0o111 == 0 => {
                    problem = Some(format!("{NOT_RUNNABLE}{shown}: permission denied"));
                }
                Ok(_) => return Ok(candidate),
                Err(_) => {}
            }
        }
        let place = if name.as_bytes().contains(&b'/') { "in the image" } else { "in PATH of the image" };
        Err(problem.unwrap_or_else(|| format!("{NOT_FOUND}{shown} {place}")))
    }
}

impl Executor for Program {
    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        let program = self.find().map_err(ExecutorError::Other)?;
        if CString::new(program.as_os_str().as_bytes()).is_err() {
            return Err(ExecutorError::InvalidArg);
        }
        let mut command = Command::new(&program);
        command.arg0(&self.args[0]).args(&self.args[1..]).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        let error = command.exec();
        // Nobody listens any more but who reads standard error: a script without its interpreter, a program of another architecture.
        eprintln!("{NOT_RUNNABLE}{}: {error}", program.display());
        let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        std::process::exit(code)
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.find().map(|_| ()).map_err(ExecutorValidationError::ArgValidationError)
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}
