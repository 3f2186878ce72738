//! The machine's network: QEMU's own, behind which lies the host's.
//!
//! The addresses are those that QEMU's user network has (its manual, "Using the user mode network stack"): the machine 10.0.2.15, the host
//! 10.0.2.2, a name server 10.0.2.3.
#![allow(unsafe_code)]

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{Doing, GuestError};

/// The machine.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// Its network's mask.
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// The host.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The name server.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Give the machine its addresses and the way out.
///
/// # Errors
/// What the system refused. A machine without a network card is fine.
pub fn set_up() -> Result<(), GuestError> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .doing(|| "open a socket for the network's set-up".to_owned())?;
    let socket = socket.as_raw_fd();
    bring_up(socket, b"lo").doing(|| "bring up lo".to_owned())?;
    if !std::path::Path::new("/sys/class/net/eth0").exists() {
        return Ok(());
    }
    set_address(socket, libc::SIOCSIFADDR, ADDRESS).doing(|| format!("give eth0 {ADDRESS}"))?;
    set_address(socket, libc::SIOCSIFNETMASK, MASK).doing(|| format!("give eth0 the mask {MASK}"))?;
    bring_up(socket, b"eth0").doing(|| "bring up eth0".to_owned())?;
    add_default_route(socket).doing(|| format!("route through {HOST}"))
}

fn request(name: &[u8]) -> libc::ifreq {
    // SAFETY: an ifreq is made of integers and bytes, for which zeros are values.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request
}

fn internet(address: Ipv4Addr) -> libc::sockaddr {
    let mut plain = libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: [0; 14] };
    // A sockaddr_in has two bytes of port before the address.
    for (to, from) in plain.sa_data[2..6].iter_mut().zip(address.octets()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    plain
}

fn call<T>(socket: i32, what: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: the callers pair each request with the structure that netdevice(7) gives for it, and it lives through the call.
    if unsafe { libc::ioctl(socket, what, std::ptr::from_mut(argument)) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_address(socket: i32, what: libc::Ioctl, address: Ipv4Addr) -> io::Result<()> {
    let mut request = request(b"eth0");
    request.ifr_ifru.ifru_addr = internet(address);
    call(socket, what, &mut request)
}

fn bring_up(socket: i32, name: &[u8]) -> io::Result<()> {
    let mut request = request(name);
    call(socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the call before has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    call(socket, libc::SIOCSIFFLAGS, &mut request)
}

fn add_default_route(socket: i32) -> io::Result<()> {
    // SAFETY: an rtentry is made of integers and pointers, for which zeros are values.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = internet(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = internet(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = internet(HOST);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    match call(socket, libc::SIOCADDRT, &mut route) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}
