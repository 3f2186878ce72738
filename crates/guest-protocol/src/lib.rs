//! The messages between vdkr and the guest in its virtual machine, and how they are framed on the wire.
