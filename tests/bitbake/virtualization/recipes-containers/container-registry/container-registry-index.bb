SUMMARY = "Of meta-virtualization"
LICENSE = "MIT"
inherit container-registry
python do_container_registry_index() {
    bb.plain(" ".join(container_registry_push(d, "", "")))
}
addtask container_registry_index
