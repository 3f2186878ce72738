//! Specification, "Listing Referrers".

use std::collections::BTreeSet;

use serde_json::{Value, json};
use wharf_tests::{
    DOCKER_LIST, EMPTY_JSON, Image, OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Repo, Response, Server, artifact,
    descriptor, empty_index, index, next_link, sha256, sha512,
};

const SBOM: &str = "application/vnd.example.sbom.v1+json";
const SIGNATURE: &str = "application/vnd.example.signature.v1";

/// The descriptors of an answer, which must be an image index.
#[track_caller]
fn descriptors(answer: &Response) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.describe());
    assert_eq!(answer.header("Content-Type"), OCI_INDEX);
    let json = answer.json();
    assert_eq!(json["schemaVersion"], 2);
    assert_eq!(json["mediaType"], OCI_INDEX);
    json["manifests"].as_array().unwrap_or_else(|| panic!("no list: {}", answer.describe())).clone()
}

#[track_caller]
fn digests(answer: &Response) -> BTreeSet<String> {
    descriptors(answer).iter().map(|d| d["digest"].as_str().expect("a digest").to_owned()).collect()
}

fn subject(image: &Image) -> Value {
    descriptor(OCI_MANIFEST, &image.manifest)
}

/// Every descriptor, page after page, and the number of pages.
#[track_caller]
fn all_pages(server: &Server, first: &str) -> (Vec<Value>, usize) {
    let (mut found, mut count) = (Vec::new(), 0);
    let mut next = Some(first.to_owned());
    while let Some(target) = next {
        let answer = server.get(&target).send();
        let page = descriptors(&answer);
        assert!(page.len() <= 1_000, "{} descriptors on a page", page.len());
        assert!(answer.body.len() <= 4 * 1024 * 1024, "a page of {} bytes", answer.body.len());
        assert!(!page.is_empty() || count == 0, "an empty page after a link");
        if first.contains("artifactType") {
            assert_eq!(answer.header("OCI-Filters-Applied"), "artifactType", "page {count}");
        }
        found.extend(page);
        count += 1;
        assert!(count < 100, "the links never end");
        next = next_link(&answer);
    }
    (found, count)
}

/// Pushes many artifacts at once; the repository must hold the empty configuration.
fn push_all(repo: &Repo<'_>, manifests: &[Vec<u8>]) {
    std::thread::scope(|scope| {
        for share in manifests.chunks(manifests.len().div_ceil(8)) {
            scope.spawn(move || {
                for manifest in share {
                    repo.put(&sha256(manifest), OCI_MANIFEST, manifest).expect(201);
                }
            });
        }
    });
}

/// End-12a: no referrers is an empty index.
#[test]
fn no_referrers_is_an_empty_index() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = repo.push_random("v1");
    assert_eq!(descriptors(&repo.referrers(&image.digest)), Vec::<Value>::new());
}

/// End-12a: the interface exists, so it never answers 404, whatever is asked for.
#[test]
fn referrers_are_never_404() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    let absent = sha256(b"never pushed");
    assert!(descriptors(&repo.referrers(&absent)).is_empty());
    assert!(descriptors(&server.repo("nobody/here").referrers(&absent)).is_empty());
}

/// End-12a: a descriptor tells type, size, digest, artifact type and annotations.
#[test]
fn a_referrer_is_described() {
    let server = Server::start();
    let repo = server.repo("team/app");
    let image = repo.push_random("v1");
    let manifest = artifact(Some(&subject(&image)), Some(SBOM), &[("org.example.format", "json"), ("empty", "")]);
    let digest = repo.push_artifact(&manifest);
    let annotations = serde_json::from_slice::<Value>(&manifest).unwrap()["annotations"].clone();
    let expected = json!({
        "mediaType": OCI_MANIFEST,
        "size": manifest.len(),
        "digest": digest,
        "artifactType": SBOM,
        "annotations": annotations,
    });
    assert_eq!(descriptors(&repo.referrers(&image.digest)), [expected]);
}

