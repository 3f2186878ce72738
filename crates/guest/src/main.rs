//! The first process of vdkr's virtual machine.
fn main() {}
