use std::io::Read;

use super::*;

/// What `rpm --initdb` and `rpm -i` of two packages leave, by rpm 4.18.
fn rpm_database() -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(include_bytes!("fixtures/rpmdb.sqlite.gz").as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn digest(bytes: &[u8]) -> Content {
    wharf_oci::Digest::sha256(bytes).hash().try_into().unwrap()
}

/// The packages of a file system with these files.
fn packages_of(files: &[(&str, &[u8])]) -> Packages {
    let mut collector = Collector::new();
    let mut listed = Vec::new();
    for (name, bytes) in files {
        let (path, content) = (EntryPath::parse(name.as_bytes()).unwrap(), digest(bytes));
        if collector.wants(&path) {
            assert!(!collector.has(&path, &content));
            collector.take(&path, content, bytes).unwrap();
            assert!(collector.has(&path, &content));
        }
        listed.push((path, content));
    }
    collector.packages(listed.iter().map(|(path, content)| (path, content)))
}

fn shown(packages: &Packages) -> Vec<String> {
    packages.packages.iter().map(|(name, version)| format!("{name} {version}")).collect()
}

#[test]
fn each_manager_is_read_where_it_keeps_its_list() {
    let stanza = b"Package: a\nVersion: 1\nArchitecture: all\n".as_slice();
    for (name, source) in [
        ("var/lib/dpkg/status", Source::Dpkg),
        ("var/lib/dpkg/status.d/a", Source::Dpkg),
        ("var/lib/opkg/status", Source::Opkg),
        ("usr/lib/opkg/status", Source::Opkg),
        ("usr/lib/opkg/info/a.control", Source::Opkg),
    ] {
        let packages = packages_of(&[(name, stanza)]);
        assert_eq!((packages.source, shown(&packages)), (Some(source), vec!["a:all 1".to_owned()]), "{name}");
        assert_eq!(packages.problems, [""; 0]);
    }
    for name in ["var/lib/dpkg/status.d/a.md5sums", "var/lib/dpkg/status-old", "opt/var/lib/dpkg/status", "etc/status"] {
        assert_eq!(packages_of(&[(name, stanza)]), Packages::default(), "{name}");
    }
}

#[test]
fn a_database_of_rpm_is_read_with_the_log_beside_it() {
    let database = rpm_database();
    for folder in ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"] {
        let packages = packages_of(&[(&format!("{folder}/rpmdb.sqlite"), &database)]);
        assert_eq!(shown(&packages), ["wharf-one:noarch 3:1.2-r0", "wharf-two:noarch 1.2-r0"], "{folder}");
        assert_eq!((packages.source, packages.problems), (Some(Source::Rpm), Vec::new()));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rpmdb.sqlite");
    std::fs::write(&path, &database).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let _: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    connection.execute("DELETE FROM Packages WHERE hnum = (SELECT min(hnum) FROM Packages)", []).unwrap();
    let log = std::fs::read(folder.path().join("rpmdb.sqlite-wal")).unwrap();
    assert!(!log.is_empty());
    let base = std::fs::read(&path).unwrap();
    let packages = packages_of(&[("var/lib/rpm/rpmdb.sqlite", &base), ("var/lib/rpm/rpmdb.sqlite-wal", &log)]);
    assert_eq!(packages.packages.len(), 1, "{packages:?}");
    assert_eq!(packages_of(&[("var/lib/rpm/rpmdb.sqlite", &base)]).packages.len(), 2);
}

#[test]
fn what_cannot_be_read_is_told() {
    let damaged = {
        let mut bytes = rpm_database();
        bytes.truncate(20_000);
        bytes
    };
    for (name, bytes, problem) in [
        ("var/lib/rpm/Packages", b"x".as_slice(), "Berkeley DB"),
        ("usr/lib/sysimage/rpm/Packages.db", b"x", "ndb"),
        ("var/lib/rpm/rpmdb.sqlite", b"no database at all", "database"),
        ("var/lib/rpm/rpmdb.sqlite", b"", "no table"),
        ("var/lib/rpm/rpmdb.sqlite", damaged.as_slice(), "database"),
        ("var/lib/dpkg/status", b"\xff", "no text"),
        ("usr/share/sbom/image.spdx.json", b"{", "no SPDX document"),
    ] {
        let packages = packages_of(&[(name, bytes)]);
        assert_eq!((packages.source, packages.packages.len()), (None, 0), "{name}");
        let [told] = packages.problems.as_slice() else { panic!("{name}: {:?}", packages.problems) };
        assert!(told.starts_with(&format!("/{name}: ")) && told.contains(problem), "{told}");
    }
    let path = EntryPath::parse(b"var/lib/dpkg/status").unwrap();
    let packages = Collector::new().packages([(&path, &[0; 32])].into_iter());
    assert_eq!(packages.problems, ["/var/lib/dpkg/status: it was not read; files up to 64 MiB are"]);
}

#[test]
fn a_database_that_computes_is_no_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    for schema in [
        "CREATE VIEW Packages AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS blob FROM n",
        "CREATE TABLE Packages (a, blob AS (zeroblob(900000000))); INSERT INTO Packages (a) VALUES (1)",
    ] {
        let _ = std::fs::remove_file(&path);
        rusqlite::Connection::open(&path).unwrap().execute_batch(schema).unwrap();
        let packages = packages_of(&[("var/lib/rpm/rpmdb.sqlite", &std::fs::read(&path).unwrap())]);
        assert_eq!((packages.packages.len(), packages.problems.len()), (0, 1), "{schema}");
    }
}

#[test]
fn the_longest_list_of_a_manager_counts_and_documents_come_last() {
    let dpkg = ("var/lib/dpkg/status", b"Package: a\n\nPackage: b\n".as_slice());
    let opkg = ("var/lib/opkg/status", b"Package: c\n".as_slice());
    let none = ("var/lib/dpkg/status", b"".as_slice());
    let spdx = (
        "usr/share/spdx/x.spdx.json",
        br#"{"spdxVersion": "SPDX-2.2", "packages": [{"SPDXID": "SPDXRef-Package-d", "name": "d"}]}"#.as_slice(),
    );
    assert_eq!(packages_of(&[opkg, dpkg, spdx]).source, Some(Source::Dpkg));
    assert_eq!(packages_of(&[opkg, none, spdx]).source, Some(Source::Opkg));
    assert_eq!(packages_of(&[none, spdx]).source, Some(Source::Spdx));
    let control = ("var/lib/opkg/info/c.control", b"Package: c\nVersion: 9\n".as_slice());
    assert_eq!(shown(&packages_of(&[opkg, control])), ["c "], "the status counts where there is one");
}

#[test]
fn several_versions_of_one_package_are_all_told() {
    let status = b"Package: linux\nVersion: 6.2\n\nPackage: linux\nVersion: 6.1\n\nPackage: linux\nVersion: 6.2\n";
    assert_eq!(shown(&packages_of(&[("var/lib/dpkg/status", status)])), ["linux 6.1, 6.2"]);
}
