//! What clients ask a registry for.

use wharf_registry::fuzzing;

use super::target;
use crate::Target;

pub(crate) const ENDPOINT: Target = target!(
    "endpoint",
    [
        "/v2/",
        "/v2/_catalog?n=10&last=a%2Fb",
        "/v2/yocto/container-base/tags/list?n=5&last=v1",
        "/v2/a/manifests/latest",
        "/v2/a/manifests/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?tag=a&tag=b",
        "/v2/a/blobs/uploads/?mount=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&from=b",
        "/v2/a/blobs/uploads/6f1f2a1e-57fb-4a4c-8c4a-3a9f4b4d1c11?digest=sha512:00",
        "/v2/a/referrers/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?artifactType=x/y",
        "/token?service=wharf&scope=repository:a:pull&scope=registry:catalog:*",
    ],
    fuzzing::endpoint
);

pub(crate) const RANGE: Target = target!(
    "range",
    ["bytes=0-99", "bytes=-5", "bytes=5-", "bytes=0-0, 2-2,-1", "0-99", "bytes 0-18446744073709551615/*"],
    fuzzing::range
);

pub(crate) const CONDITIONAL: Target = target!(
    "conditional",
    [
        "*",
        "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
        "W/\"a\", \"b\"",
        "Wed, 21 Oct 2015 07:28:00 GMT",
    ],
    fuzzing::conditional
);
