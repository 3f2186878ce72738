//! Telling whoever started this process that it is ready, in the way of systemd's `sd_notify`, and hearing it as the
//! one who starts.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The variable that names the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

const STOPPING: &str = "STOPPING=1";

/// Sends states; does nothing where nobody listens.
#[derive(Debug, Default)]
pub struct Notifier(Option<String>);

impl Notifier {
    /// The one that the starter of this process asked for.
    pub fn from_environment() -> Self {
        Self(std::env::var(VARIABLE).ok().filter(|name| name.starts_with(['/', '@'])))
    }

    /// Requests are answered from now on.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// A stop was asked for; requests in flight are finished.
    pub fn stopping(&self) {
        self.send(STOPPING);
    }

    /// A lost notification must not take the server down; the one who waits for it notices by its own timeout.
    fn send(&self, state: &str) {
        let Some(name) = &self.0 else { return };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
        match sent {
            Ok(_) => {}
            // A starter that was told of the start has gone its way.
            Err(error) if state == STOPPING && error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::debug!(socket = %name, %error, "nobody waits for {state}");
            }
            Err(error) => tracing::warn!(socket = %name, %error, "cannot notify of {state}"),
        }
    }
}

/// The other end, for a starter. The name is abstract because paths of sockets are short and storage folders are not.
/// What arrives is a reason to look, no proof: any process of the machine may send to it.
#[derive(Debug)]
pub struct Waiter {
    socket: UnixDatagram,
    name: String,
}

impl Waiter {
    /// A fresh socket.
    pub fn new() -> io::Result<Self> {
        let name = format!("wharf-start-{}", uuid::Uuid::new_v4());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        Ok(Self { socket, name })
    }

    /// The value of [`VARIABLE`] for the process to start.
    pub fn variable(&self) -> String {
        format!("@{}", self.name)
    }

    /// Waits for a message that says ready, at most for `timeout`.
    pub fn is_ready(&self, timeout: Duration) -> bool {
        let mut buffer = [0; 256];
        self.socket.set_read_timeout(Some(timeout)).is_ok()
            && self
                .socket
                .recv(&mut buffer)
                .is_ok_and(|length| buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_hears_its_notifier() {
        let waiter = Waiter::new().unwrap();
        let notifier = Notifier(Some(waiter.variable()));
        let short = Duration::from_millis(20);
        assert!(!waiter.is_ready(short));
        notifier.stopping();
        assert!(!waiter.is_ready(short));
        notifier.ready();
        assert!(waiter.is_ready(Duration::from_secs(5)));
    }

    #[test]
    fn a_socket_with_a_path_is_notified_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n");
        let socket = UnixDatagram::bind(&path).unwrap();
        Notifier(Some(path.to_string_lossy().into_owned())).ready();
        let mut buffer = [0; 16];
        assert_eq!(socket.recv(&mut buffer).map(|n| buffer[..n].to_vec()).unwrap(), b"READY=1");
    }

    #[test]
    fn without_a_socket_nothing_happens() {
        Notifier(None).ready();
        Notifier(Some("@wharf-nobody-listens".into())).ready();
    }
}
