require recipes-containers/wharf-registry/wharf-registry-populate.inc
