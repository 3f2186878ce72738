SUMMARY = "Container registry and image tool"
DESCRIPTION = "A registry for the images of a build, and the program that packs, pushes, pulls and inspects them."

require wharf-source.inc

# The program alone, without tests and measurements, with the settings of the repository for the C code in it.
CARGO_BUILD_FLAGS:append = " --package wharf --config ${S}/.cargo/config.toml"

# Registries of others are asked by HTTPS; on the build host its own certificates serve.
RRECOMMENDS:${PN}:append:class-target = " ca-certificates"

BBCLASSEXTEND = "native nativesdk"
