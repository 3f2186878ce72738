require recipes-containers/wharf-registry/wharf-oci-registry-config.inc
