//! An image as JSON, for programs.

use serde_json::{Map, Value, json};
use wharf_oci::Descriptor;

use super::facts::{Facts, Image, compression, cut};

/// The document. Its keys stay: `name`, `digest`, `media_type`, `size` (bytes of everything, each once), `annotations` (of an index) and
/// `images`, a list also where there is one. Each image has `platform`, `digest`, `media_type`, `size`, `artifact_type`, `config_digest`,
/// `created`, `author`, `user`, `env`, `entrypoint`, `cmd`, `working_dir`, `ports`, `volumes`, `stop_signal`, `labels`, `annotations` and
/// `layers`, the lowest first, each with `digest`, `media_type`, `size`, `compression`, `cut`, `created_by` and `annotations`. What an image does
/// not say is `null`, an empty list or an empty object.
pub fn document(facts: &Facts) -> Value {
    json!({
        "name": facts.shown,
        "digest": facts.root.digest.to_string(),
        "media_type": facts.root.media_type,
        "size": facts.size,
        "annotations": facts.annotations,
        "images": facts.images.iter().map(image).collect::<Vec<_>>(),
    })
}

fn image(image: &Image) -> Value {
    let said = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
    let config = image.config.as_ref();
    let commands = config.map(|config| config.commands(image.manifest.layers.len())).unwrap_or_default();
    let commands = commands.into_iter().map(Some).chain(std::iter::repeat(None));
    let mut members = json!({
        "platform": image.platform.as_ref().map(ToString::to_string),
        "digest": image.descriptor.digest.to_string(),
        "media_type": image.descriptor.media_type,
        "size": image.size(),
        "artifact_type": image.manifest.artifact_type,
        "config_digest": image.manifest.config.digest.to_string(),
        "created": config.and_then(|config| said(&config.created)),
        "author": config.and_then(|config| said(&config.author)),
        "annotations": image.manifest.annotations.clone().unwrap_or_default(),
        "layers": image.manifest.layers.iter().zip(commands).map(|(layer, command)| self::layer(layer, command)).collect::<Vec<_>>(),
    });
    let nothing = Default::default();
    let run = config.map_or(&nothing, |config| &config.config);
    let execution = json!({
        "user": said(&run.user),
        "env": run.env,
        "entrypoint": run.entrypoint,
        "cmd": run.cmd,
        "working_dir": said(&run.working_dir),
        "ports": run.exposed_ports.keys().collect::<Vec<_>>(),
        "volumes": run.volumes.keys().collect::<Vec<_>>(),
        "stop_signal": said(&run.stop_signal),
        "labels": run.labels,
    });
    if let (Value::Object(members), Value::Object(mut execution)) = (&mut members, execution) {
        members.append(&mut execution);
    }
    members
}

fn layer(layer: &Descriptor, command: Option<&str>) -> Value {
    json!({
        "digest": layer.digest.to_string(),
        "media_type": layer.media_type,
        "size": layer.size,
        "compression": compression(layer),
        "cut": cut(layer),
        "created_by": command.filter(|command| !command.is_empty()),
        "annotations": layer.annotations.as_ref().map_or_else(Map::new, |annotations| {
            annotations.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect()
        }),
    })
}
