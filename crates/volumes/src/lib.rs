//! Folders of the host, shared live with a guest.
//!
//! The guest's kernel speaks FUSE; the relay in the guest (module [`relay`]) carries its requests, unread, over one serial port; the server on the
//! host (module [`server`]) answers them with the rights of the user who started it. Both sides name a volume by a number, so that any number of
//! volumes share the port (module [`frame`]).
//!
//! The requests are decoded here rather than by a FUSE library: those own a `/dev/fuse` of their own machine and hold a file descriptor for every
//! file that the guest has seen, while here requests come by way of a stream, from a guest that may be hostile and may have another architecture,
//! and an ordinary user has 1,024 descriptors.

pub mod frame;
mod owner;
#[cfg(feature = "relay")]
pub mod relay;
#[cfg(feature = "server")]
pub mod server;

pub use owner::Owner;
