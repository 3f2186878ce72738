SUMMARY = "Of meta-virtualization"
LICENSE = "MIT"
inherit container-registry
python do_populate_registry() {
    bb.plain(" ".join(container_registry_push(d, "", "")))
}
addtask populate_registry
