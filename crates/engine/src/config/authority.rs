//! What the layers may say about one another: a project narrows and never widens, and every plugin
//! that is named is there.

use super::error::{ConfigError, Fault};
use super::file::{File, Layer};
use super::origin::Origin;
use super::settings::{BUNDLED, Declaration, Settings};

/// Checks the user's file by itself, for every directory at once: what a rule names is declared in
/// the same rule or outside of all rules, so that every combination of rules holds together.
pub(super) fn check_user(file: &File) -> Result<(), ConfigError> {
    check_plugins(&[&file.layer])?;
    let mut weaker = vec![&file.layer];
    for rule in &file.rules {
        check_plugins(&[&file.layer, &rule.layer])?;
        check_pins(&rule.layer, &weaker)?;
        weaker.push(&rule.layer);
    }
    Ok(())
}

/// Checks the layers of a project, in ascending order, against what the user's come to.
pub(super) fn check_project(project: &[&Layer], settings: &Settings) -> Result<(), ConfigError> {
    for layer in project {
        check_range(layer, settings)?;
        check_declarations(layer, settings)?;
    }
    Ok(())
}

fn check_range(layer: &Layer, user: &Settings) -> Result<(), ConfigError> {
    let allowed = &user.ports.range;
    match &layer.range {
        Some(range) if !allowed.value.covers(range.value) => {
            let allows = match &allowed.origin {
                Origin::BuiltIn => format!("the built-in range {}", allowed.value),
                origin => format!("{}, the range that {origin} allows", allowed.value),
            };
            Err(Fault::new(format_args!("{} lies outside {allows}", range.value))
                .hint("a project can narrow the range; `ports.range` in the user's file widens it")
                .at(&range.origin))
        }
        _ => Ok(()),
    }
}

/// A project cannot put its own plugin in the place of one that decides for the user.
fn check_declarations(layer: &Layer, user: &Settings) -> Result<(), ConfigError> {
    for (name, (_, plugin)) in &layer.plugins {
        let Some(declaration) = &plugin.declaration else {
            continue;
        };
        let users = user.plugins.get(name).and_then(|plugin| plugin.declaration.as_ref());
        // The same bytes are the same plugin, and stay the user's.
        let same =
            |users: &&Declaration| users.sha256.is_some() && users.sha256 == declaration.sha256;
        if users.is_some_and(|users| same(&users)) {
            continue;
        }
        let fault = if let Some(users) = users {
            Fault::new(format_args!("plugin `{name}` is already declared by {}", users.origin))
        } else if BUNDLED.contains(&name.as_str()) {
            Fault::new(format_args!("plugin `{name}` is bundled and only the user can replace it"))
        } else {
            continue;
        };
        return Err(fault.hint("give the project's plugin another name").at(&declaration.origin));
    }
    Ok(())
}

/// A rule that declares a pinned plugin again pins it again: no merge drops a digest.
fn check_pins(rule: &Layer, weaker: &[&Layer]) -> Result<(), ConfigError> {
    for (name, (_, plugin)) in &rule.plugins {
        let Some(declaration) = plugin.declaration.as_ref().filter(|it| it.sha256.is_none()) else {
            continue;
        };
        let pinned = weaker
            .iter()
            .filter_map(|layer| layer.plugins.get(name)?.1.declaration.as_ref())
            .find(|declaration| declaration.sha256.is_some());
        if let Some(pinned) = pinned {
            let origin = &pinned.origin;
            let message = format!("plugin `{name}` is pinned by {origin}, and not pinned here");
            let fault = Fault::new(message).hint("add the `sha256` of this file");
            return Err(fault.at(&declaration.origin));
        }
    }
    Ok(())
}

/// Every plugin that one of `layers` names is bundled or declared in one of them.
pub(super) fn check_plugins(layers: &[&Layer]) -> Result<(), ConfigError> {
    let declared = layers.iter().flat_map(|layer| &layer.plugins);
    let declared = declared.filter(|(_, (_, plugin))| plugin.declaration.is_some());
    let known: Vec<&str> =
        declared.map(|(name, _)| name.as_str()).chain(BUNDLED.iter().copied()).collect();
    for layer in layers {
        let single = [&layer.key, &layer.selection].into_iter().flatten();
        let single = single.map(|name| (name.value.as_str(), &name.origin));
        let cleanup = layer.cleanup.iter();
        let cleanup =
            cleanup.flat_map(|names| names.value.iter().map(|name| (name.as_str(), &names.origin)));
        let mentioned = layer.plugins.iter().map(|(name, (origin, _))| (name.as_str(), origin));
        for (name, origin) in single.chain(cleanup).chain(mentioned) {
            if !known.contains(&name) {
                let message = format!("plugin `{name}` is neither bundled nor declared here");
                let fault = Fault::new(message).suggest(name, "the known plugins are", &known);
                return Err(fault.at(origin));
            }
        }
    }
    Ok(())
}
