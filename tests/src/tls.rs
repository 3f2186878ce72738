//! Certificates of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run_tool;

/// Makes an authority, `ca.crt`, and a server's certificate and key of it for these names, as in `DNS:localhost,IP:127.0.0.1`.
pub fn certify(folder: &Path, names: &str) -> (PathBuf, PathBuf) {
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=Test authority", "-keyout", &path("ca.key"), "-out", &path("ca.crt")];
    run_tool("openssl", &[&authority[..], &key].concat(), None);
    let request = ["req", "-subj", "/CN=registry", "-keyout", &path("server.key"), "-out", &path("server.csr")];
    run_tool("openssl", &[&request[..], &key].concat(), None);
    fs::write(folder.join("names"), format!("subjectAltName={names}\n")).expect("write the names");
    let sign = ["x509", "-req", "-days", "1", "-in", &path("server.csr"), "-CA", &path("ca.crt"), "-CAkey", &path("ca.key")];
    run_tool(
        "openssl",
        &[&sign[..], &["-CAcreateserial", "-extfile", &path("names"), "-out", &path("server.crt")]].concat(),
        None,
    );
    (folder.join("server.crt"), folder.join("server.key"))
}

/// A server's certificate and key of a new authority, `ca.crt`, for these names and for the time between two moments, as in `20200101000000Z`.
pub fn certify_between(folder: &Path, names: &str, start: &str, end: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = certify(folder, names);
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let settings = format!(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={}\nnew_certs_dir={}\nserial={}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n",
        path("database"),
        path(""),
        path("serial")
    );
    fs::write(folder.join("ca.conf"), settings).expect("write the settings");
    fs::write(folder.join("database"), "").expect("write the database");
    fs::write(folder.join("serial"), "01\n").expect("write the serial");
    let files =
        ["-config", &path("ca.conf"), "-in", &path("server.csr"), "-out", &path("server.crt"), "-extfile", &path("names")];
    let signer = ["-cert", &path("ca.crt"), "-keyfile", &path("ca.key"), "-startdate", start, "-enddate", end];
    run_tool("openssl", &[&["ca", "-batch", "-notext"], &files[..], &signer].concat(), None);
    (certificate, key)
}
