use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use wharf_oci::{Document, Platform};

use super::*;

/// Of one kind each: the second spelling is the same platform.
const PLATFORMS: [[&str; 2]; 4] =
    [["linux/amd64", "linux/amd64/v1"], ["linux/arm64", "linux/arm64/v8"], ["linux/arm", "linux/arm/v7"], ["linux/arm/v6"; 2]];

/// An image as a build makes it: of a platform, spelled in one of two ways, with a content, and with this many attestations.
#[derive(Clone, Debug)]
struct Image {
    platform: usize,
    spelling: usize,
    content: u8,
    attestations: usize,
}

impl Image {
    fn plain(platform: usize, content: u8) -> Self {
        Self { platform, spelling: 0, content, attestations: 0 }
    }

    /// The same image always spells its platform in the same way: it stands in its configuration.
    fn entry(&self) -> Entry {
        let spelling = PLATFORMS[self.platform][self.spelling];
        let descriptor = Descriptor {
            platform: Some(spelling.parse().unwrap()),
            ..manifest(media_type::OCI_MANIFEST, &format!("image {spelling} {}", self.content)).descriptor
        };
        let attestations = (0..self.attestations).map(|number| attestation(&descriptor.digest, number)).collect();
        Entry { descriptor, attestations }
    }

    /// Of this image alone. What it is attested by can only be said in an index.
    fn offer(&self) -> Offer {
        let entry = self.entry();
        if self.attestations > 0 {
            return Offer { whole: manifest_of(&index_of([&entry].into_iter())), entries: vec![entry], is_joined: false };
        }
        let whole = Manifest { descriptor: entry.descriptor.clone(), bytes: Bytes::new() };
        Offer { whole, entries: vec![entry], is_joined: false }
    }
}

fn manifest(media_type: &str, content: &str) -> Manifest {
    let bytes = Bytes::from(content.to_owned());
    Manifest { descriptor: Descriptor::new(media_type, Digest::sha256(&bytes), bytes.len() as u64), bytes }
}

/// As BuildKit writes it.
fn attestation(about: &Digest, number: usize) -> Descriptor {
    let annotations = [(REFERENCE_TYPE, "attestation-manifest".to_owned()), (REFERENCE_DIGEST, about.to_string())];
    Descriptor {
        platform: Some(Platform::new("unknown", "unknown")),
        annotations: Some(annotations.map(|(name, value)| (name.to_owned(), value)).into()),
        ..manifest(media_type::OCI_MANIFEST, &format!("attestation {number} of {about}")).descriptor
    }
}

fn index(manifests: Vec<Descriptor>) -> Existing {
    let index = ImageIndex::new(manifests);
    Existing::Index(manifest_of(&index).descriptor.digest, index)
}

fn join(images: &[Image]) -> Offer {
    Offer::join(images.iter().map(Image::offer).collect()).unwrap()
}

/// What a tag leads to once a decision is carried out.
fn after(existing: &Existing, offer: &Offer) -> Existing {
    match decide(existing, offer) {
        Decision::Keep => existing.clone(),
        Decision::Set { manifest, .. } => stored(*manifest),
    }
}

/// What a reader of the registry makes of a manifest.
fn stored(manifest: Manifest) -> Existing {
    match manifest.descriptor.platform {
        Some(_) => Existing::Image(manifest.descriptor),
        None => match Document::parse(&manifest.bytes, &manifest.descriptor.media_type) {
            Ok(Document::Index(index)) => Existing::Index(manifest.descriptor.digest, index),
            _ => Existing::Other(manifest.descriptor.digest),
        },
    }
}

fn descriptors(existing: &Existing) -> Vec<Descriptor> {
    match existing {
        Existing::Nothing | Existing::Other(_) => Vec::new(),
        Existing::Image(descriptor) => vec![descriptor.clone()],
        Existing::Index(_, index) => index.manifests.clone(),
    }
}

/// In no order: everything that is there, each with how often.
fn counted(existing: &Existing) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for descriptor in descriptors(existing) {
        *counted.entry(serde_json::to_string(&descriptor).unwrap()).or_default() += 1;
    }
    counted
}

