//! The one container of this machine.

mod bundle;
mod capabilities;
mod devices;
mod opened;
mod top;
mod user;

use std::path::{Path, PathBuf};

use rustix::process::Pid;
use wharf_guest_protocol::{Container, Mount, Network, Process};
use wharf_volumes::Owner;
use wharf_volumes::relay::Relay;

use crate::disks::Disks;
use crate::error::{Doing, GuestError, make_folder, write_file};
use crate::processes::Ends;
use crate::reaper::Reaper;
use crate::runtime::{Runtime, What};

pub use opened::Opened;

/// The name under which this program is the container of the warm-up, and does nothing.
pub const WARM_UP: &str = "vdkr-warm-up";

/// The name by which the runtime knows the container.
const NAME: &str = "container";

/// The container that runs.
pub struct Running {
    disks: Disks,
    container: Container,
    /// Its first process.
    pid: Pid,
}

impl Running {
    /// Mount the disks and start the container.
    ///
    /// # Errors
    /// A disk that cannot be mounted, a user who is not there, a program that cannot be run.
    pub fn start(runtime: &Runtime, volumes: &Relay, container: Container) -> Result<(Self, Pid, Ends), GuestError> {
        let disks = Disks::mount()?;
        let user = user::look_up(disks.root(), &container.process.user)?;
        mount_volumes(volumes, &container.mounts, Owner { uid: user.uid, gid: user.gid })?;
        let bundle = Path::new("/run/vdkr/bundle");
        make_folder(bundle)?;
        let env = bundle::write(bundle, &container, disks.root(), user)?;
        let (pid, ends) = runtime.launch(What::Container(bundle.to_owned()), NAME, &container.process, env)?;
        Ok((Self { disks, container, pid }, pid, ends))
    }

    /// Start another process in it.
    ///
    /// # Errors
    /// As for the first.
    pub fn exec(&self, runtime: &Runtime, process: &Process) -> Result<(Pid, Ends), GuestError> {
        let spec = Path::new("/run/vdkr/process.json");
        let user = user::look_up(self.disks.root(), &process.user)?;
        let (value, env) = bundle::process(process, &self.container, user)?;
        write_file(spec, value.to_string())?;
        runtime.launch(What::Process(spec.to_owned()), NAME, process, env)
    }

    /// The processes, a line of `ps -ef` each.
    pub fn processes(&self) -> Vec<Vec<String>> {
        top::processes()
    }

    /// Its root, with all that is mounted in it.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.pid.as_raw_nonzero()))
    }

    /// Stop all its processes where they are.
    ///
    /// # Errors
    /// The runtime's own words.
    pub fn pause(&self, runtime: &Runtime) -> Result<(), GuestError> {
        runtime.freeze(NAME, true)
    }

    /// Let them go on.
    ///
    /// # Errors
    /// The runtime's own words.
    pub fn resume(&self, runtime: &Runtime) -> Result<(), GuestError> {
        Self::resume_all(runtime)
    }

    /// The same, for one who does not hold it: a machine has one container.
    ///
    /// # Errors
    /// The runtime's own words.
    pub fn resume_all(runtime: &Runtime) -> Result<(), GuestError> {
        runtime.freeze(NAME, false)
    }

    /// End what still runs, write everything out and let go of the disks.
    ///
    /// # Errors
    /// When something still uses them.
    pub fn finish(self, runtime: &Runtime) -> Result<(), GuestError> {
        // Fails only when there is nothing to delete any more.
        let _ = runtime.delete(NAME);
        self.disks.finish()
    }
}

/// Mount the host's folders and files where the bundle looks for them. What belongs to the host's caller is the owner's.
fn mount_volumes(volumes: &Relay, mounts: &[Mount], owner: Owner) -> Result<(), GuestError> {
    for mount in mounts {
        if let Mount::Volume { volume, is_file, read_only, .. } = mount {
            let place = Path::new(bundle::VOLUMES).join(volume.to_string());
            if *is_file {
                make_folder(bundle::VOLUMES)?;
                write_file(&place, "")?;
            } else {
                make_folder(&place)?;
            }
            volumes.mount(*volume, &place, *read_only, owner).doing(|| format!("mount the volume {volume}"))?;
        }
    }
    Ok(())
}

/// Run a container from this machine's own files, once: what containers need is in memory after that.
///
/// # Errors
/// The runtime's own words.
pub fn warm_up(reaper: &Reaper, runtime: &Runtime) -> Result<(), GuestError> {
    let root = Path::new("/run/vdkr/warm-up");
    make_folder(root)?;
    let program = std::fs::read("/proc/self/exe").doing(|| "read this program".to_owned())?;
    let path = root.join(WARM_UP);
    write_file(&path, program)?;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .doing(|| "make a program of the warm-up".to_owned())?;
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
    };
    let bundle = Path::new("/run/vdkr/bundle");
    make_folder(bundle)?;
    let user = user::look_up(root, &container.process.user)?;
    let env = bundle::write(bundle, &container, root, user)?;
    let (pid, ends) = runtime.launch(What::Container(bundle.to_owned()), WARM_UP, &container.process, env)?;
    drop(ends);
    let code = reaper.wait(pid);
    runtime.delete(WARM_UP)?;
    std::fs::remove_dir_all(root).doing(|| "remove the warm-up".to_owned())?;
    if code == 0 { Ok(()) } else { Err(GuestError::Asked(format!("the warm-up ended with {code}"))) }
}
