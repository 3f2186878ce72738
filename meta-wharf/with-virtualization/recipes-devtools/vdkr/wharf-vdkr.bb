require recipes-devtools/wharf/wharf-vdkr.inc
