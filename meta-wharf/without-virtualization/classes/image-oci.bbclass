# SPDX-License-Identifier: MIT
#
# The name by which recipes of users inherit it.
inherit wharf-oci
