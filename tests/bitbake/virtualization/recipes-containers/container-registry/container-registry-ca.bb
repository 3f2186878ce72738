SUMMARY = "Of meta-virtualization"
LICENSE = "MIT"
