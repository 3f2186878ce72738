require recipes-containers/wharf-registry/wharf-registry-ca.inc