/// End-12a: an image without artifact type is of the type of its configuration.
#[test]
fn the_type_falls_back_to_the_configuration() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let config = repo.push_blob(EMPTY_JSON);
    for (config_type, artifact_type) in [(OCI_CONFIG, None), (SIGNATURE, None), (SBOM, Some(""))] {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": config_type, "digest": config, "size": 2},
            "layers": [],
            "subject": subject(&image),
        });
        if let Some(artifact_type) = artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        let manifest = manifest.to_string().into_bytes();
        let digest = repo.push_artifact(&manifest);
        let found = descriptors(&repo.referrers(&image.digest));
        let found = found.iter().find(|d| d["digest"] == json!(digest)).expect("the referrer");
        assert_eq!(found["artifactType"], config_type);
        assert!(found.get("annotations").is_none_or(|a| a == &json!({})), "{found}");
    }
}

/// End-12a: an index is a referrer, too; without artifact type it has none, whatever else it has.
#[test]
fn an_index_is_a_referrer() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    repo.push_blob(EMPTY_JSON);
    for (media_type, artifact_type, has_config) in [
        (OCI_INDEX, None, false),
        (OCI_INDEX, Some(SBOM), false),
        (OCI_INDEX, None, true),
        (OCI_INDEX, Some(""), true),
        (OCI_INDEX, Some(SBOM), true),
        (DOCKER_LIST, None, true),
    ] {
        let mut list: Value = serde_json::from_slice(&empty_index()).unwrap();
        list["mediaType"] = json!(media_type);
        list["subject"] = subject(&image);
        if let Some(artifact_type) = artifact_type {
            list["artifactType"] = json!(artifact_type);
        }
        if has_config {
            list["config"] = descriptor(SIGNATURE, EMPTY_JSON);
        }
        let bytes = list.to_string().into_bytes();
        repo.put(&sha256(&bytes), media_type, &bytes).expect(201);
        let found = descriptors(&repo.referrers(&image.digest));
        let found = found.iter().find(|d| d["digest"] == json!(sha256(&bytes))).expect("the referrer");
        assert_eq!(found["mediaType"], media_type);
        assert_eq!(found["size"], bytes.len());
        let expected = artifact_type.filter(|text| !text.is_empty());
        assert_eq!(found.get("artifactType"), expected.map(|text| json!(text)).as_ref(), "{list}");
        assert_eq!(found["annotations"], list["annotations"]);
    }
}

/// End-12a: everything that names the subject, and nothing else, each once.
#[test]
fn the_referrers_of_one_subject_are_listed() {
    let server = Server::start();
    let repo = server.repo("app");
    let (first, second) = (repo.push_random("v1"), repo.push_random("v2"));
    let mine: BTreeSet<_> = (0..3).map(|_| repo.push_artifact(&artifact(Some(&subject(&first)), None, &[]))).collect();
    let other = repo.push_artifact(&artifact(Some(&subject(&second)), None, &[]));
    repo.push_artifact(&artifact(None, Some(SBOM), &[]));
    assert_eq!(digests(&repo.referrers(&first.digest)), mine);
    assert_eq!(digests(&repo.referrers(&second.digest)), [other].into());
    // The same again, under a tag: still one referrer.
    let manifest = artifact(Some(&subject(&second)), None, &[]);
    repo.push_artifact(&manifest);
    repo.put("tagged", OCI_MANIFEST, &manifest).expect(201);
    assert_eq!(descriptors(&repo.referrers(&second.digest)).len(), 2);
}

/// "Push": referrers may come before their subject, and are listed before it is there.
#[test]
fn referrers_of_a_subject_to_come_are_listed() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    let early = repo.push_artifact(&artifact(Some(&subject(&image)), Some(SBOM), &[]));
    assert_eq!(digests(&repo.referrers(&image.digest)), [early.clone()].into());
    repo.push("v1", &image);
    assert_eq!(digests(&repo.referrers(&image.digest)), [early].into());
}

