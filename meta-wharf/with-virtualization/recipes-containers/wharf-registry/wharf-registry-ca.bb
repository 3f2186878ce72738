require recipes-containers/wharf-registry/wharf-registry-ca.inc

# meta-virtualization's package has the same files.
RCONFLICTS:${PN} = "container-registry-ca"
