//! What `meta-wharf` has for vdkr: recipes for the program and for its guest, and the initramfs out of a build's own kernel.
//!
//! The kernel is a stand-in, of which only the headers are real; openembedded-core's is not here. Guest program and vdkr are real.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be, in what its cases share as well")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use wharf_tests::{BitBake, Ran, guests, run_tool, vdkr};

/// The release of the stand-in for a kernel.
const RELEASE: &str = "6.12.1-yocto-standard";

/// A kernel's headers, and its list of what is built in.
fn kernel(folder: &Path, builtin: &[&str]) {
    let mut image = vec![0; 0x400];
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    image[0x236] = 1;
    let text = format!("{RELEASE} (oe-user@oe-host) #1 SMP");
    image[0x300..0x300 + text.len()].copy_from_slice(text.as_bytes());
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("bzImage"), image).unwrap();
    let lines: String = builtin.iter().map(|name| format!("kernel/{name}.ko\n")).collect();
    fs::write(folder.join("modules.builtin"), lines).unwrap();
}

/// A build with stand-ins for the kernel and the two programs that would take minutes to compile.
fn build() -> BitBake {
    let bitbake = BitBake::new();
    let files = bitbake.path("files");
    let all = ["virtio_mmio", "virtio_blk", "virtio_console", "virtio_net", "virtio-rng", "erofs", "ext4", "overlay", "fuse"];
    kernel(&files, &all);
    bitbake.configure(&format!(
        "BBMASK += \"/vdkr/vdkr.bb /wharf/wharf-guest.bb\"\nKERNEL_IMAGETYPE = \"bzImage\"\nFILES_HERE = \"{}\"",
        files.display()
    ));
    bitbake.recipe(
        "linux-yocto_6.12.bb",
        &format!(
            "LICENSE = \"MIT\"\ninherit deploy\nPROVIDES += \"virtual/kernel\"\nPACKAGES = \"kernel-base kernel-modules\"\n\
             FILES:kernel-base = \"/usr/lib/modules/{RELEASE}/modules.builtin\"\nFILES:kernel-modules = \"/\"\n\
             do_install() {{\n    install -d ${{D}}/usr/lib/modules/{RELEASE}/kernel\n    \
             cp ${{FILES_HERE}}/modules.builtin ${{D}}/usr/lib/modules/{RELEASE}/\n}}\n\
             do_deploy() {{\n    install -d ${{DEPLOY_DIR_IMAGE}}\n    cp ${{FILES_HERE}}/bzImage ${{DEPLOY_DIR_IMAGE}}/\n}}\n"
        ),
    );
    bitbake.recipe(
        "vdkr-native.bb",
        &format!(
            "LICENSE = \"MIT\"\ninherit native\ndo_install() {{\n    install -D {} ${{D}}/usr/bin/vdkr\n}}\n",
            vdkr().display()
        ),
    );
    let guest = guests().join("vdkr-guest-x86_64");
    bitbake.recipe(
        "wharf-guest.bb",
        &format!(
            "LICENSE = \"MIT\"\ndo_install() {{\n    install -D {} ${{D}}/usr/lib/wharf/vdkr-guest-x86_64\n}}\n",
            guest.display()
        ),
    );
    bitbake
}

#[test]
fn the_initramfs_is_made_of_the_builds_own_kernel() {
    let bitbake = build();
    bitbake.ok(&["vdkr-initramfs-create"]);
    let deployed = fs::read_dir(bitbake.deployed("qemux86-64", "")).unwrap().flatten().map(|entry| entry.path());
    let folder = deployed.filter(|path| path.is_dir()).find(|path| path.extension().is_some_and(|end| end == "vdkr"));
    let folder = folder.expect("a folder NAME.vdkr");
    let record: Value = serde_json::from_slice(&fs::read(folder.join("setup.json")).unwrap()).unwrap();
    assert_eq!((&record["architecture"], &record["kernel_release"]), (&"x86_64".into(), &RELEASE.into()));
    // Two archives, one after the other; all that is asked of this kernel is built in.
    let initramfs = fs::read(folder.join("initramfs.cpio")).unwrap();
    let (parts, program) = initramfs.split_at(usize::try_from(record["parts"]["length"].as_u64().unwrap()).unwrap());
    for (archive, expected) in [(parts, "lib/modules/order"), (program, "init")] {
        let file = bitbake.path("archive.cpio");
        fs::write(&file, archive).unwrap();
        let listed = run_tool("bsdtar", &["-tvf", file.to_str().unwrap()], None);
        let files: Vec<_> = listed.lines().filter(|line| !line.starts_with('d')).collect();
        assert!(files.len() == 1 && files[0].ends_with(&format!(" {expected}")), "{listed}");
    }

    let state = bitbake.path("state");
    let taken = Command::new(vdkr())
        .args(["--arch", "x86_64", "--state-dir", state.to_str().unwrap(), "setup", "--from", folder.to_str().unwrap()])
        .env("HOME", bitbake.path(""))
        .output();
    Ran::of("setup --from".to_owned(), taken.unwrap()).expect(0).says("ready: x86_64");
    assert!(fs::read(state.join("x86_64/guest/kernel")).unwrap() == fs::read(bitbake.path("files/bzImage")).unwrap());
}

#[test]
fn a_kernel_that_lacks_something_is_told_by_option() {
    let bitbake = build();
    kernel(&bitbake.path("files"), &["virtio_mmio", "virtio_blk", "virtio_console", "virtio_net", "virtio-rng", "ext4", "fuse"]);
    let ran = bitbake.run(&["vdkr-initramfs-create"]).expect(1);
    let all = format!("{ran}");
    let log = all.lines().find_map(|line| line.split_once("Logfile of failure stored in: ")).expect("a log").1;
    let log = fs::read_to_string(log.trim()).unwrap();
    assert!(log.contains("CONFIG_EROFS_FS, CONFIG_OVERLAY_FS"), "{log}");
}

/// The programs' recipes build one package each, the guest without anything to link with at run time.
#[test]
fn the_programs_have_recipes_of_their_own() {
    let bitbake = BitBake::new();
    for (recipe, package) in
        [("vdkr", "vdkr"), ("vdkr-native", "vdkr"), ("wharf-guest", "wharf-guest"), ("wharf-native", "wharf")]
    {
        let shown = bitbake.ok(&["-e", recipe]).stdout;
        let value = |name: &str| shown.lines().find(|line| line.starts_with(&format!("{name}="))).unwrap_or_default().to_owned();
        assert!(
            value("CARGO_BUILD_FLAGS").contains(&format!(" --package {package} ")),
            "{recipe}: {}",
            value("CARGO_BUILD_FLAGS")
        );
        let is_static = shown.contains("target-feature=+crt-static");
        assert_eq!(is_static, recipe == "wharf-guest", "{recipe}");
    }
}

/// Who asks for it has the fragment in the kernel's sources; nobody else has.
#[test]
fn the_kernels_fragment_is_asked_for() {
    let bitbake = build();
    let recipe = bitbake.core().join("recipes-test/test/linux-yocto_6.12.bb");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, format!("{text}FILESPATH =. \"${{FILESEXTRAPATHS}}\"\n")).unwrap();
    let fragment = |bitbake: &BitBake| {
        bitbake.ok(&["linux-yocto", "-c", "unpack"]);
        bitbake.path("tmp/work/x86_64/linux-yocto/6.12/sources/vdkr.cfg").exists()
    };
    assert!(!fragment(&bitbake));
    bitbake.configure("require conf/distro/include/vdkr-kernel.conf");
    assert!(fragment(&bitbake));
}