/// End-12a: referrers are of the same repository.
#[test]
fn referrers_of_another_repository_are_not_listed() {
    let server = Server::start();
    let (one, two) = (server.repo("one"), server.repo("two"));
    let image = one.push_random("v1");
    two.push("v1", &image);
    let mine = one.push_artifact(&artifact(Some(&subject(&image)), None, &[]));
    assert_eq!(digests(&one.referrers(&image.digest)), [mine].into());
    assert!(descriptors(&two.referrers(&image.digest)).is_empty());
}

/// "Deleting Manifests": a deleted referrer is no longer listed.
#[test]
fn a_deleted_referrer_is_not_listed() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let gone = repo.push_artifact(&artifact(Some(&subject(&image)), None, &[]));
    let stays = repo.push_artifact(&artifact(Some(&subject(&image)), None, &[]));
    repo.delete(&gone).expect(202);
    assert_eq!(digests(&repo.referrers(&image.digest)), [stays].into());
}

/// End-12a: a subject named by SHA-512 is found by it.
#[test]
fn referrers_of_a_sha512_subject_are_listed() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    let digest = sha512(&image.manifest);
    repo.push(&digest, &image);
    let subject = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": image.manifest.len()});
    let referrer = repo.push_artifact(&artifact(Some(&subject), Some(SBOM), &[]));
    assert_eq!(digests(&repo.referrers(&digest)), [referrer].into());
}

/// End-12a: what is no digest is a 400.
#[test]
fn an_invalid_digest_is_400() {
    let server = Server::start();
    let repo = server.repo("app");
    repo.push_random("v1");
    for digest in ["v1", "sha256:", "sha256:12", "sha256", "sha256:zz", "x:y"] {
        repo.referrers(digest).expect_error(400, "DIGEST_INVALID");
    }
}

/// End-12b: only those of the type asked for, and the answer says that it was heard.
#[test]
fn a_filter_is_applied_and_announced() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let sbom = repo.push_artifact(&artifact(Some(&subject(&image)), Some(SBOM), &[]));
    let signature = repo.push_artifact(&artifact(Some(&subject(&image)), Some(SIGNATURE), &[]));
    let plain = repo.push_artifact(&artifact(Some(&subject(&image)), None, &[]));
    let path = repo.referrers_path(&image.digest);
    for (filter, expected) in [
        ("application/vnd.example.sbom.v1%2Bjson", vec![sbom.clone()]),
        ("application%2Fvnd.example.signature.v1", vec![signature.clone()]),
        (SIGNATURE, vec![signature.clone()]),
        (OCI_EMPTY.replace('+', "%2B").as_str(), vec![plain.clone()]),
        ("application/vnd.example", vec![]),
    ] {
        let answer = server.get(&format!("{path}?artifactType={filter}")).send();
        assert_eq!(digests(&answer), expected.into_iter().collect(), "{filter}");
        assert_eq!(answer.header("OCI-Filters-Applied"), "artifactType");
    }
    let all = repo.referrers(&image.digest);
    assert_eq!(all.get("OCI-Filters-Applied"), None);
    assert_eq!(digests(&all), [sbom, signature, plain].into());
}

/// End-12a: more than fit on one page follow by links, each exactly once; a filter goes along.
#[test]
fn many_referrers_come_in_pages() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    repo.push_blob(EMPTY_JSON);
    let kind = |n: usize| if n.is_multiple_of(4) { SIGNATURE } else { "application/vnd.example.b" };
    let manifests: Vec<_> = (0..2_100).map(|n| artifact(Some(&subject(&image)), Some(kind(n)), &[])).collect();
    push_all(&repo, &manifests);
    let path = repo.referrers_path(&image.digest);
    let check = |target: &str, expected: BTreeSet<String>, least_pages: usize| {
        let (found, pages) = all_pages(&server, target);
        assert_eq!(found.len(), expected.len(), "{target}");
        let found: BTreeSet<_> = found.iter().map(|d| d["digest"].as_str().unwrap().to_owned()).collect();
        assert!(found == expected, "other referrers than those pushed: {target}");
        assert!(pages >= least_pages, "{pages} pages");
    };
    check(&path, manifests.iter().map(|m| sha256(m)).collect(), 3);
    let of_kind = |rest: bool| manifests.iter().enumerate().filter(move |(n, _)| (n % 4 != 0) == rest);
    check(&format!("{path}?artifactType={SIGNATURE}"), of_kind(false).map(|(_, m)| sha256(m)).collect(), 1);
    check(&format!("{path}?artifactType=application/vnd.example.b"), of_kind(true).map(|(_, m)| sha256(m)).collect(), 2);
}

