//! A disk that is soon full.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// A small file system of its own, unmounted when dropped. Declared before the server, so that it goes after it.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// 48 MiB of ext4 in a file or, where there are no loop devices, of memory. `None` for who may not mount.
    pub fn mount() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("wharf-disk-").tempdir().expect("a temporary folder");
        let disk = Self { folder };
        // It may be an ordinary user's as well.
        fs::set_permissions(disk.folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let (image, point) = (disk.folder.path().join("image"), disk.point());
        fs::create_dir(&point).expect("a mount point");
        File::create(&image).and_then(|file| file.set_len(48 * MIB as u64)).expect("an image file");
        // Without blocks that only root may use: full is full for everybody.
        let ext4 = run(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-F"]).arg(&image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point));
        if ext4 || run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(&point)) {
            return Some(disk);
        }
        assert!(!rustix::process::geteuid().is_root(), "root can mount neither an ext4 image nor a tmpfs");
        eprintln!("not tried: mounting a small file system takes root");
        None
    }

    /// Where it is.
    pub fn point(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> usize {
        let stat = rustix::fs::statvfs(self.point()).expect("statvfs");
        (stat.f_bavail * stat.f_frsize) as usize
    }

    /// Lets the file system meet an error of its own, after which it is read-only until it is mounted anew; false where it cannot be made to.
    pub fn meet_an_error(&self) -> bool {
        let point = self.point();
        let source = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(&point).output().expect("run findmnt").stdout;
        let device = String::from_utf8_lossy(&source).trim().rsplit('/').next().unwrap_or_default().to_owned();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        run(Command::new("mount").args(["-o", "remount,errors=remount-ro"]).arg(&point)) && fs::write(trigger, "test").is_ok()
    }

    /// Takes all the room there is, to the last byte.
    pub fn fill(&self) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.point().join("filler")).expect("a filler");
        for length in [MIB, 64 << 10, 4096, 512] {
            let bytes = vec![1; length];
            loop {
                match file.write_all(&bytes) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("filling the disk: {error}"),
                }
            }
        }
        file.sync_all().expect("sync the filler");
        assert!(self.free() < 64 << 10, "{} bytes are left", self.free());
    }

    /// Gives back what was taken.
    pub fn drain(&self) {
        fs::remove_file(self.point().join("filler")).expect("remove the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that is just ending may hold it for a moment longer.
        for _ in 0..50 {
            if run(Command::new("umount").arg(self.point())) {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        run(Command::new("umount").arg("-l").arg(self.point()));
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
