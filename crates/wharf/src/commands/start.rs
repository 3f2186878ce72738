//! `start`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use wharf_store::lock::{Holder, State};

use crate::config::render;
use crate::control;
use crate::guard;
use crate::instance::{Instance, SETTLE};
use crate::listen;
use crate::notify::{self, Waiter};
use crate::settings::Settings;
use crate::ui::{self, Failure};

/// A server that is not ready by then will not be: it looks at nothing whose amount grows with what is stored.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a silent server is looked after.
const LOOK: Duration = Duration::from_millis(50);
/// In how many such looks there is one at the lock.
const RARELY: u32 = 20;
/// Bytes of the log to show when the server died.
const TAIL: u64 = 4096;

/// Starts a server in the background and returns when it is ready.
pub fn run(settings: &Settings, file: Option<&Path>) -> Result<ExitCode, Failure> {
    let instance = Instance::to_start(settings, file)?;
    let _turn = take_turn(&instance.folder)?;
    if let Some(holder) = instance.server_or_nobody(SETTLE)? {
        return already_running(&instance, &holder);
    }
    // Asking beforehand lets the message name who has the port; the server's own attempt decides.
    let debug = instance.config.http.debug.as_ref().map(|debug| &debug.listen);
    for address in std::iter::once(&instance.config.http.listen).chain(debug) {
        if let Err(error) = listen::bind(address) {
            // A `serve` of the same storage may have been faster by a moment.
            return match instance.server_or_nobody(SETTLE)? {
                Some(holder) => already_running(&instance, &holder),
                None => Err(listen::cannot_listen(&error)),
            };
        }
    }
    write_config(&instance)?;
    let log_start = fs::metadata(instance.log_file()).map_or(0, |log| log.len());
    let waiter = Waiter::new().map_err(|error| Failure::new("cannot wait for the server").because(&error))?;
    let mut child = spawn(&instance, &waiter)?;
    let until = Instant::now() + PATIENCE;
    let mut looks = 0;
    loop {
        // The message is only a reason to look: the lock tells who serves. Without one, looking is rare, because who
        // looks at a lock holds a share of it for a moment, and the server may want it just then.
        let told = waiter.is_ready(LOOK);
        looks += 1;
        if told || looks % RARELY == 0 {
            match instance.holder()? {
                Some(holder) if holder.pid == child.id() && holder.state == State::Serving => return started(&instance, &holder),
                _ => {}
            }
        }
        let exited = child.try_wait().map_err(|error| Failure::new("cannot look after the server").because(&error))?;
        if let Some(status) = exited {
            if let Some(holder) = instance.settled_holder(SETTLE)?.filter(|holder| holder.state == State::Serving) {
                return already_running(&instance, &holder);
            }
            show_log(&instance, log_start);
            return Err(Failure::new(format!("the registry did not start ({status})"))
                .hint(format!("its whole log is {}", instance.log_file().display())));
        }
        if Instant::now() > until {
            give_up(&mut child);
            show_log(&instance, log_start);
            return Err(Failure::new(format!("the registry was not ready within {} s and was stopped", PATIENCE.as_secs())));
        }
    }
}

/// Starts in one storage folder take turns, until the file is closed: they would try the port at the same moment, and each
/// would find it taken by the other's attempt.
fn take_turn(folder: &Path) -> Result<File, Failure> {
    fs::create_dir_all(folder)
        .and_then(|()| {
            let turn = File::open(folder)?;
            flock(&turn, FlockOperation::LockExclusive)?;
            Ok(turn)
        })
        .map_err(|error| Failure::new(format!("cannot use the folder {}", folder.display())).because(&error))
}

