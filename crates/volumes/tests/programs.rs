//! Real programs in a shared folder, by way of this machine's kernel.

mod stage;

use stage::{Stage, listing, sh};

/// What programs write into the folder is on the host, to the byte, and reads the same there and here.
#[test]
fn copies_and_archives() {
    let stage = Stage::new();
    let source = tempfile::tempdir().unwrap();
    sh(
        source.path(),
        "mkdir -p a/b/c 'with space' empty; printf hello >a/one; head -c 3000000 /dev/urandom >a/b/big; : >empty/nothing
         ln a/one a/b/hard; ln -s ../one a/b/soft; ln -s /nowhere dangling; chmod 4755 a/one; chmod 600 a/b/big
         mkfifo a/pipe; truncate -s 10M a/sparse; printf x >'with space/ü\\n'; touch -d @1234567890.123456789 a/one; chmod 1777 empty",
    );
    let wanted = listing(source.path());
    sh(source.path(), &format!("cp -a . {}", stage.guest("copy").display()));
    assert_eq!(listing(&stage.guest("copy")), wanted);
    assert_eq!(listing(&stage.host("copy")), wanted);
    stage
        .sh("mkdir untarred; tar -C copy --format=posix -cf all.tar .; tar -C untarred -xpf all.tar; cmp all.tar <(cat all.tar)");
    assert_eq!(listing(&stage.host("untarred")), wanted);
    assert_eq!(stage.sh("rm -r untarred copy all.tar; ls -A"), "");
    assert_eq!(sh(&stage.host, "ls -A"), "");
}

/// A repository: many small files, locks by names, renames over files, memory maps.
#[test]
fn a_git_repository() {
    let stage = Stage::new();
    stage.sh(
        "git init -q r; cd r; git config user.name n; git config user.email e
         for i in $(seq 300); do mkdir -p d$((i % 7)); echo $i >d$((i % 7))/f$i; done
         git add .; git commit -qm one; git mv d1 e1; echo more >>d2/f2; git commit -qam two
         git checkout -q HEAD~1; git checkout -q -b side; rm -r d3; git commit -qam three; git merge -q -m four master 2>/dev/null || git merge -q -m four main
         git gc -q; git fsck --strict; test -z \"$(git status --porcelain)\"; git clone -q . ../clone; cd ../clone; git log --oneline | wc -l >../count",
    );
    assert_eq!(std::fs::read_to_string(stage.host("count")).unwrap().trim(), "4");
    assert_eq!(listing(&stage.host("clone/d2")).lines().count(), listing(&stage.guest("clone/d2")).lines().count());
}
