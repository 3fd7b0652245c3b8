//! Takes the port from the ticket number in the branch's name. What is decided stands in [`ticket`];
//! here are the bindings.

mod ticket;

use exports::hythe::policy::{info, port_selection};

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:branch-offset;
        world branch-offset {
            export hythe:policy/info@0.1.0;
            export hythe:policy/port-selection@0.1.0;
        }
    ",
});

struct BranchOffset;
export!(BranchOffset);

impl info::Guest for BranchOffset {
    fn describe() -> info::Description {
        info::Description {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "the port follows the ticket number in the branch's name".into(),
            options_schema: r##"{
                "properties": {
                    "prefixes": {
                        "description": "what stands before a ticket number, the first that is found decides; an empty one finds a number that stands alone",
                        "type": "array", "items": { "type": "string" }, "default": ["#", ""]
                    },
                    "services": {
                        "description": "the services that follow the ticket, in the order of their ports",
                        "type": "array", "items": { "type": "string" }, "default": ["main"]
                    },
                    "base": {
                        "description": "the first port of tickets; by default the first of the allowed range",
                        "type": "integer", "minimum": 1, "maximum": 65535
                    },
                    "span": {
                        "description": "how many tickets get ports of their own, before the numbers begin anew; by default as many as the allowed range has room for",
                        "type": "integer", "minimum": 1, "maximum": 65535
                    }
                }
            }"##
            .into(),
        }
    }
}

impl port_selection::Guest for BranchOffset {
    fn select(
        request: port_selection::Request,
        options: String,
    ) -> Result<Vec<port_selection::PortRange>, String> {
        let options = serde_json::from_str(&options).map_err(|error| error.to_string())?;
        let wanted = ticket::Wanted {
            key: &request.key,
            service: &request.service,
            branch: request.branch.as_deref(),
            allowed: request.allowed.first..=request.allowed.last,
        };
        let ports = ticket::select(&wanted, &options)?;
        let range = |range: ticket::Ports| port_selection::PortRange {
            first: *range.start(),
            last: *range.end(),
        };
        Ok(ports.into_iter().map(range).collect())
    }
}
