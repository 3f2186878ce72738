//! Whose files are, for the guest and on the host.

#![allow(clippy::unwrap_used)]

mod stage;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use stage::{Options, Stage, USER, sh};
use wharf_volumes::Owner;

/// The container's root makes files: they are the caller's on the host, and root's where it looks.
#[test]
fn what_the_guest_makes_is_the_callers() {
    let stage = Stage::new();
    stage.sh("umask 022; echo >f; mkdir d; ln -s f l; mkfifo p; echo >d/g");
    assert_eq!(
        stage.sh("stat -c '%n %u:%g %A' f d l p d/g"),
        "f 0:0 -rw-r--r--\nd 0:0 drwxr-xr-x\nl 0:0 lrwxrwxrwx\np 0:0 prw-r--r--\nd/g 0:0 -rw-r--r--\n"
    );
    for name in ["f", "d", "l", "p", "d/g"] {
        let status = fs::symlink_metadata(stage.host(name)).unwrap();
        assert_eq!((status.uid(), status.gid()), (USER, USER), "{name}");
    }
    assert_eq!(sh(&stage.host, "getfattr -dR . "), "");
}

#[test]
fn others_files_are_as_they_are() {
    let stage = Stage::with(&Options::default(), |host| {
        for (name, mode) in [("theirs", 0o644), ("secret", 0o600)] {
            fs::write(host.join(name), "text").unwrap();
            chown(host.join(name), Some(1234), Some(1235)).unwrap();
            fs::set_permissions(host.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    });
    assert_eq!(stage.sh("stat -c %u:%g theirs; cat theirs"), "1234:1235\ntext");
    // The guest's root may no more than the caller.
    let refused = |script: &str| stage.sh(&format!("! {{ {script}; }} 2>&1"));
    assert!(refused("cat secret").contains("Permission denied"));
    assert!(refused("echo >theirs").contains("Permission denied"));
    assert!(refused("chmod 666 theirs").contains("Operation not permitted"));
    assert!(refused("chown 0 theirs").contains("Operation not permitted"));
    assert_eq!(fs::read_to_string(stage.host("theirs")).unwrap(), "text");
    // Nor with a file of the caller's own that it may not read.
    stage.sh("echo >closed; chmod 000 closed");
    assert!(refused("cat closed").contains("Permission denied"));
}

/// A wish is kept, on files and folders, also on those that nobody may write; and is nobody's business on the host.
#[test]
fn a_file_is_given_away() {
    let stage = Stage::new();
    stage.sh(
        "echo >f; chmod 4755 f; mkdir d; echo >r; chmod 444 r; ln -s f l; chown 70:71 f d; chown 5 r; chgrp 6 r; chown -h 8:9 l",
    );
    assert_eq!(stage.sh("stat -c '%n %u:%g %a' f d r"), "f 70:71 755\nd 70:71 755\nr 5:6 444\n");
    let status = fs::metadata(stage.host("f")).unwrap();
    assert_eq!((status.uid(), status.gid()), (USER, USER));
    // A fresh look, by way of the folder.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(stage.sh("ls -ln | awk '{ print $3, $4, $9 }' | tail -n +2"), "70 71 d\n70 71 f\n0 0 l\n5 6 r\n");
    // The users of the guest have by it what they would have on a disk.
    let as_user = "setpriv --reuid=70 --regid=71 --clear-groups";
    stage.sh(&format!("{as_user} sh -c 'echo mine >d/new; chmod 600 d/new'; ! {as_user} sh -c 'echo >x' 2>/dev/null"));
    assert_eq!(stage.sh("stat -c %u:%g d/new"), "70:71\n");
    assert_eq!(fs::metadata(stage.host("d/new")).unwrap().uid(), USER);
    assert_eq!(stage.sh("chmod 2755 d; mkdir d/sub; stat -c %u:%g d/sub"), "0:71\n");
    // The attribute itself is not for the guest.
    let path = stage.guest("f");
    assert_eq!(stage.sh("getfattr -d f"), "");
    assert_eq!(rustix::fs::setxattr(&path, "user.vdkr.owner", b"1:1", XattrFlags::empty()), Err(Errno::PERM));
    assert_eq!(rustix::fs::getxattr(&path, "user.vdkr.owner", &mut [0; 8]), Err(Errno::NODATA));
    assert!(sh(&stage.host, "getfattr -d f").contains("user.vdkr.owner=\"70:71\""));
    // Taken back, nothing is left.
    stage.sh("chown 0:0 f");
    assert_eq!(sh(&stage.host, "getfattr -d f"), "");
}

/// For a container that runs as another than root, the caller's files are that one's.
#[test]
fn the_containers_user_is_the_caller() {
    let owner = Owner { uid: 1000, gid: 100 };
    let stage = Stage::with(&Options { owner, ..Options::default() }, |host| {
        fs::write(host.join("f"), "").unwrap();
        chown(host.join("f"), Some(USER), Some(USER)).unwrap();
    });
    assert_eq!(stage.sh("stat -c %u:%g . f"), "1000:100\n1000:100\n");
    stage.sh("setpriv --reuid=1000 --regid=100 --clear-groups sh -c 'echo >new; mkdir d; chmod 600 f'");
    assert_eq!(stage.sh("stat -c %u:%g new d"), "1000:100\n1000:100\n");
    assert_eq!(sh(&stage.host, "stat -c %u:%g new d; getfattr -dR ."), format!("{USER}:{USER}\n{USER}:{USER}\n"));
    assert_eq!(stage.sh("touch roots; stat -c %u:%g roots"), "0:0\n");
}

/// Root on the host can give files away, and does.
#[test]
fn a_caller_who_is_root() {
    let stage = Stage::with(&Options { user: 0, ..Options::default() }, |host| {
        fs::write(host.join("f"), "").unwrap();
        lchown(host.join("f"), Some(1234), Some(0)).unwrap();
    });
    assert_eq!(
        stage.sh("stat -c %u:%g f; chown 70:71 f; echo >g; ln -s g l; chown -h 72:73 l; stat -c %u:%g f g l"),
        "1234:0\n70:71\n0:0\n72:73\n"
    );
    assert_eq!(sh(&stage.host, "stat -c %u:%g f g l; getfattr -dR ."), "70:71\n0:0\n72:73\n");
    stage.sh("chmod 777 .; setpriv --reuid=70 --regid=71 --clear-groups sh -c 'echo >h; chmod 4711 h; cat h'; echo >>h");
    // Root's write leaves setuid alone, anybody else's takes it.
    assert_eq!(sh(&stage.host, "stat -c '%u:%g %a' h"), "70:71 4711\n");
    stage.sh("chmod 4777 h; setpriv --reuid=1 --clear-groups sh -c 'echo >>h'");
    assert_eq!(sh(&stage.host, "stat -c '%u:%g %a' h"), "70:71 777\n");
}
