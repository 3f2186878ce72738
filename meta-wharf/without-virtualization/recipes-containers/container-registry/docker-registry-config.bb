require recipes-containers/wharf-registry/wharf-docker-registry-config.inc
