//! `push`: an image to a registry, beside the platforms that others keep under the tag.

use std::process::ExitCode;
use std::sync::Arc;

use wharf_client::{Access, Address, ClientError, Pusher, Tls, Tree, Verify};
use wharf_oci::{ImageReference, Tag};
use wharf_pull::authorities;
use wharf_terminal::progress::Progress;
use wharf_terminal::ui::{self, Failure, Output};

use crate::cli::images::Push;
use crate::reach;
use crate::settings::Settings;
use crate::store::{self, Store};

/// Pushes an image.
pub fn run(settings: &Settings, options: &Push) -> Result<ExitCode, Failure> {
    ui::Manner { quiet: options.quiet, ..ui::Manner::now() }.set();
    let store = Store::of(settings);
    let image = store.find(settings, &options.image)?.image;
    let layout = super::layout_of(&store)?;
    let read = |text: &str| text.parse::<ImageReference>().map_err(|error| Failure::of(&error));
    // A name without a registry goes where `pull` looks first.
    let target = match &settings.registry {
        Some(registry) if !store::qualified(&options.image) => read(&registry.qualify(&options.image))?,
        _ => read(&options.image)?,
    };
    if target.digest().is_some() {
        return Err(Failure::new("an image is pushed by name, not by digest"));
    }
    let tag = target.tag().cloned().unwrap_or_else(Tag::latest);
    let mut output = Output::default();
    reach::run(async {
        let progress = Arc::new(Progress::new());
        let reach = reach::to(settings, target.host())?;
        let authority = reach.host.clone().unwrap_or_else(|| target.host().to_owned());
        let failed = |error: ClientError| reach::failure(&error);
        let verify = if reach.tls_verify == Some(false) { Verify::Off } else { Verify::Required };
        let tls =
            Tls { verify, authorities: authorities(&authority, reach.ca_cert.as_deref()).map_err(|error| Failure::of(&error))? };
        let at = |https| Access {
            address: Address { https, authority: authority.clone() },
            credentials: reach.credentials.clone(),
            tls: tls.clone(),
            patience: reach.patience.clone(),
        };
        // As in pulling: the loopback speaks HTTP unless TLS is asked for, and what is insecure may do either.
        let schemes: &[bool] = match (reach::is_here(target.host()), reach.tls_verify) {
            (true, None | Some(false)) => &[false, true],
            (false, Some(false)) => &[true, false],
            _ => &[true],
        };
        let mut registry = None;
        let mut told = None;
        for https in schemes {
            match wharf_pull::reach(at(*https), progress.clone()).await {
                Ok(found) => {
                    registry = Some(found);
                    break;
                }
                Err(error) => told = told.or(Some(error)),
            }
        }
        let registry = match (registry, told) {
            (Some(registry), _) => registry,
            (None, Some(error)) => return Err(failed(error)),
            (None, None) => return Err(Failure::new(format!("{authority} cannot be reached"))),
        };
        ui::say(format_args!("The push refers to repository [{}/{}]", target.host(), target.repository()));
        let tree = Tree::read(&layout, &image.descriptor).await.map_err(failed)?;
        let pusher = Pusher::new(&registry);
        let sent = pusher.send(&layout, &tree, target.repository()).await;
        progress.clear();
        sent.map_err(failed)?;
        let roots = [&tree.root];
        for tagged in pusher.tag(target.repository(), tree.offer(), &roots, std::slice::from_ref(&tag)).await {
            let tagged = tagged.map_err(failed)?;
            if tagged.replaced {
                ui::say(format_args!("What {tag} led to before was replaced"));
            }
            output.print(match options.quiet {
                true => format!("{}\n", store::full(&target)),
                false => format!("{tag}: digest: {} size: {}\n", tagged.digest, tree.root.bytes.len()),
            });
        }
        Ok(())
    })?;
    output.end().map(|()| ExitCode::SUCCESS)
}
