//! The environment variables, in one place.

/// Each variable that vdkr reads, and what it says.
pub const VARIABLES: [(&str, &str); 14] = [
    ("VDKR_ARCH", "architecture: x86_64 or aarch64"),
    ("VDKR_STATE_DIR", "folder of images, containers and virtual machines"),
    ("VDKR_INSTANCE", "named instance with a state of its own"),
    ("VDKR_STATELESS", "1 for a state that vanishes with the command"),
    ("VDKR_NO_NETWORK", "1 for virtual machines without a network"),
    ("VDKR_REGISTRY", "registry for names without one, HOST[:PORT][/NAMESPACE]"),
    ("VDKR_INSECURE_REGISTRIES", "registries that may speak plain HTTP, separated by spaces"),
    ("VDKR_CONFIG", "file with credentials of docker login or podman login"),
    ("VDKR_CONFIG_DEFAULTS", "the build's vdkr.conf"),
    ("VDKR_MEMORY", "memory of virtual machines"),
    ("VDKR_CPUS", "processors of virtual machines"),
    ("VDKR_TIMEOUT", "seconds until a virtual machine that does not start is given up"),
    ("VDKR_IDLE_TIMEOUT", "seconds until a kept virtual machine that nobody used ends"),
    ("VDKR_VERBOSE", "1 to hear more"),
];
