require recipes-containers/wharf-registry/wharf-docker-registry-config.inc

# meta-virtualization's package has the same files.
RCONFLICTS:${PN} = "docker-registry-config"