fn kinds(images: &[Image]) -> BTreeSet<usize> {
    images.iter().map(|image| image.platform).collect()
}

/// The platform of an entry that is an image.
fn kind(descriptor: &Descriptor) -> Option<usize> {
    let platform = descriptor.platform.as_ref()?;
    PLATFORMS.iter().position(|[spelling, _]| spelling.parse::<Platform>().unwrap().same_as(platform))
}

fn an_image() -> impl Strategy<Value = Image> {
    (0..PLATFORMS.len(), 0..2usize, 0..3u8, 0..3usize).prop_map(|(platform, spelling, content, attestations)| Image {
        platform,
        spelling,
        content,
        attestations,
    })
}

/// Images of one push: each of another platform.
fn images() -> impl Strategy<Value = Vec<Image>> {
    vec(an_image(), 1..=PLATFORMS.len()).prop_map(|mut images| {
        let mut seen = BTreeSet::new();
        images.retain(|image| seen.insert(image.platform));
        images
    })
}

/// Two pushes that have no platform in common.
fn two_pushes() -> impl Strategy<Value = (Vec<Image>, Vec<Image>)> {
    (images(), images()).prop_filter_map("a platform is left for the second", |(one, mut other)| {
        let taken = kinds(&one);
        other.retain(|image| !taken.contains(&image.platform));
        (!other.is_empty()).then_some((one, other))
    })
}

/// A tag after some pushes.
fn a_tag() -> impl Strategy<Value = Existing> {
    vec(images(), 0..5)
        .prop_map(|pushes| pushes.iter().fold(Existing::Nothing, |existing, images| after(&existing, &join(images))))
}

/// A tag that other tools set: the same platform several times, the same image several times, attestations anywhere, also of nothing
/// that is there, and entries without a platform.
fn any_tag() -> impl Strategy<Value = Existing> {
    let other = (0..3u8).prop_map(|content| vec![manifest("a/b", &format!("other {content}")).descriptor]);
    let of_nothing = (0..3u8).prop_map(|content| vec![attestation(&Digest::sha256(&[content]), 0)]);
    let entry = an_image().prop_map(|image| {
        let entry = image.entry();
        [vec![entry.descriptor], entry.attestations].concat()
    });
    vec(prop_oneof![4 => entry, 1 => other, 1 => of_nothing], 1..6)
        .prop_map(|parts| parts.concat())
        .prop_shuffle()
        .prop_map(index)
}

