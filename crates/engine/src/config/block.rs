//! Blocks: services whose ports are a common base and an offset each.

use super::error::{ConfigError, Fault};
use super::origin::Set;
use super::settings::{ServiceSettings, Settings};
use crate::port::Port;
use crate::reservation::{Scope, Service};

/// A service of a block.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// The service.
    pub service: &'a Service,
    /// How far its port is above the lowest of the block.
    pub above: u16,
    settings: &'a ServiceSettings,
}

impl Member<'_> {
    /// The lowest port of the block, if this service gets its preferred port; `None` when it prefers
    /// none.
    #[must_use]
    pub fn preferred_base(&self) -> Option<Port> {
        let port = self.settings.port.as_ref()?.value;
        port.checked_sub(self.above)
    }
}

impl Settings {
    /// The block of a scope: its services that have an offset, the lowest first.
    #[must_use]
    pub fn block(&self, scope: Scope) -> Vec<Member<'_>> {
        let mut members: Vec<_> = self
            .services
            .iter()
            .filter(|(_, settings)| settings.scope() == scope)
            .filter_map(|(service, settings)| {
                let above = settings.offset.as_ref()?.value;
                Some(Member { service, above, settings })
            })
            .collect();
        members.sort_by_key(|member| member.above);
        let lowest = members.first().map_or(0, |member| member.above);
        members.iter_mut().for_each(|member| member.above -= lowest);
        members
    }

    /// Every block can be had: no two of its services want the same port, and their preferred ports
    /// fit together.
    pub(super) fn check_blocks(&self) -> Result<(), ConfigError> {
        for scope in Scope::ALL {
            let members = self.block(*scope);
            let mut wanted: Option<(Port, &Service)> = None;
            let mut below: Option<&Member<'_>> = None;
            for member in &members {
                if let Some(other) = below.filter(|other| other.above == member.above)
                    && let Some(Set { value, origin }) = &member.settings.offset
                {
                    let (one, two) = (other.service, member.service);
                    let message = format!("`{one}` and `{two}` have the same offset, {value}");
                    return Err(Fault::new(message).at(origin));
                }
                below = Some(member);
                let Some(Set { value: port, origin }) = &member.settings.port else {
                    continue;
                };
                let service = member.service;
                match (member.preferred_base(), wanted) {
                    (None, _) => {
                        let message = format!(
                            "port {port} of `{service}` leaves no room for its block, {} below",
                            member.above
                        );
                        return Err(Fault::new(message).at(origin));
                    }
                    (Some(base), Some((first, other))) if base != first => {
                        let fits = first.checked_add(member.above);
                        let fits = fits.map_or_else(String::new, |fits| format!(", {fits} would"));
                        let message = format!(
                            "port {port} of `{service}` does not fit its offset beside `{other}`{fits}"
                        );
                        return Err(Fault::new(message).at(origin));
                    }
                    (Some(base), _) => wanted = Some((base, service)),
                }
            }
        }
        Ok(())
    }
}

impl ServiceSettings {
    /// What its reservation belongs to, as configured or by default.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope.as_ref().map(|scope| scope.value).unwrap_or_default()
    }
}
