//! Who a process is: `USER[:GROUP]` of an image, looked up in the image's own files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use crate::error::{Doing, GuestError};

/// Who a process is.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

/// More is no list of users.
const MAX_LIST: u64 = 16 << 20;

/// Look a user up below `root`.
///
/// # Errors
/// A name that the image does not know.
pub fn look_up(root: &Path, user: &str) -> Result<User, GuestError> {
    find(&read_in(root, "etc/passwd"), &read_in(root, "etc/group"), user)
}

/// A file of the image; empty where it is none. Links are followed as if the root were the machine's.
fn read_in(root: &Path, path: &str) -> String {
    let open = || -> Result<File, GuestError> {
        let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| "open the root".to_owned())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS);
        file.map(File::from).doing(|| format!("open {path}"))
    };
    let mut bytes = Vec::new();
    if let Ok(file) = open() {
        let _ = file.take(MAX_LIST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(passwd: &str, group: &str, user: &str) -> Result<User, GuestError> {
    let (name, group_name) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
    let name = if name.is_empty() { "0" } else { name };
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 6);
    let number = name.parse::<u32>().ok();
    let line = lines.find(|fields| fields[0] == name || (number.is_some() && fields[2].parse().ok() == number));
    let (uid, mut gid, login, home) = match (&line, number) {
        (Some(fields), _) => {
            let bad = || GuestError::Asked(format!("the image's /etc/passwd gives no numbers for the user {name}"));
            let home = if fields[5].is_empty() { "/" } else { fields[5] };
            (fields[2].parse().map_err(|_| bad())?, fields[3].parse().map_err(|_| bad())?, fields[0], home)
        }
        (None, Some(uid)) => (uid, 0, "", if uid == 0 { "/root" } else { "/" }),
        (None, None) => {
            return Err(GuestError::Asked(format!("unable to find user {name}: no matching entries in the image's /etc/passwd")));
        }
    };
    let groups: Vec<_> =
        group.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 3).collect();
    let mut further = Vec::new();
    match group_name.filter(|group| !group.is_empty()) {
        Some(wanted) => {
            let named = groups.iter().find(|fields| fields[0] == wanted).and_then(|fields| fields[2].parse().ok());
            let found = named.or_else(|| wanted.parse().ok());
            gid = found.ok_or_else(|| {
                GuestError::Asked(format!("unable to find group {wanted}: no matching entries in the image's /etc/group"))
            })?;
        }
        None if !login.is_empty() => {
            let member =
                |fields: &&Vec<&str>| fields.get(3).is_some_and(|members| members.split(',').any(|member| member == login));
            further.extend(groups.iter().filter(member).filter_map(|fields| fields[2].parse::<u32>().ok()));
        }
        None => {}
    }
    further.retain(|further| *further != gid);
    Ok(User { uid, gid, groups: further, home: home.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/web:/bin/sh\nodd:x:x:y:::\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\naudio:x:29:web,root\nvideo:x:44:web\n";

    fn user(text: &str) -> User {
        find(PASSWD, GROUP, text).expect("a user")
    }

    #[test]
    fn names_and_numbers_are_found() {
        let web = User { uid: 33, gid: 34, groups: vec![29, 44], home: "/srv/web".to_owned() };
        assert_eq!(user("web"), web);
        assert_eq!(user("33"), web);
        assert_eq!(user(""), User { uid: 0, gid: 0, groups: vec![29], home: "/root".to_owned() });
        assert_eq!(user("web:video"), User { uid: 33, gid: 44, groups: vec![], home: "/srv/web".to_owned() });
        assert_eq!(user("1000:7"), User { uid: 1000, gid: 7, groups: vec![], home: "/".to_owned() });
        assert_eq!(user("1000").gid, 0);
    }

    #[test]
    fn who_is_not_there_is_named() {
        for (text, word) in [("nobody", "user nobody"), ("web:nogroup", "group nogroup"), ("odd", "user odd")] {
            let error = find(PASSWD, GROUP, text).expect_err("nobody").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
