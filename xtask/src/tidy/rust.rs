//! What a Rust source says about itself, read from its syntax.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemExternCrate, ItemMod, ItemUse, Macro, Meta, MetaList, Token, UseTree};

/// What the checks ask of a source. Code for tests alone, in `#[cfg(test)]` modules, only counts
/// for `modules` and `unsafe_lines`.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// What it names beyond itself.
    pub(super) uses: Vec<Use>,
    /// The modules it declares, each with its line.
    pub(super) modules: Vec<(String, usize)>,
    /// The paths within the crate of modules that are for tests alone and have their own file.
    pub(super) test_files: Vec<Vec<String>>,
    /// The lines that say `unsafe`.
    pub(super) unsafe_lines: Vec<usize>,
    /// How many lines it has.
    pub(super) lines: usize,
}

/// A path that the code names.
#[derive(Debug)]
pub(super) struct Use {
    /// What it leads to.
    pub(super) target: Target,
    /// The line, counted from 1.
    pub(super) line: usize,
}

/// Where a path leads.
#[derive(Debug, PartialEq)]
pub(super) enum Target {
    /// To an item of the same crate, by its path from the root of the crate.
    Here(Vec<String>),
    /// To something that this crate does not name itself: a dependency, or what a `use` brought in.
    Elsewhere(String),
}

/// Reads the source `text` of the module `module`, a path from the root of its crate.
pub(super) fn read(text: &str, module: &[String]) -> syn::Result<Facts> {
    let tokens: TokenStream = text.parse()?;
    let file: syn::File = syn::parse2(tokens.clone())?;
    let facts = Facts { lines: text.lines().count(), ..Facts::default() };
    let mut reader = Reader { module: module.to_vec(), facts };
    reader.find_unsafe(tokens);
    if is_for_tests(&file.attrs) {
        reader.facts.test_files.push(module.to_vec());
    } else {
        reader.visit_file(&file);
    }
    Ok(reader.facts)
}

struct Reader {
    /// The module that is being read.
    module: Vec<String>,
    facts: Facts,
}

impl Reader {
    fn find_unsafe(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.find_unsafe(group.stream()),
                TokenTree::Ident(ident) if ident == "unsafe" => {
                    self.facts.unsafe_lines.push(line(&ident));
                }
                _ => {}
            }
        }
    }

    fn name(&mut self, segments: &[String], line: usize) {
        let Some(first) = segments.first() else { return };
        let (mut module, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), &segments[1..]),
            "self" => (self.module.clone(), &segments[1..]),
            "super" => (self.module.clone(), segments),
            _ => {
                let target = Target::Elsewhere(first.clone());
                return self.facts.uses.push(Use { target, line });
            }
        };
        while let [parent, tail @ ..] = rest
            && parent == "super"
        {
            module.pop();
            rest = tail;
        }
        module.extend_from_slice(rest);
        self.facts.uses.push(Use { target: Target::Here(module), line });
    }

    fn name_tree(&mut self, prefix: &[String], tree: &UseTree) {
        let within = |ident: &Ident| [prefix, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.name_tree(&within(&path.ident), &path.tree),
            UseTree::Name(name) if name.ident == "self" => self.name(prefix, line(name)),
            UseTree::Rename(name) if name.ident == "self" => self.name(prefix, line(name)),
            UseTree::Name(name) => self.name(&within(&name.ident), line(name)),
            UseTree::Rename(name) => self.name(&within(&name.ident), line(name)),
            UseTree::Glob(glob) => self.name(prefix, line(glob)),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.name_tree(prefix, tree);
                }
            }
        }
    }

    /// The paths in what a macro is given, which has no syntax of its own.
    fn name_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let [token, tail @ ..] = rest {
            rest = tail;
            match token {
                TokenTree::Group(group) => self.name_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let mut segments = vec![first.to_string()];
                    while let [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(next), ..] =
                        rest
                        && (a.as_char(), b.as_char()) == (':', ':')
                    {
                        segments.push(next.to_string());
                        rest = &rest[3..];
                    }
                    if segments.len() > 1 {
                        self.name(&segments, line(first));
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        self.facts.modules.push((name.clone(), line(&item.ident)));
        self.module.push(name);
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        } else if item.content.is_some() {
            let span = item.span();
            self.facts.lines -= span.end().line - span.start().line + 1;
        } else {
            self.facts.test_files.push(self.module.clone());
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.name_tree(&[], &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        self.name(&[item.ident.to_string()], line(item));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A single name is a local one, or one that a `use` brought in.
        if path.segments.len() > 1 {
            let segments: Vec<_> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.name(&segments, line(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {
        // `pub(in crate::x)` names who may look in, not what is used.
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.name_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast MetaList) {
        self.name_tokens(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }
}

fn line(node: &impl Spanned) -> usize {
    node.span().start().line
}

/// Whether one of the attributes is `cfg(test)`, or `cfg(all(…))` with `test` in it.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn requires_test(condition: &Meta) -> bool {
        match condition {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => list
                .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .is_ok_and(|conditions| conditions.iter().any(requires_test)),
            _ => false,
        }
    }
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        attribute.parse_args::<Meta>().is_ok_and(|condition| requires_test(&condition))
    })
}
