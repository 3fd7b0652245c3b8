//! Gives every team or project a block of ports of its own. What is decided stands in [`blocks`];
//! here are the bindings.

mod blocks;

use exports::hythe::policy::{info, port_selection};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:team-blocks;
        world team-blocks {
            export hythe:policy/info@0.1.0;
            export hythe:policy/port-selection@0.1.0;
        }
    ",
});

struct TeamBlocks;
export!(TeamBlocks);

impl info::Guest for TeamBlocks {
    fn describe() -> info::Description {
        info::Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "every team or project has a block of ports of its own".into(),
            options_schema: r#"{
                "properties": {
                    "blocks": {
                        "description": "the ports of each project, as in `24000-24999`; `team/*` is every project that begins with `team/`",
                        "type": "object",
                        "additionalProperties": { "type": "string" }
                    },
                    "shared": {
                        "description": "the ports of everybody else; without it, what no block takes",
                        "type": "string"
                    }
                }
            }"#
            .into(),
        }
    }
}

impl port_selection::Guest for TeamBlocks {
    fn select(
        request: port_selection::Request,
        options: String,
    ) -> Result<Vec<port_selection::PortRange>, String> {
        let options = serde_json::from_str(&options).map_err(|error| error.to_string())?;
        let wanted = blocks::Wanted {
            key: &request.key,
            project: request.project.as_deref(),
            allowed: request.allowed.first..=request.allowed.last,
            reach: request.offsets.iter().copied().max().unwrap_or(0),
        };
        let ports = blocks::select(&wanted, &options)?;
        let range = |range: blocks::Ports| port_selection::PortRange {
            first: *range.start(),
            last: *range.end(),
        };
        Ok(ports.into_iter().map(range).collect())
    }
}