proptest! {
    #[test]
    fn a_second_look_keeps_what_the_first_has_set(existing in prop_oneof![a_tag(), any_tag()], images in images()) {
        let offer = join(&images);
        let set = after(&existing, &offer);
        prop_assert_eq!(decide(&set, &offer), Decision::Keep, "{:?}", set);
    }

    #[test]
    fn the_order_of_two_pushes_does_not_change_what_is_there(existing in a_tag(), (one, other) in two_pushes()) {
        let (one, other) = (join(&one), join(&other));
        let forth = after(&after(&existing, &one), &other);
        let back = after(&after(&existing, &other), &one);
        prop_assert_eq!(counted(&forth), counted(&back));
    }

    /// Else two pushers that each look again after writing would undo each other's work for ever.
    #[test]
    fn what_was_pushed_is_kept_also_after_others_have_pushed(existing in a_tag(), (one, other) in two_pushes()) {
        let (one, other) = (join(&one), join(&other));
        let set = after(&after(&existing, &one), &other);
        prop_assert_eq!(decide(&set, &one), Decision::Keep, "{:?}", set);
    }

    #[test]
    fn what_is_of_other_platforms_stays_as_it_is(existing in any_tag(), images in images()) {
        let pushed = kinds(&images);
        let before = descriptors(&existing);
        let is_replaced = |old: &Descriptor| kind(old).is_some_and(|kind| pushed.contains(&kind));
        let replaced: Vec<_> = before.iter().filter(|old| is_replaced(old)).map(|old| old.digest.to_string()).collect();
        let is_about_replaced = |old: &Descriptor| attested(old).is_some_and(|about| replaced.iter().any(|gone| gone == about));
        let kept: Vec<_> = before.iter().filter(|old| !is_replaced(old) && !is_about_replaced(old)).collect();
        let set = descriptors(&after(&existing, &join(&images)));
        let mut left = set.iter();
        for old in kept {
            prop_assert!(left.any(|new| new == old), "{old:?} is not, or not in its order, in {set:?}");
        }
    }

    #[test]
    fn a_platform_that_was_pushed_is_there_once(existing in any_tag(), images in images()) {
        let set = descriptors(&after(&existing, &join(&images)));
        for image in &images {
            let of_platform: Vec<_> = set.iter().filter(|new| kind(new) == Some(image.platform)).cloned().collect();
            prop_assert_eq!(of_platform, vec![image.entry().descriptor]);
        }
    }

    #[test]
    fn attestations_follow_their_image(existing in a_tag(), images in images()) {
        let set = descriptors(&after(&existing, &join(&images)));
        let there: BTreeSet<_> = set.iter().map(|new| new.digest.to_string()).collect();
        for attestation in set.iter().filter(|new| is_attestation(new)) {
            prop_assert!(there.contains(attested(attestation).unwrap()), "{attestation:?} is about nothing in {set:?}");
        }
        for entry in images.iter().map(Image::entry) {
            let digest = entry.descriptor.digest.to_string();
            let about = set.iter().filter(|new| attested(new) == Some(digest.as_str()));
            prop_assert!(about.clone().count() == entry.attestations.len() && about.eq(entry.attestations.iter()), "{set:?}");
        }
    }

    #[test]
    fn a_single_architecture_stays_plain(platform in 0..PLATFORMS.len(), contents in vec((0..2usize, 0..3u8), 1..5)) {
        let mut existing = Existing::Nothing;
        for (spelling, content) in contents {
            let image = Image { spelling, ..Image::plain(platform, content) };
            existing = after(&existing, &image.offer());
            // The same image in another spelling is the same image.
            let digest = image.entry().descriptor.digest;
            prop_assert!(matches!(&existing, Existing::Image(image) if image.digest == digest), "{existing:?}");
        }
    }

    #[test]
    fn a_push_to_nothing_is_itself(images in images()) {
        let offer = join(&images);
        let set = Decision::Set { manifest: Box::new(offer.whole.clone()), replaces: false };
        prop_assert_eq!(decide(&Existing::Nothing, &offer), set);
        let sum: usize = images.iter().map(|image| 1 + image.attestations).sum();
        prop_assert_eq!(descriptors(&stored(offer.whole)).len(), sum);
    }
}

#[test]
fn two_architectures_make_an_index_and_the_next_build_replaces_its_own() {
    let [amd64, arm64, newer] = [Image::plain(0, 0), Image::plain(1, 0), Image::plain(0, 1)];
    let both = after(&stored(amd64.offer().whole), &arm64.offer());
    assert_eq!(descriptors(&both), [amd64.entry().descriptor, arm64.entry().descriptor]);
    assert_eq!(descriptors(&after(&both, &newer.offer())), [newer.entry().descriptor, arm64.entry().descriptor]);
}

#[test]
fn what_has_no_platform_is_replaced_and_so_is_anything_by_it() {
    let image = Image::plain(0, 0).offer();
    let artifact = Offer { whole: manifest(media_type::OCI_MANIFEST, "artifact"), entries: Vec::new(), is_joined: false };
    let digest = artifact.whole.descriptor.digest;
    let replaced_by = |offer: &Offer| Decision::Set { manifest: Box::new(offer.whole.clone()), replaces: true };
    assert_eq!(decide(&Existing::Other(digest), &image), replaced_by(&image));
    assert_eq!(decide(&stored(image.whole), &artifact), replaced_by(&artifact));
    assert_eq!(decide(&index(vec![Image::plain(1, 0).entry().descriptor]), &artifact), replaced_by(&artifact));
    assert_eq!(decide(&Existing::Other(digest), &artifact), Decision::Keep);
}

