//! Dependencies between the files of one crate, read from its source.
//!
//! A file depends on another if a path in it names an item that the other defines. Every `use` and every inline path counts,
//! also in the input of a macro; paths are followed through imports, aliases and re-exports to the defining file. A `mod`
//! line is no dependency, and code that is only compiled for tests is left out. Methods and trait impls are not seen.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, Meta, UseTree};

/// The identifiers of a path, as in `crate::names::Name`.
type Path = Vec<String>;

/// For each pair of files, the paths by which the first depends on the second.
pub(crate) type Dependencies = BTreeMap<(String, String), BTreeSet<String>>;

/// What one module declares and names.
#[derive(Default)]
struct Module {
    file: String,
    /// The crate's root is its own parent.
    parent: usize,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    /// Under one name there may be several imports, each for another `cfg`.
    imports: BTreeMap<String, Vec<Path>>,
    globs: Vec<Path>,
    paths: BTreeSet<Path>,
}

/// The modules of a crate; the first is its root.
struct Crate {
    modules: Vec<Module>,
}

/// Where a path leads.
enum End {
    /// To an item that this module defines.
    ItemOf(usize),
    Module(usize),
}

/// Reads the crate whose root is the file `root`; `source_of` returns the text of a file, if there is one.
pub(crate) fn dependencies(root: &str, source_of: &impl Fn(&str) -> Option<String>) -> Dependencies {
    let mut this = Crate { modules: Vec::new() };
    let folder = root.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    this.add_file(root.to_owned(), &folder, 0, source_of);
    this.dependencies()
}

impl Crate {
    /// Adds the module that is the whole of `file`; the files of its child modules are below `folder`.
    fn add_file(
        &mut self,
        file: String,
        folder: &str,
        parent: usize,
        source_of: &impl Fn(&str) -> Option<String>,
    ) -> usize {
        let text = source_of(&file).unwrap_or_else(|| panic!("{file}: declared and not there"));
        let syntax = syn::parse_file(&text).unwrap_or_else(|err| panic!("{file}: {err}"));
        self.add(file, folder, parent, &syntax.items, source_of)
    }

    fn add(
        &mut self,
        file: String,
        folder: &str,
        parent: usize,
        items: &[Item],
        source_of: &impl Fn(&str) -> Option<String>,
    ) -> usize {
        let module_idx = self.modules.len();
        self.modules.push(Module { file: file.clone(), parent, ..Module::default() });
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            if let Some(name) = defined_name(item) {
                self.modules[module_idx].items.insert(name);
            }
            let Item::Mod(child) = item else {
                self.modules[module_idx].visit_item(item);
                continue;
            };
            let name = child.ident.to_string();
            let below = format!("{folder}{name}/");
            let child_idx = if let Some((_, items)) = &child.content {
                self.add(file.clone(), &below, module_idx, items, source_of)
            } else {
                let candidates = [format!("{folder}{name}.rs"), format!("{below}mod.rs")];
                let child_file = candidates.into_iter().find(|file| source_of(file).is_some());
                let child_file =
                    child_file.unwrap_or_else(|| panic!("{file}: no file for the module {name}"));
                self.add_file(child_file, &below, module_idx, source_of)
            };
            self.modules[module_idx].children.insert(name, child_idx);
        }
        module_idx
    }

    fn dependencies(&self) -> Dependencies {
        let mut found = Dependencies::new();
        for (module_idx, module) in self.modules.iter().enumerate() {
            for path in &module.paths {
                for defining_idx in self.resolve(module_idx, path) {
                    let defining = &self.modules[defining_idx];
                    if defining.file != module.file {
                        let pair = (module.file.clone(), defining.file.clone());
                        found.entry(pair).or_default().insert(path.join("::"));
                    }
                }
            }
        }
        found
    }

    /// Returns the modules that define what `path` names, as seen from a module; none if it names a module or another crate.
    fn resolve(&self, from: usize, path: &[String]) -> BTreeSet<usize> {
        let ends = self.follow(from, path, &mut BTreeSet::new());
        ends.into_iter()
            .filter_map(|end| if let End::ItemOf(module_idx) = end { Some(module_idx) } else { None })
            .collect()
    }

    /// Follows `path` from a module. An import may lead back to a search that is under way: that is `seen`, and skipped.
    fn follow(&self, module_idx: usize, path: &[String], seen: &mut BTreeSet<(usize, Path)>) -> Vec<End> {
        let Some((name, rest)) = path.split_first() else { return vec![End::Module(module_idx)] };
        let module = &self.modules[module_idx];
        match &**name {
            "crate" => return self.follow(0, rest, seen),
            "self" => return self.follow(module_idx, rest, seen),
            "super" => return self.follow(module.parent, rest, seen),
            _ => {}
        }
        if !seen.insert((module_idx, path.to_vec())) {
            return Vec::new();
        }
        let mut ends = Vec::new();
        if module.items.contains(name) {
            ends.push(End::ItemOf(module_idx));
        }
        if let Some(child_idx) = module.children.get(name) {
            ends.extend(self.follow(*child_idx, rest, seen));
        }
        let imports = module.imports.get(name).map_or(&[][..], Vec::as_slice);
        // `use memchr::memchr` names another crate, not itself.
        for import in
            imports.iter().filter(|path| path.first() != Some(name) || module.children.contains_key(name))
        {
            ends.extend(self.follow(module_idx, &[import, rest].concat(), seen));
        }
        if ends.is_empty() && imports.is_empty() {
            for glob in &module.globs {
                for target in self.follow(module_idx, glob, seen) {
                    if let End::Module(target_idx) = target {
                        ends.extend(self.follow(target_idx, path, seen));
                    }
                }
            }
        }
        ends
    }
}

impl Module {
    fn import(&mut self, prefix: &[String], tree: &UseTree) {
        let extended = |ident: &syn::Ident| [prefix, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&extended(&path.ident), &path.tree),
            UseTree::Name(name) if name.ident == "self" => self.bind(prefix.last().cloned(), prefix.to_vec()),
            UseTree::Name(name) => self.bind(Some(name.ident.to_string()), extended(&name.ident)),
            UseTree::Rename(rename) => self.bind(Some(rename.rename.to_string()), extended(&rename.ident)),
            UseTree::Glob(_) => {
                self.globs.push(prefix.to_vec());
                self.paths.insert(prefix.to_vec());
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(prefix, tree)),
        }
    }

    fn bind(&mut self, alias: Option<String>, path: Path) {
        self.paths.insert(path.clone());
        self.imports.entry(alias.unwrap_or_default()).or_default().push(path);
    }

    /// Takes every run of `name::name` in the input of a macro, or in its definition, for a path.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path = Path::new();
        let mut n_colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if n_colons != 2 {
                        self.end_path(&mut path);
                    }
                    path.push(ident.to_string());
                    n_colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && n_colons < 2 => n_colons += 1,
                TokenTree::Group(group) => {
                    self.end_path(&mut path);
                    self.add_tokens(group.stream());
                }
                _ => self.end_path(&mut path),
            }
        }
        self.end_path(&mut path);
    }

    fn end_path(&mut self, path: &mut Path) {
        if !path.is_empty() {
            self.paths.insert(std::mem::take(path));
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&[], &item.tree);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add_tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn defined_name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => return item.ident.as_ref().map(ToString::to_string),
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Whether the attributes leave the item out unless tests are compiled: `#[test]`, `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string().replace(' ', "");
            condition == "test" || condition.starts_with("all(") && condition.contains("test")
        }
        _ => false,
    })
}
