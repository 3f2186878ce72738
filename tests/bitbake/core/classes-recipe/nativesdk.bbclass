# For the SDK, of which the tests build nothing: recipes have their names.
PACKAGE_ARCH = "nativesdk"
CLASSOVERRIDE = "class-nativesdk"

addhandler nativesdk_virtclass_handler
nativesdk_virtclass_handler[eventmask] = "bb.event.RecipePreFinalise"
python nativesdk_virtclass_handler() {
    name = e.data.getVar("PN")
    if name.endswith("-nativesdk"):
        e.data.setVar("PN", "nativesdk-" + name.removesuffix("-nativesdk"))
}
