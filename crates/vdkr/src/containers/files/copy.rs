//! The four ways of a copy.

use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use wharf_guest_protocol::{Copied, FileWork, Text};
use wharf_layers::copy::{Destination, DestinationError, Owners, Place, Receiver, Sender, Source, base_name};
use wharf_layers::tar::TarReader;
use wharf_layers::{Decoded, Kind, LayersError, is_portable};
use wharf_terminal::ui::{self, Failure};

use super::container;
use super::session::Session;
use super::transfer::{Download, Upload};
use crate::cli::containers::Copy;
use crate::containers::record::Record;
use crate::format::size;
use crate::keeper::Role;
use crate::settings::Settings;

/// Bytes of an archive that are carried at once.
const BUFFER: usize = 128 << 10;

/// From a container to a path here.
pub fn out(settings: &Settings, options: &Copy, name: &str, path: &OsStr, to: &Path) -> Result<ExitCode, Failure> {
    let (folder, record, state) = container(settings, name)?;
    let session = Session::begin(settings, &folder, &record, &state, Role::Files)?;
    session.ask(export(path, ".", options))?;
    let mut download = Download::of(&session);
    let unpacked = unpack(&mut download, options, path, to);
    if let Err(failure) = unpacked {
        return Err(download.failure().unwrap_or(failure));
    }
    let bytes = download.finish()?;
    session.end()?;
    done(options, bytes, &to.display().to_string());
    Ok(ExitCode::SUCCESS)
}

fn unpack(download: &mut Download<'_>, options: &Copy, path: &OsStr, to: &Path) -> Result<(), Failure> {
    let failed = |error: LayersError| full_disk(Failure::of(&error), &error);
    let mut archive = TarReader::new(BufReader::with_capacity(BUFFER, download));
    let first = archive.next().map_err(failed)?.ok_or_else(|| Failure::new("the container sent nothing"))?;
    let source = match (&first.entry.kind, base_name(path.as_bytes())) {
        (Kind::Directory, name) => Source::Folder(name),
        (_, Some(name)) => Source::File(name),
        (_, None) => return Err(Failure::new(format!("{} is no folder", path.display()))),
    };
    let destination = Destination::find(to.as_os_str().as_bytes(), source, open).map_err(|error| no_destination(&error, to))?;
    let skipped =
        Receiver::new(destination, owners(options), to.to_owned()).receive(&mut archive, Some(&first)).map_err(failed)?;
    if skipped.devices > 0 {
        ui::warn(&format!("{} devices are left out: root copies them with --archive", skipped.devices));
    }
    Ok(())
}

/// To whom files here belong: to the caller, or with `-a` to those that the container has, where the caller may give them away.
fn owners(options: &Copy) -> Owners {
    match (options.archive, rustix::process::geteuid().is_root()) {
        (true, true) => Owners::Kept,
        (true, false) => {
            ui::warn("the files belong to you: only root may give them to others");
            Owners::Receiver
        }
        (false, _) => Owners::Receiver,
    }
}

/// From a container to standard output.
pub fn out_as_archive(settings: &Settings, options: &Copy, name: &str, path: &OsStr) -> Result<ExitCode, Failure> {
    if io::stdout().is_terminal() {
        return Err(Failure::new("an archive is nothing to be shown").hint("redirect standard output, or name a path"));
    }
    let (folder, record, state) = container(settings, name)?;
    let session = Session::begin(settings, &folder, &record, &state, Role::Files)?;
    let root = base_name(path.as_bytes()).unwrap_or(b".");
    session.ask(export(path, OsStr::from_bytes(root), options))?;
    let mut download = Download::of(&session);
    let mut buffer = vec![0; BUFFER];
    let mut output = io::stdout().lock();
    loop {
        match download.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => output.write_all(&buffer[..read]).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
                _ => Failure::new("cannot write to standard output").because(&error),
            })?,
            Err(_) => return Err(download.failure().unwrap_or_else(|| session.gone())),
        }
    }
    output.flush().map_err(|error| Failure::new("cannot write to standard output").because(&error))?;
    download.finish()?;
    session.end()?;
    Ok(ExitCode::SUCCESS)
}

