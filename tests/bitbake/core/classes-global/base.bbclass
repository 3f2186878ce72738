inherit logging

addhandler base_eventhandler
base_eventhandler[eventmask] = "bb.event.ConfigParsed"
python base_eventhandler() {
    d.setVar("ORIGNATIVELSBSTRING", "tests")
}

def oe_filter_out(drop, value):
    return " ".join(word for word in value.split() if word not in drop.split())

do_fetch[network] = "1"
do_fetch[dirs] = "${DL_DIR}"
do_fetch[file-checksums] = "${@bb.fetch2.get_checksum_file_list(d)}"
do_fetch[prefuncs] += "fetcher_hashes_dummyfunc"
addtask fetch
python base_do_fetch() {
    sources = (d.getVar("SRC_URI") or "").split()
    if sources:
        bb.fetch2.Fetch(sources, d).download()
}

# Revisions of sources, which are in no variable that the task reads.
fetcher_hashes_dummyfunc() {
    :
}
fetcher_hashes_dummyfunc[vardepvalue] = "${@bb.fetch2.get_hashvalue(d)}"

addtask unpack after do_fetch
do_unpack[dirs] = "${UNPACKDIR}"
do_unpack[cleandirs] = "${UNPACKDIR}"
python base_do_unpack() {
    sources = (d.getVar("SRC_URI") or "").split()
    if sources:
        bb.fetch2.Fetch(sources, d).unpack(d.getVar("UNPACKDIR"))
}

addtask patch after do_unpack
base_do_patch() {
    :
}

addtask configure after do_patch
do_configure[dirs] = "${B}"
base_do_configure() {
    :
}

addtask compile after do_configure
do_compile[dirs] = "${B}"
base_do_compile() {
    :
}

addtask install after do_compile
do_install[cleandirs] = "${D}"
do_install[dirs] = "${D}"
base_do_install() {
    :
}

# What other recipes see of this one on the build host.
addtask populate_sysroot after do_install
do_populate_sysroot[dirs] = "${STAGING_DIR_NATIVE}"
base_do_populate_sysroot() {
    if ${@'true' if bb.data.inherits_class('native', d) else 'false'}; then
        cp -a ${D}/. ${STAGING_DIR_NATIVE}/
    fi
}

# What images install: an archive of each package's files, with their owners; and what is known of them. A file is in the first package
# whose FILES has it or a folder above it.
PKGDEST = "${TMPDIR}/packages"
addtask package_write after do_install before do_build
do_package_write[fakeroot] = "1"
do_package_write[vardepsexclude] += "PKGDEST PKGDATA_DIR"
do_package_write[vardeps] += "PACKAGES ${@' '.join('FILES:' + package for package in d.getVar('PACKAGES').split())}"
python base_do_package_write() {
    import fnmatch
    import json
    import subprocess
    source = d.getVar("D")
    left = []
    for folder, folders, names in os.walk(source):
        left += [os.path.join(folder, name)[len(source):] for name in sorted(folders) + sorted(names)]
    runtime = os.path.join(d.getVar("PKGDATA_DIR"), "runtime")
    bb.utils.mkdirhier(runtime)
    bb.utils.mkdirhier(d.getVar("PKGDEST"))
    for package in d.getVar("PACKAGES").split():
        patterns = [pattern.rstrip("/") for pattern in (d.getVar("FILES:" + package) or "").split()]
        mine = [path for path in left if any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(path, p + "/*") for p in patterns)]
        left = [path for path in left if path not in mine]
        archive = os.path.join(d.getVar("PKGDEST"), package + ".tar")
        names = "".join("." + path + "\n" for path in mine)
        subprocess.run(["tar", "--numeric-owner", "--no-recursion", "-cf", archive, "-C", source, "-T", "-"], input=names, text=True, check=True)
        files = {path: os.lstat(source + path).st_size for path in mine if os.path.islink(source + path) or not os.path.isdir(source + path)}
        with open(os.path.join(runtime, package), "w") as data:
            data.write(f"PN: {d.getVar('PN')}\nPKGV: {d.getVar('PV')}\nFILES_INFO:{package}: {json.dumps(files, sort_keys=True)}\n")
    files = [path for path in left if os.path.islink(source + path) or not os.path.isdir(source + path)]
    if files:
        bb.fatal(f"QA Issue: Files/directories were installed but not shipped in any package: {' '.join(files)} [installed-vs-shipped]")
}

addtask build after do_populate_sysroot
do_build[noexec] = "1"
python base_do_build() {
    pass
}

addtask cleanall
do_cleanall[nostamp] = "1"
python base_do_cleanall() {
    bb.utils.remove(d.getVar("WORKDIR"), recurse=True)
    for stamp in __import__("glob").glob(d.getVar("STAMP") + ".*"):
        bb.utils.remove(stamp)
}

EXPORT_FUNCTIONS do_fetch do_unpack do_patch do_configure do_compile do_install do_populate_sysroot do_package_write do_build do_cleanall

python () {
    if not d.getVar("INHIBIT_DEFAULT_DEPS"):
        pass
    d.setVarFlag("do_install", "umask", "022")
    d.setVarFlag("do_install", "fakeroot", "1")
    depends = " ".join(f"{name}:do_populate_sysroot" for name in (d.getVar("DEPENDS") or "").split())
    if depends:
        d.appendVarFlag("do_configure", "depends", " " + depends)
}
