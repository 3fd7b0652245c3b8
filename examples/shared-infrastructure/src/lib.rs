//! Gives some services one port for all checkouts of a repository. What is decided stands in
//! [`keys`]; here are the bindings and the verdicts.

mod keys;

use exports::hythe::policy::{cleanup, info, key_derivation};
use keys::{Checkout, Options, Scope};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:shared-infrastructure;
        world shared-infrastructure {
            export hythe:policy/info@0.1.0;
            export hythe:policy/key-derivation@0.1.0;
            export hythe:policy/cleanup@0.1.0;
        }
    ",
});

struct SharedInfrastructure;
export!(SharedInfrastructure);

impl info::Guest for SharedInfrastructure {
    fn describe() -> info::Description {
        info::Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "some services have one port for all checkouts of a repository".into(),
            options_schema: r#"{
                "properties": {
                    "shared": {
                        "description": "the services that are shared",
                        "type": "array", "items": { "type": "string" }, "default": []
                    },
                    "across": {
                        "description": "who shares them: the checkouts of a repository, those of a project, or everybody on this machine",
                        "enum": ["repository", "project", "machine"], "default": "repository"
                    },
                    "unused": {
                        "description": "how long after its last use a shared port is kept; 0s for no end",
                        "type": "string", "format": "duration", "default": "30d"
                    }
                }
            }"#
            .into(),
        }
    }
}

fn options(text: &str) -> Result<Options, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl key_derivation::Guest for SharedInfrastructure {
    fn derive(request: key_derivation::Request, text: String) -> Result<String, String> {
        let checkout = request.checkout.as_ref().map(|checkout| Checkout {
            root: &checkout.root,
            repository: checkout.repository.as_deref(),
        });
        let scope = match request.scope {
            key_derivation::Scope::Directory => Scope::Directory,
            key_derivation::Scope::Project => Scope::Project,
            key_derivation::Scope::Service => Scope::Service,
        };
        let request = keys::Request {
            scope,
            service: &request.service,
            directory: &request.directory,
            checkout,
            project: request.project.as_deref(),
        };
        keys::derive(&request, &options(&text)?)
    }
}

impl cleanup::Guest for SharedInfrastructure {
    fn review(
        now: i64,
        reservations: Vec<cleanup::Reservation>,
        text: String,
    ) -> Result<Vec<cleanup::Verdict>, String> {
        let options = options(&text)?;
        let verdict = |reservation: &cleanup::Reservation| {
            if keys::is_shared(&reservation.key) && is_in_use(now, reservation, &options) {
                cleanup::Verdict::Keep
            } else {
                cleanup::Verdict::Pass
            }
        };
        Ok(reservations.iter().map(verdict).collect())
    }
}

/// Whether somebody may come back to it. What was reserved for as long as its owner lives, or for a
/// time of its own, ends with that.
fn is_in_use(now: i64, reservation: &cleanup::Reservation, options: &Options) -> bool {
    let ephemeral = reservation.lease == cleanup::Lease::Ephemeral;
    if ephemeral && reservation.owner == cleanup::Liveness::Dead {
        return false;
    }
    match reservation.expires_at {
        Some(end) => now <= end,
        None => {
            options.unused == 0 || now.saturating_sub(reservation.last_used_at) <= options.unused
        }
    }
}
