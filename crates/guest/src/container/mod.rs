//! The one container of this machine, by `crun`.

mod bundle;
mod capabilities;
mod console;
mod crun;
mod user;

use std::path::Path;

use rustix::process::Pid;
use wharf_guest_protocol::{Container, Network, Process};

use crate::disks::Disks;
use crate::error::{Doing, GuestError, make_folder, write_file};
use crate::processes::Ends;
use crate::reaper::Reaper;

/// The name under which this program is the container of the warm-up, and does nothing.
pub const WARM_UP: &str = "vdkr-warm-up";

/// The name by which crun knows the container.
const NAME: &str = "container";

/// The container that runs.
pub struct Running {
    disks: Disks,
    container: Container,
}

impl Running {
    /// Mount the disks and start the container.
    ///
    /// # Errors
    /// A disk that cannot be mounted, a user who is not there, a program that cannot be run.
    pub fn start(reaper: &Reaper, container: Container) -> Result<(Self, Pid, Ends), GuestError> {
        let disks = Disks::mount()?;
        let bundle = Path::new("/run/vdkr/bundle");
        make_folder(bundle)?;
        let config = bundle::config(&container, disks.root())?;
        let (pid, ends) = crun::run(reaper, bundle, &config, NAME, &container.process)?;
        Ok((Self { disks, container }, pid, ends))
    }

    /// Start another process in it.
    ///
    /// # Errors
    /// As for the first.
    pub fn exec(&self, reaper: &Reaper, process: &Process) -> Result<(Pid, Ends), GuestError> {
        let spec = bundle::process(process, &self.container, self.disks.root())?;
        crun::exec(reaper, &spec, NAME, process)
    }

    /// Stop all its processes where they are.
    ///
    /// # Errors
    /// crun's own words.
    pub fn pause(&self, reaper: &Reaper) -> Result<(), GuestError> {
        crun::call(reaper, &["pause", NAME])
    }

    /// Let them go on.
    ///
    /// # Errors
    /// crun's own words.
    pub fn resume(&self, reaper: &Reaper) -> Result<(), GuestError> {
        crun::call(reaper, &["resume", NAME])
    }

    /// End what still runs, write everything out and let go of the disks.
    ///
    /// # Errors
    /// When something still uses them.
    pub fn finish(self, reaper: &Reaper) -> Result<(), GuestError> {
        // Fails only when there is nothing to delete any more.
        let _ = crun::call(reaper, &["delete", "--force", NAME]);
        self.disks.finish()
    }
}

/// Run a container from this machine's own files, once: what containers need is in memory after that.
///
/// # Errors
/// crun's own words.
pub fn warm_up(reaper: &Reaper) -> Result<(), GuestError> {
    let root = Path::new("/run/vdkr/warm-up");
    make_folder(root)?;
    let program = std::fs::read("/proc/self/exe").doing(|| "read this program".to_owned())?;
    let path = root.join(WARM_UP);
    write_file(&path, program)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).doing(|| "make a program of the warm-up".to_owned())?;
    let process = Process {
        args: vec![format!("/{WARM_UP}").into()],
        env: Vec::new(),
        working_dir: "/".into(),
        user: String::new(),
        terminal: None,
        stdin: true,
        privileged: false,
    };
    let container = Container {
        id: NAME.to_owned(),
        hostname: NAME.to_owned(),
        process,
        read_only: false,
        privileged: false,
        cap_add: Vec::new(),
        cap_drop: Vec::new(),
        network: Network::Machine,
        mounts: Vec::new(),
        memory: None,
        cpu_millis: None,
        extra_hosts: Vec::new(),
    };
    let bundle = Path::new("/run/vdkr/bundle");
    make_folder(bundle)?;
    let (pid, ends) = crun::run(reaper, bundle, &bundle::config(&container, root)?, WARM_UP, &container.process)?;
    drop(ends);
    let code = reaper.wait(pid);
    crun::call(reaper, &["delete", "--force", WARM_UP])?;
    std::fs::remove_dir_all(root).doing(|| "remove the warm-up".to_owned())?;
    if code == 0 { Ok(()) } else { Err(GuestError::Asked(format!("the warm-up ended with {code}"))) }
}