fn started(instance: &Instance, holder: &Holder) -> Result<ExitCode, Failure> {
    // Only other programs read it, so that it cannot be written is no reason to call the start failed.
    if let Err(error) = fs::write(instance.pid_file(), format!("{}\n", holder.pid)) {
        ui::warn(&format!("cannot write {}: {error}", instance.pid_file().display()));
    }
    ui::say(format_args!("Registry started (pid {})", holder.pid));
    describe(instance, holder);
    ui::say(format_args!("  Log:     {}", instance.log_file().display()));
    let access = &instance.config.access;
    if let Some(password) = access.folder.as_deref().map(guard::password_file).filter(|password| password.exists()) {
        ui::say(format_args!("  User:    {}, the password is in {}", access.owner, password.display()));
    }
    if let Some((pki, _)) = instance.config.http.own_pki() {
        ui::say(format_args!("  CA:      {}", pki.path(wharf_pki::AUTHORITY).display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn already_running(instance: &Instance, holder: &Holder) -> Result<ExitCode, Failure> {
    let problem = match holder.listeners.first() {
        Some(address) => control::ping(*address, instance.config.http.shown().as_deref()).err().map(|error| error.to_string()),
        None => Some("it has not started to listen".to_owned()),
    };
    if let Some(problem) = problem {
        let pid = holder.pid;
        return Err(Failure::new(format!("the registry is already running (pid {pid}) but not responding: {problem}"))
            .hint("`wharf stop` and, if that does not help, `wharf stop --force` end it"));
    }
    ui::say(format_args!("Registry already running (pid {})", holder.pid));
    describe(instance, holder);
    let asked = &instance.config.http.listen;
    if asked.port != 0 && !holder.listeners.iter().any(|address| address.port() == asked.port) {
        ui::warn(&format!(
            "this storage is served there, not at {asked}; `wharf stop` first, or give the other registry a storage of its own"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(instance: &Instance, holder: &Holder) {
    ui::say(format_args!("  URL:     {}", instance.url(Some(holder))));
    ui::say(format_args!("  Storage: {}", instance.config.storage.root.display()));
}

/// Written beside and moved over, so that no reader ever sees half of it.
fn write_config(instance: &Instance) -> Result<(), Failure> {
    let file = instance.config_file();
    let origin = match &instance.file {
        Some(origin) => format!("from {}", origin.display()),
        None => "from the defaults".to_owned(),
    };
    let head = format!(
        "The configuration in force, written by `wharf start` {origin} and the environment.\n\
         The next start writes it anew: to change something, copy it and start with --config COPY."
    );
    let draft = file.with_extension("yml.new");
    write_own(&draft, &render::in_force(instance.config.values(), &head))
        .and_then(|()| fs::rename(&draft, &file))
        .map_err(|error| Failure::new(format!("cannot write {}", file.display())).because(&error))
}

/// Writes a file that nobody else may read: passwords may stand in it.
fn write_own(file: &Path, text: &str) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

fn spawn(instance: &Instance, waiter: &Waiter) -> Result<Child, Failure> {
    let open = || -> std::io::Result<(File, File)> {
        let log = OpenOptions::new().create(true).append(true).open(instance.log_file())?;
        Ok((log.try_clone()?, log))
    };
    let (out, err) =
        open().map_err(|error| Failure::new(format!("cannot open {}", instance.log_file().display())).because(&error))?;
    let program = std::env::current_exe().map_err(|error| Failure::new("cannot find this program").because(&error))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--detached").arg(instance.log_file()).arg(instance.config_file());
    command.env(notify::VARIABLE, waiter.variable()).current_dir("/");
    // The file holds them already, with paths counted from our folder, not from the server's.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REGISTRY_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    command.spawn().map_err(|error| Failure::new("cannot start the server").because(&error))
}

fn give_up(child: &mut Child) {
    let terminated = Pid::from_raw(child.id().cast_signed()).is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if !terminated || child.try_wait().is_ok_and(|status| status.is_none()) {
        std::thread::sleep(Duration::from_secs(1));
        // Either it is gone, or it does not listen to requests to stop; both end here.
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// Shows what the server wrote since `start`, at most its end.
fn show_log(instance: &Instance, start: u64) {
    let read = || -> std::io::Result<String> {
        let mut log = File::open(instance.log_file())?;
        let end = log.metadata()?.len();
        log.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL))))?;
        let mut text = Vec::new();
        log.take(TAIL).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    // Without a log there is nothing to show, and the message that follows stands for itself.
    if let Ok(text) = read() {
        text.lines().for_each(|line| ui::say(format_args!("  {line}")));
    }
}
