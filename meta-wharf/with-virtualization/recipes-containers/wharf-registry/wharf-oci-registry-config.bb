require recipes-containers/wharf-registry/wharf-oci-registry-config.inc

# meta-virtualization's package has the same files.
RCONFLICTS:${PN} = "container-oci-registry-config"
