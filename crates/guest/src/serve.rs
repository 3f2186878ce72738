//! What the host asks, one thing after another.

use std::fs::File;
use std::sync::Arc;
use std::thread;

use wharf_guest_protocol::{CONTROL, Event, FileWork, Report, Request, Stream, StreamKind, Task, read};
use wharf_volumes::relay::Relay;

use crate::boot::Ports;
use crate::container::{Opened, Running, warm_up};
use crate::error::{Doing, GuestError};
use crate::files;
use crate::link::Link;
use crate::processes::{Processes, Way};
use crate::reaper::Reaper;
use crate::runtime::Runtime;
use crate::wake::wake;

/// The one container of this machine.
enum Held {
    Running(Box<Running>),
    Opened(Opened),
}

/// The machine as its host sees it.
struct Guest {
    reaper: Arc<Reaper>,
    runtime: Arc<Runtime>,
    processes: Arc<Processes>,
    container: Option<Held>,
    /// Files of the host.
    volumes: Relay,
}

/// Do what the host asks until it is gone.
///
/// # Errors
/// When the port fails or what comes from it is no message.
pub fn serve(ports: Ports) -> Result<(), GuestError> {
    let mut from = ports.control.try_clone().doing(|| "use the control port".to_owned())?;
    let link = Arc::new(Link::new(ports.control));
    let reaper = Arc::new(Reaper::default());
    let waiting = Arc::clone(&reaper);
    thread::Builder::new().name("reaper".to_owned()).spawn(move || waiting.run()).doing(|| "start a thread".to_owned())?;
    let processes = Arc::new(Processes::new(Arc::clone(&link), Arc::clone(&reaper)));
    let runtime = Arc::new(Runtime::start(&reaper)?);
    let volumes = Relay::new(ports.volumes.into()).doing(|| "use the port for volumes".to_owned())?;
    let mut guest = Guest { reaper, runtime, processes, container: None, volumes };
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    link.tell(&Event::Ready { kernel, version: env!("CARGO_PKG_VERSION").to_owned() });
    loop {
        let frame = match read(&mut from) {
            Ok(Some(frame)) => frame,
            // The host's side of a port closes when a snapshot is taken, and opens again when its machine is restored.
            Ok(None) => {
                wait_for_host(&from);
                continue;
            }
            Err(error) => return Err(GuestError::Asked(format!("the control port fails: {error}"))),
        };
        if frame.channel == CONTROL {
            let request = serde_json::from_slice(&frame.payload);
            let request = request.map_err(|error| GuestError::Asked(format!("a message from the host is none: {error}")))?;
            guest.answer(&link, request);
        } else if let Some(stream) = Stream::of_channel(frame.channel).filter(|stream| stream.kind == StreamKind::In) {
            guest.processes.feed(stream, frame.payload);
        }
    }
}

/// What a task comes to, as the host is told.
fn answer(id: u32, came: Result<Option<Report>, GuestError>) -> Event {
    match came {
        Ok(report) => Event::Done { id, report },
        Err(error) => Event::Failed { id, code: error.code(), hint: error.hint(), message: error.to_string() },
    }
}

/// Wait until the host has opened its side.
fn wait_for_host(port: &File) {
    let mut watched = [rustix::event::PollFd::new(port, rustix::event::PollFlags::IN)];
    let _ = rustix::event::poll(&mut watched, None);
    if watched[0].revents().contains(rustix::event::PollFlags::HUP) {
        thread::sleep(std::time::Duration::from_millis(1));
    }
}

impl Guest {
    fn answer(&mut self, link: &Arc<Link>, request: Request) {
        match request {
            Request::Ask { id, task: Task::Files { process, work } } => {
                let later = Arc::clone(link);
                let done = move |came: Result<(), GuestError>| later.tell(&answer(id, came.map(|()| None)));
                if let Err(error) = self.work(process, work, done) {
                    link.tell(&answer(id, Err(error)));
                }
            }
            Request::Ask { id, task } => link.tell(&answer(id, self.perform(task))),
            Request::Signal { process, signal } => self.processes.signal(process, signal),
            Request::Resize { process, terminal } => self.processes.resize(process, terminal),
            Request::Credit { stream, bytes } => self.processes.give(stream, bytes),
        }
    }

    fn perform(&mut self, task: Task) -> Result<Option<Report>, GuestError> {
        match task {
            Task::WarmUp => warm_up(&self.reaper, &self.runtime).map(|()| None),
            Task::Wake { random, unix_nanos } => wake(&random, unix_nanos).map(|()| None),
            Task::Start { process, container } => {
                if self.container.is_some() {
                    return Err(GuestError::Asked("this machine has its container".to_owned()));
                }
                let (running, pid, ends) = Running::start(&self.runtime, &self.volumes, *container)?;
                self.container = Some(Held::Running(Box::new(running)));
                self.processes.add(process, pid, ends)?;
                Ok(Some(Report::Started { pid: pid.as_raw_nonzero().get().unsigned_abs() }))
            }
            Task::Exec { process, spec } => {
                let (pid, ends) = self.running()?.exec(&self.runtime, &spec)?;
                self.processes.add(process, pid, ends)?;
                Ok(Some(Report::Started { pid: pid.as_raw_nonzero().get().unsigned_abs() }))
            }
            Task::Pause => self.running()?.pause(&self.runtime).map(|()| None),
            Task::Resume => self.running()?.resume(&self.runtime).map(|()| None),
            Task::Finish => {
                self.processes.give_up_work();
                let finished = match self.container.take() {
                    Some(Held::Running(running)) => running.finish(&self.runtime),
                    Some(Held::Opened(opened)) => opened.finish(),
                    None => Ok(()),
                };
                rustix::fs::sync();
                finished.map(|()| None)
            }
            Task::Open { mounts } => {
                if self.container.is_some() {
                    return Err(GuestError::Asked("this machine has its container".to_owned()));
                }
                self.container = Some(Held::Opened(Opened::mount(&self.volumes, &mounts)?));
                Ok(None)
            }
            Task::Files { .. } => Err(GuestError::Asked("work with files is answered when it is done".to_owned())),
            Task::Top => Ok(Some(Report::Processes { rows: self.running()?.processes() })),
        }
    }

    fn running(&self) -> Result<&Running, GuestError> {
        match &self.container {
            Some(Held::Running(running)) => Ok(running),
            _ => Err(GuestError::Asked("this machine has no container that runs".to_owned())),
        }
    }

    /// Begin to do something with the container's files; `done` is told what comes of it.
    fn work(
        &self,
        process: u32,
        work: FileWork,
        done: impl FnOnce(Result<(), GuestError>) + Send + 'static,
    ) -> Result<(), GuestError> {
        let root = match &self.container {
            Some(Held::Running(running)) => running.root(),
            Some(Held::Opened(opened)) => opened.root().to_owned(),
            None => return Err(GuestError::Asked("this machine has no container".to_owned())),
        };
        let is_halted = matches!((&work, &self.container), (FileWork::Changes { pause: true }, Some(Held::Running(_))));
        if is_halted {
            self.running()?.pause(&self.runtime)?;
        }
        let resume = {
            let runtime = Arc::clone(&self.runtime);
            move || if is_halted { Running::resume_all(&runtime) } else { Ok(()) }
        };
        let way = if matches!(work, FileWork::Import { .. }) { Way::In } else { Way::Out };
        let then = resume.clone();
        let begun =
            self.processes.work(process, way, move |pipe| files::perform(&root, &work, pipe), move |came| done(came.and(then())));
        if begun.is_err() {
            let _ = resume();
        }
        begun
    }
}