/// End-12a: a page stays within what clients accept as a manifest, however large the annotations.
#[test]
fn large_annotations_make_more_pages() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let large = "x".repeat(1024 * 1024);
    let expected: BTreeSet<_> =
        (0..9).map(|_| repo.push_artifact(&artifact(Some(&subject(&image)), None, &[("org.example.large", &large)]))).collect();
    let (found, pages) = all_pages(&server, &repo.referrers_path(&image.digest));
    assert!(pages >= 3, "{pages} pages");
    assert_eq!(found.len(), 9);
    assert_eq!(found.iter().map(|d| d["digest"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), expected);
    assert!(found.iter().all(|d| d["annotations"]["org.example.large"] == json!(large)));
}

/// "Referrers Tag Schema": a client that keeps such a tag beside the interface is not hindered.
#[test]
fn a_tag_of_the_fallback_schema_is_an_ordinary_tag() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = repo.push_random("v1");
    let layer = repo.push_artifact(&artifact(Some(&subject(&image)), None, &[("kind", OCI_LAYER)]));
    let tag = image.digest.replace(':', "-");
    let list = empty_index();
    repo.put(&tag, OCI_INDEX, &list).expect(201);
    assert_eq!(repo.manifest(&tag).expect(200).body, list);
    assert_eq!(digests(&repo.referrers(&image.digest)), [layer].into());
}

/// "Enabling the Referrers API": what a client listed under a tag of the fallback schema, because it took the registry for one without referrers, is listed, as
/// is what it never listed there; before, with and after the subject.
#[test]
fn manifests_listed_by_the_fallback_schema_are_referrers() {
    let server = Server::start();
    let repo = server.repo("app");
    let image = Image::random();
    let described = |manifest: &[u8], kind: &str| {
        let mut descriptor = descriptor(OCI_MANIFEST, manifest);
        descriptor["artifactType"] = json!(kind);
        descriptor
    };
    let (sbom, signature, unlisted) = (
        artifact(Some(&subject(&image)), Some(SBOM), &[]),
        artifact(Some(&subject(&image)), Some(SIGNATURE), &[]),
        artifact(Some(&subject(&image)), None, &[]),
    );
    let tag = image.digest.replace(':', "-");
    // Listed, though it is about nothing.
    let other = artifact(None, Some(SBOM), &[]);
    for manifest in [&sbom, &other] {
        repo.push_artifact(manifest);
    }
    repo.put(&tag, OCI_INDEX, &index(&[described(&sbom, SBOM), described(&other, SBOM)])).expect(201);
    assert_eq!(digests(&repo.referrers(&image.digest)), [sha256(&sbom)].into());
    repo.push("v1", &image);
    repo.push_artifact(&signature);
    repo.put(&tag, OCI_INDEX, &index(&[described(&sbom, SBOM), described(&signature, SIGNATURE)])).expect(201);
    repo.push_artifact(&unlisted);
    let expected: BTreeSet<_> = [&sbom, &signature, &unlisted].map(|manifest| sha256(manifest)).into();
    assert_eq!(digests(&repo.referrers(&image.digest)), expected);
    // The tag is the client's: it lists what it lists, and may go.
    repo.delete(&tag).expect(202);
    assert_eq!(digests(&repo.referrers(&image.digest)), expected);
}