fn export(path: &OsStr, name: impl AsRef<OsStr>, options: &Copy) -> FileWork {
    FileWork::Export { path: path.to_owned().into(), name: name.as_ref().to_owned().into(), follow_link: options.follow_link }
}

/// From a path here into a container.
pub fn into(settings: &Settings, options: &Copy, from: &Path, name: &str, path: &OsStr) -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| {
        let failure = Failure::new(format!("cannot copy {}", from.display())).because(&error);
        if error.kind() == io::ErrorKind::NotFound { failure.hint("name a file or folder that is there") } else { failure }
    };
    let bytes = from.as_os_str().as_bytes();
    let place = Place::find(bytes, options.follow_link, open).map_err(failed)?;
    let is_directory = place.is_directory().map_err(failed)?.ok_or_else(|| failed(Errno::NOENT.into()))?;
    let own_name = base_name(bytes).map(|name| Text::from(OsStr::from_bytes(name).to_owned()));
    let source = match (is_directory, own_name) {
        (true, name) => Copied::Folder { name },
        (false, Some(name)) => Copied::File { name },
        (false, None) => return Err(failed(Errno::NOTDIR.into())),
    };
    send(settings, options, name, path, source, |upload| {
        let mut sender = Sender::new(BufWriter::with_capacity(BUFFER, upload), is_portable);
        let sent = sender.send(&place, b".", from).and_then(|()| sender.finish());
        sent.map_err(|error| Failure::of(&error))
    })
}

/// From standard input into a folder of a container.
pub fn archive_into(settings: &Settings, options: &Copy, name: &str, path: &OsStr) -> Result<ExitCode, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::new("an archive is nothing to be typed").hint("redirect standard input, or name a path"));
    }
    send(settings, options, name, path, Copied::Archive, |upload| {
        let mut archive = Decoded::new(io::stdin().lock()).map_err(|error| Failure::of(&error))?;
        let copied = io::copy(&mut archive, &mut BufWriter::with_capacity(BUFFER, upload));
        copied.map_err(|error| Failure::new("the archive cannot be handed on").because(&error))
    })
}

fn send(
    settings: &Settings,
    options: &Copy,
    name: &str,
    path: &OsStr,
    source: Copied,
    archive: impl FnOnce(&mut Upload<'_>) -> Result<u64, Failure>,
) -> Result<ExitCode, Failure> {
    let (folder, record, state) = container(settings, name)?;
    if !state.status.is_alive() {
        check_writable(&record)?;
    }
    let session = Session::begin(settings, &folder, &record, &state, Role::Files)?;
    session.ask(FileWork::Import { path: path.to_owned().into(), source, keeps_owners: options.archive })?;
    let mut upload = Upload::of(&session)?;
    let (bytes, sent) = match archive(&mut upload) {
        Ok(bytes) => (bytes, Ok(())),
        Err(failure) => (0, Err(failure)),
    };
    upload.finish(sent)?;
    session.end()?;
    done(options, bytes, &format!("{name}:{}", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// One that runs has its root mounted so that the kernel refuses it.
fn check_writable(record: &Record) -> Result<(), Failure> {
    if !record.container.read_only {
        return Ok(());
    }
    Err(Failure::new(format!("the root of {} is read-only", record.name)).hint("copy to a volume while it runs"))
}

/// Open a folder here.
fn open(path: &[u8]) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn no_destination(error: &DestinationError, to: &Path) -> Failure {
    let failure = Failure::new(format!("cannot copy to {}", to.display())).because(error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn full_disk(failure: Failure, error: &LayersError) -> Failure {
    match error {
        LayersError::File { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            failure.hint("free space on this disk, or copy to another one; nothing unfinished was left")
        }
        _ => failure,
    }
}

fn done(options: &Copy, bytes: u64, to: &str) {
    if !options.quiet {
        ui::say(format_args!("Successfully copied {} to {to}", size(bytes)));
    }
}
