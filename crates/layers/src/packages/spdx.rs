//! SPDX: documents that builds leave in images, of version 2 as JSON (`packages`) and of version 3 as JSON-LD (`@graph`).
//!
//! Yocto's create-spdx writes both. Version 2 comes as one document for each package, named by its identifier `SPDXRef-Package-…`, beside those of
//! recipes and of the image; version 3 as one graph, in which what was installed has the purpose `install`.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::{Package, Role, add, package};

const ENDING: &[u8] = b".spdx.json";

/// Identifiers of what is no package, though the document of version 2 calls it one: what packages were made from, and what was made of them.
const NOT_INSTALLED: [&str; 6] =
    ["SPDXRef-Recipe-", "SPDXRef-Image-", "SPDXRef-SDK-", "SPDXRef-Download-", "SPDXRef-Source", "SPDXRef-DocumentRoot"];
/// Purposes of the same; version 2.3 writes them in capitals.
const OTHER_PURPOSES: [&str; 6] = ["source", "archive", "container", "operating-system", "operatingSystem", "operating_system"];

/// Whether a file is an SPDX document.
pub(super) fn role(path: &[u8]) -> Option<Role> {
    path.ends_with(ENDING).then_some(Role::Spdx)
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "spdxVersion", borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(default)]
    packages: Listed,
    #[serde(rename = "@graph")]
    graph: Option<Listed>,
}

/// One of `packages`, or of the graph.
#[derive(Deserialize)]
struct Element<'a> {
    #[serde(rename = "type", alias = "@type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(rename = "SPDXID", borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(rename = "versionInfo", alias = "software_packageVersion", borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(rename = "primaryPackagePurpose", alias = "software_primaryPurpose", borrow)]
    purpose: Option<Cow<'a, str>>,
}

/// What elements list, gathered as they are read: a graph is mostly of files and relations.
#[derive(Default)]
struct Listed {
    installed: Vec<Package>,
    others: Vec<Package>,
}

/// The packages of a document.
pub(super) fn packages(bytes: &[u8]) -> Result<Vec<Package>, String> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("it is no SPDX document: {error}"))?;
    let listed = match (document.version, document.graph) {
        (_, Some(graph)) => graph,
        (Some(version), None) if version.starts_with("SPDX-2") => document.packages,
        (Some(version), None) => return Err(format!("it is of {version:.40}, which is not known here")),
        (None, None) => return Err("it is no SPDX document: it has neither a version nor a graph".to_owned()),
    };
    Ok(if listed.installed.is_empty() { listed.others } else { listed.installed })
}

impl Listed {
    fn add(&mut self, element: &Element<'_>) -> Result<(), String> {
        let is_package = element.kind.as_ref().is_none_or(|kind| matches!(&**kind, "software_Package" | "Package"));
        let is_element_of_2 = element.id.is_some();
        let Some(name) = element.name.as_deref().filter(|_| is_package && (is_element_of_2 || element.kind.is_some())) else {
            return Ok(());
        };
        let purpose = element.purpose.as_deref().map(str::to_ascii_lowercase);
        let is_other =
            purpose.as_deref().is_some_and(|purpose| OTHER_PURPOSES.iter().any(|other| other.eq_ignore_ascii_case(purpose)))
                || element.id.as_deref().is_some_and(|id| NOT_INSTALLED.iter().any(|start| id.starts_with(start)));
        if is_other {
            return Ok(());
        }
        let package = package(name, None, element.version.as_deref().unwrap_or_default())?;
        let list = if purpose.as_deref() == Some("install") { &mut self.installed } else { &mut self.others };
        add(list, package)
    }
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Listed, A::Error> {
        let mut listed = Listed::default();
        while let Some(element) = elements.next_element::<Element<'de>>()? {
            listed.add(&element).map_err(serde::de::Error::custom)?;
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Vec<String>, String> {
        let shown = |(name, version): Package| format!("{name} {version}");
        Ok(packages(text.as_bytes())?.into_iter().map(shown).collect())
    }

    #[test]
    fn documents_of_version_2_list_packages() {
        let text = r#"{"SPDXID": "SPDXRef-DOCUMENT", "name": "busybox", "spdxVersion": "SPDX-2.2", "packages": [
            {"SPDXID": "SPDXRef-Package-busybox", "name": "busybox", "versionInfo": "1.36.1", "hasFiles": ["SPDXRef-PackagedFile-1"]},
            {"SPDXID": "SPDXRef-Recipe-busybox", "name": "busybox", "versionInfo": "1.36.1"},
            {"SPDXID": "SPDXRef-x", "name": "app", "primaryPackagePurpose": "APPLICATION"},
            {"SPDXID": "SPDXRef-y", "name": "tarball", "primaryPackagePurpose": "SOURCE"}],
            "files": [{"SPDXID": "SPDXRef-PackagedFile-1", "fileName": "bin/busybox"}]}"#;
        assert_eq!(listed(text).unwrap(), ["busybox 1.36.1", "app "]);
    }

    #[test]
    fn graphs_of_version_3_list_what_was_installed() {
        let text = r#"{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [
            {"type": "CreationInfo", "@id": "_:c", "specVersion": "3.0.1"},
            {"type": "software_Package", "spdxId": "a", "name": "core-image", "software_primaryPurpose": "archive"},
            {"type": "software_Package", "spdxId": "b", "name": "acl", "software_packageVersion": "2.3.2", "software_primaryPurpose": "install"},
            {"type": "software_Package", "spdxId": "c", "name": "part", "software_packageVersion": "1"},
            {"type": "software_File", "spdxId": "d", "name": "acl-2.3.2.tar.gz", "software_primaryPurpose": "source"},
            {"type": "Relationship", "from": "a", "to": ["b"], "name": "no package"}]}"#;
        assert_eq!(listed(text).unwrap(), ["acl 2.3.2"]);
        let without = text.replace("\"install\"", "\"library\"");
        assert_eq!(listed(&without).unwrap(), ["acl 2.3.2", "part 1"]);
    }

    #[test]
    fn what_is_no_document_is_said_so() {
        for text in ["", "{}", "[]", r#"{"spdxVersion": "SPDX-9"}"#, r#"{"@graph": 1}"#, r#"{"@graph": [{"name": 1}]}"#] {
            assert!(listed(text).is_err(), "{text}");
        }
        assert!(listed(&"[".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(text in r#"[\{\}\[\]",:a@SPDX0-9 ]{0,80}"#) {
            let _ = packages(text.as_bytes());
        }
    }
}
