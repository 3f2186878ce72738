PACKAGES = ""
deltask do_package_write
