//! QEMU as vdkr uses it: its command line, its monitor, a snapshot once per architecture, and machines restored from it.