#[test]
fn an_entry_that_names_no_platform_is_known_by_its_digest() {
    let pushed = Image::plain(0, 0);
    let silent = Descriptor { platform: None, ..pushed.entry().descriptor };
    let other = Image::plain(1, 0).entry().descriptor;
    let set = after(&index(vec![silent, other.clone()]), &pushed.offer());
    assert_eq!(descriptors(&set), [pushed.entry().descriptor, other]);
}

#[test]
fn what_an_index_says_beside_its_entries_stays() {
    let mut before = ImageIndex::new(vec![Image::plain(0, 0).entry().descriptor]);
    before.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    before.rest.insert("new".to_owned(), true.into());
    let set = after(&Existing::Index(manifest_of(&before).descriptor.digest, before.clone()), &Image::plain(1, 0).offer());
    let Existing::Index(_, set) = set else { panic!("{set:?}") };
    assert_eq!((set.annotations, set.rest), (before.annotations, before.rest));
}

/// Docker's list of Docker's images is read by what reads no OCI index.
#[test]
fn a_list_is_of_docker_as_long_as_all_its_images_are() {
    let docker = |image: Image| {
        let mut offer = image.offer();
        offer.whole.descriptor.media_type = media_type::DOCKER_MANIFEST.to_owned();
        offer.entries[0].descriptor.media_type = media_type::DOCKER_MANIFEST.to_owned();
        offer
    };
    let kind = |existing: &Existing| match existing {
        Existing::Index(_, index) => index.media_type.clone(),
        other => panic!("{other:?}"),
    };
    let list = after(&stored(docker(Image::plain(0, 0)).whole), &docker(Image::plain(1, 0)));
    assert_eq!(kind(&list), media_type::DOCKER_LIST);
    assert_eq!(kind(&after(&list, &docker(Image::plain(2, 0)))), media_type::DOCKER_LIST);
    assert_eq!(kind(&after(&list, &Image::plain(2, 0).offer())), media_type::OCI_INDEX);
}

#[test]
fn joining_one_image_leaves_it_as_it_is() {
    let offer = Image::plain(0, 0).offer();
    assert_eq!(Offer::join(vec![offer.clone()]), Some(offer));
    assert_eq!(Offer::join(Vec::new()), None);
}

/// Builders that left the variant out of the configuration told it in the index alone.
#[test]
fn an_image_that_is_there_for_another_platform_stays_there() {
    let pushed = Image::plain(2, 0);
    let older = Descriptor { platform: Some("linux/arm/v6".parse().unwrap()), ..pushed.entry().descriptor };
    let set = after(&index(vec![older.clone()]), &pushed.offer());
    assert_eq!(descriptors(&set), [older, pushed.entry().descriptor]);
}

#[test]
fn of_two_images_for_one_platform_the_newer_is_joined() {
    let (old, new, other) = (Image::plain(0, 0), Image::plain(0, 1), Image::plain(1, 0));
    let joined = |images: &[&Image]| Offer::join(images.iter().map(|image| image.offer()).collect()).unwrap();
    assert_eq!(joined(&[&old, &new]), new.offer());
    assert_eq!(joined(&[&old, &other, &new]), joined(&[&new, &other]));
    assert_eq!(joined(&[&other, &new]), joined(&[&new, &other]), "the order does not matter");
    let artifact = Offer { whole: manifest(media_type::OCI_MANIFEST, "artifact"), entries: Vec::new(), is_joined: false };
    assert_eq!(Offer::join(vec![old.offer(), artifact.clone()]), Some(artifact.clone()));
    assert_eq!(Offer::join(vec![artifact, old.offer()]), Some(old.offer()));
}

#[test]
fn an_index_of_ours_is_kept_in_any_order() {
    let (one, two) = (Image::plain(0, 0), Image::plain(1, 0));
    let there = index(vec![two.entry().descriptor, one.entry().descriptor]);
    let joined = Offer::join(vec![one.offer(), two.offer()]).unwrap();
    assert_eq!(decide(&there, &joined), Decision::Keep);
}
