IMAGE_TYPEDEP:container = "tar.bz2"
