//! What two machines restored from one snapshot must not share, and what stood still while it lay there.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use rustix::time::{ClockId, Timespec, clock_settime};

use crate::error::{Doing, GuestError};

/// `RNDADDENTROPY` and `RNDRESEEDCRNG` of random(4), as they are on x86-64 and arm64.
const ADD_ENTROPY: libc::Ioctl = 0x4008_5203_u32 as libc::Ioctl;
const RESEED: libc::Ioctl = 0x5207;

/// Take fresh randomness and the time from the host.
///
/// # Errors
/// When either was refused: then nothing may run.
pub fn wake(random: &str, unix_nanos: u64) -> Result<(), GuestError> {
    let bytes = hex::decode(random).map_err(io::Error::other).doing(|| "read the random bytes".to_owned())?;
    if bytes.len() < 32 {
        return Err(GuestError::Asked(format!("{} random bytes are too few", bytes.len())));
    }
    credit(&bytes).doing(|| "take fresh randomness".to_owned())?;
    let nanos = i64::try_from(unix_nanos).map_err(io::Error::other).doing(|| "read the time".to_owned())?;
    let now = Timespec { tv_sec: nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
    clock_settime(ClockId::Realtime, now).doing(|| "set the clock".to_owned())
}

/// Mix the bytes into the pool, count them as random, and derive from the pool at once what is handed out.
fn credit(bytes: &[u8]) -> io::Result<()> {
    let device = File::options().read(true).write(true).open("/dev/urandom")?;
    // struct rand_pool_info: the bits, the bytes, and then these.
    let mut info = Vec::with_capacity(8 + bytes.len());
    info.extend_from_slice(&i32::try_from(bytes.len() * 8).unwrap_or(i32::MAX).to_ne_bytes());
    info.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_ne_bytes());
    info.extend_from_slice(bytes);
    // SAFETY: the kernel reads the two integers and as many bytes as the second says, all of them in `info`.
    if unsafe { libc::ioctl(device.as_raw_fd(), ADD_ENTROPY, info.as_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this request has no argument.
    if unsafe { libc::ioctl(device.as_raw_fd(), RESEED) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
