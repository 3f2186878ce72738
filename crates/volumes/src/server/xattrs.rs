//! Requests about extended attributes: those of users, of files and folders. All others are the host's own business.

use std::ffi::CStr;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::owners::ATTRIBUTE;
use super::reply::Reply;
use super::share::Share;
use super::tree::by_number;

/// The longest list of names, as everywhere on Linux.
const LONGEST_LIST: usize = 64 << 10;

fn is_shared(name: &[u8]) -> bool {
    name.starts_with(b"user.") && name != ATTRIBUTE.to_bytes()
}

impl Share {
    /// Runs `call` with a path to the file, or fails with `refusal` if the guest's own attribute of that name is the server's.
    fn with_xattr<T>(
        &self,
        node: u64,
        name: &CStr,
        refusal: Errno,
        call: impl FnOnce(&str) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        if !name.to_bytes().starts_with(b"user.") {
            // Tools that ask for access lists and labels of each file take this for the whole file system's answer.
            return Err(Errno::OPNOTSUPP);
        }
        if name == ATTRIBUTE {
            return Err(refusal);
        }
        let (file, status) = self.find(node)?;
        if !status.is_file() && !status.is_folder() {
            return Err(Errno::PERM);
        }
        call(&by_number(&file))
    }

    pub(crate) fn set_xattr(&self, node: u64, name: &CStr, value: &[u8], flags: u32) -> Result<(), Errno> {
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        self.with_xattr(node, name, Errno::PERM, |path| rustix::fs::setxattr(path, name, value, flags))
    }

    pub(crate) fn remove_xattr(&self, node: u64, name: &CStr) -> Result<(), Errno> {
        self.with_xattr(node, name, Errno::NODATA, |path| rustix::fs::removexattr(path, name))
    }

    /// A size of 0 asks for the length.
    pub(crate) fn get_xattr(&self, node: u64, name: &CStr, size: usize, reply: &mut Reply) -> Result<(), Errno> {
        let read = |path: &str| rustix::fs::getxattr(path, name, reply.room(size));
        let length = self.with_xattr(node, name, Errno::NODATA, read)?;
        if size == 0 {
            reply.u32(length as u32);
            reply.u32(0);
        } else {
            reply.grow(length);
        }
        Ok(())
    }

    pub(crate) fn list_xattr(&self, node: u64, size: usize, reply: &mut Reply) -> Result<(), Errno> {
        let (file, status) = self.find(node)?;
        let mut all = vec![0; LONGEST_LIST];
        let length = match rustix::fs::listxattr(by_number(&file), &mut all) {
            Ok(length) if status.is_file() || status.is_folder() => length,
            Ok(_) | Err(Errno::OPNOTSUPP) => 0,
            Err(errno) => return Err(errno),
        };
        let names = all[..length].split_inclusive(|byte| *byte == 0);
        let shared: Vec<u8> =
            names.filter(|name| is_shared(name.strip_suffix(b"\0").unwrap_or(name))).flatten().copied().collect();
        if size == 0 {
            reply.u32(shared.len() as u32);
            reply.u32(0);
        } else if shared.len() > size {
            return Err(Errno::RANGE);
        } else {
            reply.bytes(&shared);
        }
        Ok(())
    }
}
