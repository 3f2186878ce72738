require recipes-containers/wharf-registry/wharf-registry-index.inc
