//! Collection against pushes: nothing that a pusher was told is there goes before its push is through, and all garbage goes in the end.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wharf_tests::{Config, Image, OCI_INDEX, OCI_MANIFEST, Program, Repo, Server, index, path_of, random, sha256, with_query};

const LEASE: Duration = Duration::from_secs(2);
const REPOSITORIES: [&str; 3] = ["one", "two", "three/of/them"];
const IMAGES: usize = 40;
const LAYERS: usize = 16;
const PUSHERS: usize = 4;

/// How long to go on: 8 s, or as many as `WHARF_TRIAL_SECONDS` says.
fn duration() -> Duration {
    let told = std::env::var("WHARF_TRIAL_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(told.unwrap_or(8))
}

/// Images that share layers, so that the same blobs are pushed, dropped and pushed again under many manifests.
fn images() -> Vec<Image> {
    let layers: Vec<_> = (0..LAYERS).map(|number| random(if number % 4 == 0 { 200_000 } else { 3_000 })).collect();
    let image = |number: usize| {
        let layers = vec![layers[number % LAYERS].clone(), layers[(number * 5 + 1) % LAYERS].clone()];
        Image::of_layers(layers)
    };
    (0..IMAGES).map(image).collect()
}

#[derive(Default)]
struct Counts {
    pushes: AtomicU64,
    skipped: AtomicU64,
    mounted: AtomicU64,
    uploaded: AtomicU64,
    /// Pushes that took longer than a lease is sure to last, so that nothing was promised.
    slow: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Pushes as clients do: ask, skip what is there, mount what may be elsewhere, upload the rest, then the manifest.
fn push(server: &Server, repo: &Repo<'_>, image: &Image, reference: &str, counts: &Counts) {
    let begun = Instant::now();
    for blob in image.blobs() {
        let digest = sha256(blob);
        if repo.has_blob(&digest) {
            count(&counts.skipped);
            continue;
        }
        let from = REPOSITORIES[fastrand::usize(..REPOSITORIES.len())];
        let answer = match fastrand::u8(0..3) {
            0 => server.post(&repo.uploads_path(&format!("mount={digest}&from={from}"))).send(),
            1 => server.post(&repo.uploads_path(&format!("mount={digest}"))).send(),
            _ => server.post(&repo.uploads_path("")).send(),
        };
        if answer.status == 201 {
            count(&counts.mounted);
            continue;
        }
        let location = path_of(answer.expect(202).header("Location"));
        let target = with_query(&location, &format!("digest={digest}"));
        server.put(&target).body(blob).send().expect(201);
        count(&counts.uploaded);
    }
    let answer = repo.put(reference, OCI_MANIFEST, &image.manifest);
    // A lease is renewed once less than half of it is left, so half of it is what a push can count on.
    if begun.elapsed() >= LEASE / 2 {
        return count(&counts.slow);
    }
    answer.expect(201);
    count(&counts.pushes);
}

/// An index over two images, whose children this pusher alone deletes: asked for, pushed where missing, then named.
fn push_index(repo: &Repo<'_>, images: &[&Image], tag: &str, server: &Server, counts: &Counts) {
    let begun = Instant::now();
    for image in images {
        if repo.head_manifest(&image.digest).status != 200 {
            push(server, repo, image, &image.digest, counts);
        }
    }
    let manifest = index(&images.iter().map(|image| image.descriptor("amd64")).collect::<Vec<_>>());
    let answer = repo.put(tag, OCI_INDEX, &manifest);
    if begun.elapsed() >= LEASE / 2 {
        return count(&counts.slow);
    }
    answer.expect(201);
    count(&counts.pushes);
}

fn work(server: &Server, number: usize, images: &[Image], stop: &AtomicBool, counts: &Counts) {
    let own = server.repo(&format!("own-{number}"));
    let any = || &images[fastrand::usize(..images.len())];
    while !stop.load(Ordering::Relaxed) {
        let repo = server.repo(REPOSITORIES[fastrand::usize(..REPOSITORIES.len())]);
        let tag = format!("t{}", fastrand::u8(0..5));
        match fastrand::u8(0..12) {
            0..6 => push(server, &repo, any(), &tag, counts),
            6 => {
                let image = any();
                push(server, &repo, image, &image.digest, counts);
            }
            7 | 8 => push_index(&own, &[any(), any()], &tag, server, counts),
            9 => drop(own.delete(&tag)),
            10 => drop(repo.delete(&tag)),
            _ => drop(repo.delete(&any().digest)),
        }
    }
}

/// Everything below a manifest is there and whole; answers the digests of the blobs.
#[track_caller]
fn pull(repo: &Repo<'_>, reference: &str, blobs: &mut BTreeSet<String>) {
    let manifest = repo.manifest(reference).expect(200).json();
    for child in manifest["manifests"].as_array().into_iter().flatten() {
        pull(repo, child["digest"].as_str().expect("a digest"), blobs);
    }
    let layers = manifest["layers"].as_array().into_iter().flatten();
    for blob in layers.chain(manifest.get("config")) {
        let digest = blob["digest"].as_str().expect("a digest");
        let body = repo.blob(digest).expect(200).body;
        assert_eq!(sha256(&body), digest, "an altered blob");
        blobs.insert(digest.to_owned());
    }
}

#[test]
fn pushes_and_collection_beside_each_other() {
    race(Config::default().with_files());
}

/// The same where the index keeps most of the blobs itself.
#[test]
fn pushes_and_collection_within_the_index() {
    race(Config::default().set("wharf.storage.inline", "32KiB"));
}

fn race(config: Config) {
    let inline = config.get("wharf.storage.inline") != Some(&0.into());
    let config = config
        .set("wharf.collection.interval", "never")
        .set("wharf.collection.lease", format!("{}s", LEASE.as_secs()))
        .set("wharf.collection.grace", "1ms");
    let server = Server::launch(Program::Wharf, config);
    let (images, counts, stop) = (images(), Counts::default(), AtomicBool::new(false));
    let (mut collections, mut collected) = (0_u64, 0);
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|number| {
                let (server, images, stop, counts) = (&server, &images, &stop, &counts);
                scope.spawn(move || work(server, number, images, stop, counts))
            })
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < duration() && pushers.iter().all(|pusher| !pusher.is_finished()) {
            let report = server.collect("now=1");
            collections += 1;
            collected += report["blobs"].as_u64().expect("a number");
        }
        stop.store(true, Ordering::Relaxed);
    });
    eprintln!(
        "{counts:?}, {collections} collections of {collected} blobs",
        counts = [
            ("pushes", &counts.pushes),
            ("skipped", &counts.skipped),
            ("mounted", &counts.mounted),
            ("uploaded", &counts.uploaded),
            ("slow", &counts.slow),
        ]
    );
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert!(collections > 5 && collected > 0, "{collections} collections of {collected} blobs tried nothing");
    assert!(read(&counts.pushes) > 20 && read(&counts.skipped) > 0 && read(&counts.mounted) > 0, "too little was pushed");
    assert!(read(&counts.slow) * 10 < read(&counts.pushes), "too slow to say anything");

    let repositories: Vec<String> =
        REPOSITORIES.iter().map(ToString::to_string).chain((0..PUSHERS).map(|n| format!("own-{n}"))).collect();
    let pull_all = || {
        let mut blobs = BTreeSet::new();
        for name in &repositories {
            let repo = server.repo(name);
            if repo.tags("").status == 200 {
                repo.tag_list("").iter().for_each(|tag| pull(&repo, tag, &mut blobs));
            }
        }
        blobs
    };
    let before = pull_all();
    sleep(LEASE + Duration::from_millis(300));
    server.collect("now=1");
    let after = pull_all();
    assert_eq!(before, after);
    let on_disk: BTreeSet<_> = server.blob_files().iter().map(|path| sha256(&fs::read(path).expect("a blob's file"))).collect();
    assert_eq!(server.blob_files().len(), on_disk.len(), "each of them once");
    match inline {
        false => assert_eq!(on_disk, after, "what is on the disk is what is named"),
        true => assert!(on_disk.is_subset(&after), "nothing is on the disk but what is named"),
    }
}
