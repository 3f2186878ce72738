//! Which program `meta-wharf` runs: the one that WHARF names, or `wharf-native`; and what is left of it without tmp/.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;

use wharf_tests::{BitBake, Ran, Wharf, run_tool};

fn generate(bitbake: &BitBake) -> Ran {
    bitbake.run(&["container-registry-index", "-c", "generate_registry_script"])
}

/// The script, with a search path on which there is no wharf.
fn script(bitbake: &BitBake) -> Wharf {
    let script = bitbake.wharf.through(&bitbake.path("container-registry/container-registry.sh"));
    script.without("CONTAINER_REGISTRY_URL").without("TOPDIR").env("PATH", "/usr/bin:/bin")
}

/// Puts the program under test in the place of what `wharf-native` builds, changed by a command, and leaves WHARF empty.
fn with_native(bitbake: &BitBake, change: &str) {
    let recipe = bitbake.core().join("recipes-devtools/wharf/wharf-prebuilt-native.bb");
    fs::create_dir_all(recipe.parent().unwrap()).unwrap();
    let text = format!(
        "LICENSE = \"MIT\"\nPROVIDES = \"wharf-native\"\ninherit native\ndo_install() {{\n    install -d ${{D}}${{bindir}} ${{D}}${{libdir}}\n    \
         install -m 755 {} ${{D}}${{bindir}}/wharf\n    {change}\n}}\n",
        bitbake.wharf.program().display()
    );
    fs::write(recipe, text).unwrap();
    bitbake.configure("WHARF = \"\"\nPREFERRED_PROVIDER_wharf-native = \"wharf-prebuilt-native\"");
}

/// The loader that programs of this machine name.
fn loader() -> String {
    run_tool("patchelf", &["--print-interpreter", "/bin/sh"], None).trim().to_owned()
}

/// Programs that BitBake builds may name a loader that goes with tmp/.
#[test]
fn the_script_outlives_tmp() {
    let bitbake = BitBake::new();
    let own = "${TMPDIR}/sysroots-uninative/x86_64-linux/lib/ld-linux-x86-64.so.2";
    with_native(
        &bitbake,
        &format!("install -D {} {own}\n    patchelf --set-interpreter {own} ${{D}}${{bindir}}/wharf", loader()),
    );
    let ran = generate(&bitbake).expect(0);
    assert!(!format!("{ran}").contains("WARNING"), "{ran}");
    let native = bitbake.path("tmp/sysroots/native/usr/bin/wharf");
    let named = run_tool("patchelf", &["--print-interpreter", native.to_str().unwrap()], None);
    assert!(named.starts_with(bitbake.path("tmp/sysroots-uninative").to_str().unwrap()), "{named}");

    fs::remove_dir_all(bitbake.path("tmp")).unwrap();
    script(&bitbake).ok(&["start"]);
    assert!(script(&bitbake).ok(&["status"]).stdout.contains("healthy"));
    script(&bitbake).ok(&["stop"]);
    let kept = bitbake.path("container-registry/bin/wharf");
    assert_eq!(run_tool("patchelf", &["--print-interpreter", kept.to_str().unwrap()], None).trim(), loader());
}

/// One that needs more of tmp/ than its loader is run where it lies, and the build says what follows from that.
#[test]
fn a_program_that_cannot_leave_tmp_is_told_of() {
    let bitbake = BitBake::new();
    with_native(
        &bitbake,
        "cc -shared -o ${D}${libdir}/libonly-here.so -x c /dev/null\n    \
         patchelf --add-needed libonly-here.so ${D}${bindir}/wharf\n    \
         patchelf --set-rpath '$ORIGIN/../lib' ${D}${bindir}/wharf",
    );
    let ran = generate(&bitbake).expect(0);
    assert!(ran.stdout.contains("WARNING: ") && ran.stdout.contains("container-registry.sh will not work without"), "{ran}");
    assert!(ran.stdout.contains("libonly-here.so"), "the loader's own words: {ran}");
    script(&bitbake).ok(&["info"]);
    let kept = fs::read_link(bitbake.path("container-registry/bin/wharf")).unwrap();
    assert_eq!(kept, bitbake.path("tmp/sysroots/native/usr/bin/wharf"));
}

/// A program of the host is linked to, and no native recipe is built.
#[test]
fn wharf_is_a_program_of_the_host() {
    let bitbake = BitBake::new();
    generate(&bitbake).expect(0);
    let kept = fs::read_link(bitbake.path("container-registry/bin/wharf")).unwrap();
    assert_eq!(kept, bitbake.wharf.program());
    assert!(!bitbake.path("tmp/work/native").exists(), "nothing is built for it");
}

/// What would be another program in every folder, or on every PATH, is refused when recipes are parsed.
#[test]
fn wharf_is_an_absolute_path() {
    let bitbake = BitBake::new();
    for name in ["wharf", "./wharf", "bin/wharf", "~/bin/wharf"] {
        bitbake.configure(&format!("WHARF = \"{name}\""));
        let ran = bitbake.run(&["-p"]).expect(1);
        assert!(ran.stderr.contains(&format!("WHARF = \"{name}\" is not an absolute path")), "{ran}");
        assert!(ran.stderr.contains("WHARF = \"/usr/local/bin/wharf\""), "a hint: {ran}");
    }
}

/// Recipes are parsed without it, and what needs it says so.
#[test]
fn a_wharf_that_is_not_there_fails_the_task_that_needs_it() {
    let bitbake = BitBake::new();
    let missing = bitbake.path("no/wharf");
    bitbake.configure(&format!("WHARF = \"{}\"", missing.display()));
    bitbake.ok(&["-p"]);
    let names_it = |ran: Ran, words: &str| {
        assert!(ran.stderr.contains(missing.to_str().unwrap()) && ran.stderr.contains(words), "{ran}");
        assert!(!format!("{ran}").contains("Traceback"), "{ran}");
    };
    names_it(generate(&bitbake).expect(1), "names no program of this machine");
    names_it(bitbake.run(&["container-base"]).expect(1), "not found");

    fs::create_dir_all(missing.parent().unwrap()).unwrap();
    fs::copy(bitbake.wharf.program(), &missing).unwrap();
    generate(&bitbake).expect(0);
    bitbake.ok(&["container-base"]);
    assert!(Path::new(&bitbake.deployed("qemux86-64", "container-base-latest-oci")).exists());
}
