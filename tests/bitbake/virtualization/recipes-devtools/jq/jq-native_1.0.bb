SUMMARY = "A tool of the build host"
LICENSE = "MIT"
inherit native
