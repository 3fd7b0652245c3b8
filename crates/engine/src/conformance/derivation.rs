//! The edges of `key-derivation`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::call::{DeriveCall, service};
use super::exam::Exam;
use super::generate::{MAX_LABEL, MAX_PATH, MAX_SERVICE};
use super::{Check, Suite};
use crate::place::{Checkout, CheckoutKind, Place};
use crate::policy::KeyDerivation;
use crate::reservation::{Label, Scope};

pub(super) fn checks(suite: Suite, policy: &dyn KeyDerivation) -> Vec<Check> {
    let mut exam = Exam::new(policy);
    exam.edge("a typical request", vec![DeriveCall::typical()]);
    exam.edge("every scope, in every kind of checkout and in none", scoped(&everywhere()));
    let nameless = everywhere().map(|call| DeriveCall { project: None, ..call });
    exam.edge("no project", scoped(&nameless));
    exam.edge("the root directory", scoped(&[at("/".into())]));
    exam.edge("paths that are not UTF-8", scoped(&[at(path(b"/work/\xff\xfe\xc3"))]));
    exam.edge("paths with control characters", scoped(&[at("/work/a\nb\u{1b}[31m\u{85}".into())]));
    let longest = [vec![0xff; MAX_PATH - 1], vec![b'a'; MAX_PATH - 1]]
        .map(|name| at(path(&[b"/".as_slice(), &name].concat())));
    exam.edge("the longest paths", scoped(&longest));
    exam.edge("the longest service", scoped(&[named(&"s".repeat(MAX_SERVICE), Some("shop"))]));
    exam.edge("the longest project", scoped(&[named("web", Some(&"p".repeat(MAX_LABEL)))]));
    exam.edge("names that are not ASCII", scoped(&[called("größe/端口/🚢")]));
    exam.edge("a repository and a branch with control characters", scoped(&[called("a\u{85}b")]));
    for pair in pairs() {
        exam.compare(pair.name, |exam| {
            let (key, other) = (exam.answer(&pair.one)?, exam.answer(&pair.other)?);
            Ok(((key == other) != pair.same).then(|| pair.note.to_owned()))
        });
    }
    exam.repeat();
    exam.random(suite);
    exam.into_checks()
}

/// Two requests whose keys are usually the same, or usually not.
struct Pair {
    name: &'static str,
    one: DeriveCall,
    other: DeriveCall,
    same: bool,
    note: &'static str,
}

fn pairs() -> [Pair; 8] {
    let scope = |scope, call| DeriveCall { scope, ..call };
    let (project, machine) = (Scope::Project, Scope::Service);
    let [main, _, linked, ..] = everywhere();
    let blog = || DeriveCall { project: Label::nearest("blog"), ..at("/work/blog".into()) };
    let fix = || at("/work/fix".into());
    let typical = DeriveCall::typical;
    let same = |name, one, other, note| Pair { name, one, other, same: true, note };
    let apart = |name, one, other, note| Pair { name, one, other, same: false, note };
    [
        apart(
            "two services have two keys",
            typical(),
            named("api", Some("shop")),
            "two services of a directory share a key, and so a port",
        ),
        apart(
            "two checkouts have two keys",
            typical(),
            blog(),
            "two checkouts share a key in scope `directory`, and so a port",
        ),
        apart(
            "two worktrees have two keys",
            main,
            linked,
            "two worktrees of a repository share a key in scope `directory`, and so a port",
        ),
        apart(
            "two scopes have two keys",
            scope(project, typical()),
            scope(machine, typical()),
            "the scopes `project` and `service` share a key",
        ),
        same(
            "a checkout has one key, in all its directories",
            typical(),
            in_directory("/work/shop/api"),
            "the key depends on the directory within a checkout",
        ),
        same(
            "a checkout keeps its key when it changes its branch",
            typical(),
            in_checkout(typical(), |checkout| checkout.branch = Some("fix".to_owned())),
            "the key depends on the branch, and so does the port",
        ),
        same(
            "a project has one key in scope `project`",
            scope(project, typical()),
            scope(project, fix()),
            "two checkouts of a project have two keys in scope `project`",
        ),
        same(
            "a service has one key in scope `service`",
            scope(machine, typical()),
            scope(machine, blog()),
            "a service has two keys in scope `service`",
        ),
    ]
}

/// A main checkout, one with a detached head, a worktree, a submodule, a bare repository, a damaged
/// one, and no checkout at all.
fn everywhere() -> [DeriveCall; 7] {
    let checkout = |root: &str, kind, branch: Option<&str>| {
        in_checkout(at(root.into()), |checkout| {
            checkout.kind = kind;
            checkout.repository = Some("/work/shop/.git".into());
            checkout.name = Some("shop".to_owned());
            checkout.branch = branch.map(str::to_owned);
        })
    };
    let detached = checkout("/work/shop", CheckoutKind::Main, None);
    let damaged = in_checkout(detached.clone(), |checkout| {
        (checkout.repository, checkout.name) = (None, None);
    });
    let mut outside = detached.clone();
    outside.place.checkout = None;
    [
        checkout("/work/shop", CheckoutKind::Main, Some("main")),
        detached,
        checkout("/work/shop-fix", CheckoutKind::Linked, Some("fix")),
        checkout("/work/shop/vendor", CheckoutKind::Submodule, Some("main")),
        checkout("/work/shop.git", CheckoutKind::Bare, Some("main")),
        damaged,
        outside,
    ]
}

/// Each of `calls` in every scope.
fn scoped(calls: &[DeriveCall]) -> Vec<DeriveCall> {
    let in_scope = |scope| calls.iter().map(move |call| DeriveCall { scope, ..call.clone() });
    Scope::ALL.iter().copied().flat_map(in_scope).collect()
}

/// A checkout of the typical project at `root`, whose repository is in it.
fn at(root: PathBuf) -> DeriveCall {
    let checkout = Checkout {
        repository: Some(root.join(".git")),
        name: root.file_name().and_then(|name| name.to_str()).map(str::to_owned),
        branch: Some("main".to_owned()),
        kind: CheckoutKind::Main,
        root: root.clone(),
    };
    let place = Place { directory: root, checkout: Some(checkout) };
    DeriveCall { place, ..DeriveCall::typical() }
}

fn named(name: &str, project: Option<&str>) -> DeriveCall {
    let project = project.and_then(Label::nearest);
    DeriveCall { service: service(name), project, ..DeriveCall::typical() }
}

fn in_checkout(mut call: DeriveCall, change: impl FnOnce(&mut Checkout)) -> DeriveCall {
    call.place.checkout.as_mut().map(change);
    call
}

/// The typical checkout of a repository and on a branch that are both called `name`.
fn called(name: &str) -> DeriveCall {
    in_checkout(DeriveCall::typical(), |checkout| {
        (checkout.name, checkout.branch) = (Some(name.to_owned()), Some(name.to_owned()));
    })
}

fn in_directory(directory: &str) -> DeriveCall {
    let mut call = DeriveCall::typical();
    call.place.directory = PathBuf::from(directory);
    call
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}
