# SPDX-License-Identifier: MIT
#
# For recipes that deal with the registry: the settings are checked when the recipe is parsed, and tasks named in
# WHARF_REGISTRY_TASKS have the program.

WHARF_REGISTRY_TASKS ?= ""

python () {
    wharf_layer.registry.check(d)
    wharf_layer.program.use(d, *d.getVar("WHARF_REGISTRY_TASKS").split())
}
