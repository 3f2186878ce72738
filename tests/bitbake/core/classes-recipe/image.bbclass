# An image as openembedded-core makes one: packages into a root file system, and that into each type, under pseudo.
PACKAGES = ""
deltask do_package_write
deltask do_populate_sysroot
IMAGE_CLASSES ??= ""
IMGCLASSES = "image_types ${IMAGE_CLASSES} ${@' '.join('image-' + t.split('.')[0] for t in (d.getVar('IMAGE_FSTYPES') or '').split() if t in ('container',))}"
inherit_defer ${IMGCLASSES}

IMGDEPLOYDIR = "${WORKDIR}/deploy-${PN}-image-complete"
IMAGE_INSTALL ?= ""
FEATURE_INSTALL = "${@' '.join((d.getVar('FEATURE_PACKAGES_' + f) or '') for f in sorted(set((d.getVar('IMAGE_FEATURES') or '').split())))}"
FEATURE_INSTALL[vardepvalue] = "${FEATURE_INSTALL}"
PACKAGE_INSTALL ?= "${IMAGE_INSTALL} ${FEATURE_INSTALL}"
RDEPENDS += "${PACKAGE_INSTALL}"
ROOTFS_POSTPROCESS_COMMAND ?= ""
IMAGE_PREPROCESS_COMMAND ?= ""
IMAGE_POSTPROCESS_COMMAND ?= ""
IMAGE_FEATURES[validitems] += "read-only-rootfs"

python () {
    # Functions that it names count for the signature, too.
    d.setVarFlag("ROOTFS_POSTPROCESS_COMMAND", "func", "1")
    valid = (d.getVarFlag("IMAGE_FEATURES", "validitems") or "").split()
    valid += [key[len("FEATURE_PACKAGES_"):] for key in d.keys() if key.startswith("FEATURE_PACKAGES_")]
    for feature in (d.getVar("IMAGE_FEATURES") or "").split():
        if feature not in valid:
            raise bb.parse.SkipRecipe(f"'{feature}' in IMAGE_FEATURES is not a valid image feature. Valid features: {' '.join(sorted(valid))}")
}

addtask rootfs before do_build
do_rootfs[dirs] = "${TOPDIR}"
do_rootfs[cleandirs] = "${IMAGE_ROOTFS} ${IMGDEPLOYDIR}"
do_rootfs[rdeptask] = "do_package_write"
do_rootfs[umask] = "022"
do_rootfs[vardeps] += "ROOTFS_POSTPROCESS_COMMAND PACKAGE_INSTALL"
fakeroot python do_rootfs() {
    import subprocess
    rootfs = d.getVar("IMAGE_ROOTFS")
    for package in d.getVar("PACKAGE_INSTALL").split():
        archive = os.path.join(d.getVar("PKGDEST"), package + ".tar")
        subprocess.run(["tar", "--numeric-owner", "-xpf", archive, "-C", rootfs], check=True)
    for command in d.getVar("ROOTFS_POSTPROCESS_COMMAND").replace(";", " ").split():
        bb.build.exec_func(command, d)
}

addtask image after do_rootfs
do_image[noexec] = "1"
python do_image() {
    pass
}

addtask image_complete after do_image before do_build
do_image_complete[dirs] = "${DEPLOY_DIR_IMAGE}"
fakeroot python do_image_complete() {
    import subprocess
    subprocess.run(["cp", "-a", d.getVar("IMGDEPLOYDIR") + "/.", d.getVar("DEPLOY_DIR_IMAGE")], check=True)
}

# A task for each type, and for the types that it is made of; what a type is called with a dot is a conversion, which tests do not use.
python () {
    wanted = (d.getVar("IMAGE_FSTYPES") or "").split()
    done = []
    while wanted:
        kind = wanted.pop(0).split(".")[0]
        if kind in done:
            continue
        done.append(kind)
        wanted += (d.getVar("IMAGE_TYPEDEP:" + kind) or "").split()
    for kind in done:
        command = d.getVar("IMAGE_CMD:" + kind)
        if command is None:
            bb.fatal(f"No IMAGE_CMD defined for IMAGE_FSTYPES entry '{kind}' - possibly invalid type name or missing support class")
        task = "image_" + kind
        # What differs with each build stays in the text as a name, and out of the signature.
        local = d.createCopy()
        excluded = (d.getVarFlag("IMAGE_CMD:" + kind, "vardepsexclude") or "").split()
        for name in ["DATETIME", "DATE", "TMPDIR", "IMAGE_VERSION_SUFFIX"] + excluded:
            local.delVar(name)
        command = local.getVar("IMAGE_CMD:" + kind)
        d.setVar("do_" + task, "\tcd ${IMGDEPLOYDIR}\n\t" + command + "\n")
        d.setVarFlag("do_" + task, "func", "1")
        d.setVarFlag("do_" + task, "fakeroot", "1")
        d.setVarFlag("do_" + task, "dirs", d.getVar("IMGDEPLOYDIR"))
        d.appendVarFlag("do_" + task, "vardepsexclude", " DATETIME DATE TIME IMAGE_VERSION_SUFFIX " + " ".join(excluded))
        after = " ".join("do_image_" + other.split(".")[0] for other in (d.getVar("IMAGE_TYPEDEP:" + kind) or "").split())
        bb.build.addtask("do_" + task, "do_image_complete", "do_image " + after, d)
}
