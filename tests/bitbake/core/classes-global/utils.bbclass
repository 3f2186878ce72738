# Where file:// is looked for: what recipes and their appends add comes first.
def base_set_filespath(folders, d):
    return ":".join((d.getVar("FILESEXTRAPATHS") or "").replace("__default:", "").split(":") + folders)
