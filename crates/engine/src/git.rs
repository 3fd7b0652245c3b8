//! The git checkout around a directory, found by reading git's files; git itself is never run.
//!
//! What the files are called and mean: gitrepository-layout(5), git-worktree(1), gitsubmodules(7)
//! and gitglossary(7). Like git, the nearest ancestor that is a checkout wins. Unlike git:
//!
//! - neither the environment (`GIT_DIR`, `GIT_CEILING_DIRECTORIES`) nor git's configuration
//!   (`core.worktree`, `core.bare`, `safe.directory`) has a say, and a file system mounted inside a
//!   checkout is a part of it: a directory's reservations must not depend on who asks;
//! - a `.git` that git would stop at is either passed over, or marks a checkout of which nothing
//!   else is known.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::place::{Checkout, CheckoutKind, Place};

/// The most that is read of a file, in bytes. Each holds one path or one name of a reference, and
/// Linux ends a path at 4096 bytes (`PATH_MAX`, limits.h).
const LONGEST: u64 = 64 * 1024;

/// The directory at `path`, every symbolic link resolved, and the git checkout around it.
///
/// Fails when the path leads nowhere, cannot be reached, or, with [`io::ErrorKind::NotADirectory`],
/// leads to something else. Nothing about git is an error: what is unreadable is not there.
pub(crate) fn locate(path: &Path) -> io::Result<Place> {
    let directory = path.canonicalize()?;
    if !directory.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let checkout = directory
        .ancestors()
        .find_map(|ancestor| working_tree(ancestor).or_else(|| bare_repository(ancestor)));
    Ok(Place { directory, checkout })
}

/// The working tree whose top is `root`: `.git` there is a repository, a symbolic link to one, or
/// a file that names one (gitrepository-layout(5), "gitfile").
fn working_tree(root: &Path) -> Option<Checkout> {
    let dot_git = root.join(".git");
    if dot_git.metadata().ok()?.is_dir() {
        // An empty `.git` hides no checkout further up, but a damaged repository still is one:
        // its directories must not change hands while it is being repaired.
        let repository = has_head(&dot_git) || dot_git.join("objects").is_dir();
        repository.then(|| describe(root, &dot_git))
    } else {
        let text = read(&dot_git)?;
        let target = text.strip_prefix(b"gitdir:")?;
        let target = target.strip_prefix(b" ").unwrap_or(target);
        Some(describe(root, &root.join(line(target))))
    }
}

/// What is known of the working tree at `root` whose own repository directory (`$GIT_DIR`) should
/// be at `gitdir`.
fn describe(root: &Path, gitdir: &Path) -> Checkout {
    let gitdir = gitdir.canonicalize().unwrap_or_else(|_| gitdir.to_owned());
    // Only a linked working tree has this file: what it shares with the others lies there.
    let common = read(&gitdir.join("commondir"));
    let repository = match &common {
        Some(common) => gitdir.join(line(common)).canonicalize().ok(),
        None => Some(gitdir.clone()),
    };
    let repository = repository.filter(|path| has_head(&gitdir) && path.join("objects").is_dir());
    let shaped_as_linked = || gitdir.parent().is_some_and(|parent| parent.ends_with("worktrees"));
    let kind = if common.is_some() || (repository.is_none() && shaped_as_linked()) {
        CheckoutKind::Linked
    } else if is_module(&gitdir) {
        CheckoutKind::Submodule
    } else {
        CheckoutKind::Main
    };
    let name = if kind == CheckoutKind::Linked {
        repository.as_deref().and_then(name_of)
    } else {
        root.file_name().and_then(utf8)
    };
    let branch = repository.as_ref().and_then(|_| branch(&gitdir));
    Checkout { root: root.to_owned(), kind, repository, name, branch }
}

/// The bare repository at `root`.
///
/// A `.git` directory, and a submodule's repository inside it, have the same files; whoever stands
/// there means the checkout around it.
fn bare_repository(root: &Path) -> Option<Checkout> {
    let repository = has_head(root)
        && root.join("objects").is_dir()
        && root.join("refs").is_dir()
        && !root.ends_with(".git")
        && !is_module(root);
    repository.then(|| Checkout {
        root: root.to_owned(),
        kind: CheckoutKind::Bare,
        repository: Some(root.to_owned()),
        name: name_of(root),
        branch: branch(root),
    })
}

/// Whether `gitdir` lies in the `modules` directory of another repository, where git keeps the
/// repositories of submodules (gitsubmodules(7)). The name of a submodule may contain slashes.
fn is_module(gitdir: &Path) -> bool {
    let is_repository = |path: &Path| path.ends_with(".git") || has_head(path);
    gitdir
        .ancestors()
        .skip(1)
        .filter(|ancestor| ancestor.ends_with("modules"))
        .any(|modules| modules.parent().is_some_and(is_repository))
}

/// Whether there is a `HEAD`. It may be a symbolic link to a branch that has no commit yet.
fn has_head(gitdir: &Path) -> bool {
    let head = gitdir.join("HEAD").symlink_metadata();
    head.is_ok_and(|head| head.is_file() || head.is_symlink())
}

/// The branch that `HEAD` points to, with or without a commit: a symbolic reference or, from
/// `core.preferSymlinkRefs`, a symbolic link (gitrepository-layout(5)).
fn branch(gitdir: &Path) -> Option<String> {
    let head = gitdir.join("HEAD");
    let reference = match head.read_link() {
        Ok(target) => target.into_os_string().into_vec(),
        Err(_) => read(&head)?.strip_prefix(b"ref:")?.trim_ascii().to_vec(),
    };
    let branch = String::from_utf8(reference).ok()?.strip_prefix("refs/heads/")?.to_owned();
    // git-check-ref-format(1) forbids these in names. A repository with reftables shows `.invalid`
    // to those who read its files (git's Documentation/technical/reftable).
    let valid = !branch.is_empty()
        && !branch.starts_with('.')
        && !branch.contains(|c: char| c.is_control() || c == ' ');
    valid.then_some(branch)
}

/// The name of the repository in the directory `repository`. One with a hidden name, such as
/// `.git` or `.bare`, is called like the directory that holds it.
fn name_of(repository: &Path) -> Option<String> {
    let name = utf8(repository.file_name()?)?;
    if name.starts_with('.') {
        repository.parent()?.file_name().and_then(utf8)
    } else {
        Some(name.strip_suffix(".git").unwrap_or(&name).to_owned())
    }
}

fn utf8(name: &OsStr) -> Option<String> {
    name.to_str().map(str::to_owned)
}

/// The path that is all of `text` but its line end: paths may contain line ends as well.
fn line(text: &[u8]) -> PathBuf {
    let end = text.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    OsStr::from_bytes(&text[..end]).into()
}

/// All of a regular file; `None` when it is something else, cannot be read or is too long. A pipe
/// or a device is never opened: it could block for ever.
fn read(path: &Path) -> Option<Vec<u8>> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let length = File::open(path).ok()?.take(LONGEST + 1).read_to_end(&mut text).ok()?;
    (u64::try_from(length).ok()? <= LONGEST).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Command, Stdio};

    use tempfile::TempDir;

    use super::*;

    /// A directory with a git of its own, that no configuration and no checkout outside can reach.
    struct World {
        top: PathBuf,
        _directory: TempDir,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let top = directory.path().canonicalize().unwrap();
            let config = "[user]\nname = t\nemail = t@example.invalid\n[init]\ndefaultBranch = main\n\
                          [protocol \"file\"]\nallow = always\n[commit]\ngpgSign = false\n";
            fs::write(top.join(".gitconfig"), config).unwrap();
            Self { top, _directory: directory }
        }

        fn git(&self, directory: &Path) -> Command {
            let mut git = Command::new("git");
            for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
                git.env_remove(variable);
            }
            git.env("HOME", &self.top)
                .env("XDG_CONFIG_HOME", &self.top)
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CEILING_DIRECTORIES", &self.top)
                .arg("-C")
                .arg(directory)
                .stdin(Stdio::null());
            git
        }

        fn run(&self, directory: &Path, arguments: &[&str]) {
            let output = self.git(directory).args(arguments).output().unwrap();
            assert!(output.status.success(), "git {arguments:?}: {output:?}");
        }

        /// What git answers, as the bytes of a path; `None` when it refuses.
        fn ask(&self, directory: &Path, arguments: &[&str]) -> Option<PathBuf> {
            let output = self.git(directory).args(arguments).output().unwrap();
            let answer = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
            output.status.success().then(|| OsStr::from_bytes(answer).into())
        }

        fn repository(&self, name: impl AsRef<Path>) -> PathBuf {
            let root = self.directory(name);
            self.run(&root, &["init", "-q"]);
            self.run(&root, &["commit", "-q", "--allow-empty", "-m", "first"]);
            root
        }

        fn bare(&self, name: &str) -> PathBuf {
            let root = self.top.join(name);
            let seed = self.repository(format!("seed of {name}"));
            self.run(&seed, &["clone", "-q", "--bare", ".", root.to_str().unwrap()]);
            root
        }

        fn directory(&self, name: impl AsRef<Path>) -> PathBuf {
            let path = self.top.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        }

        /// The checkout around `directory`, after git itself has said the same about it.
        #[track_caller]
        fn checkout(&self, directory: &Path) -> Checkout {
            let place = locate(directory).unwrap();
            assert_eq!(place.directory, directory.canonicalize().unwrap());
            let checkout = place.checkout.unwrap();
            let common = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
            assert_eq!(checkout.repository, self.ask(directory, &common));
            if checkout.kind == CheckoutKind::Bare {
                let bare = self.ask(directory, &["rev-parse", "--is-bare-repository"]);
                assert_eq!(bare, Some("true".into()));
            } else {
                let top = self.ask(directory, &["rev-parse", "--show-toplevel"]);
                assert_eq!(Some(&checkout.root), top.as_ref());
            }
            assert!(place.directory.starts_with(&checkout.root));
            let branch = self
                .ask(directory, &["rev-parse", "--abbrev-ref", "HEAD"])
                .or_else(|| self.ask(directory, &["symbolic-ref", "--short", "HEAD"]))
                .filter(|branch| branch.as_os_str() != "HEAD");
            assert_eq!(checkout.branch.as_ref().map(PathBuf::from), branch);
            checkout
        }
    }

    fn facts(checkout: &Checkout) -> (CheckoutKind, Option<&str>, Option<&str>) {
        (checkout.kind, checkout.name.as_deref(), checkout.branch.as_deref())
    }

    #[test]
    fn a_repository_contains_its_directories() {
        let world = World::new();
        let shop = world.repository("shop");
        let deep = world.directory("shop/apps/web");
        for directory in [&shop, &deep] {
            let checkout = world.checkout(directory);
            assert_eq!(facts(&checkout), (CheckoutKind::Main, Some("shop"), Some("main")));
            assert_eq!(checkout.root, shop);
        }
        let outside = world.directory("elsewhere");
        assert_eq!(locate(&outside).unwrap(), Place { directory: outside, checkout: None });
    }

    #[test]
    fn head_may_be_unborn_detached_nested_or_a_symbolic_link() {
        let world = World::new();
        let unborn = world.directory("unborn");
        world.run(&unborn, &["init", "-q", "-b", "fix/a.b"]);
        assert_eq!(world.checkout(&unborn).branch.as_deref(), Some("fix/a.b"));

        let shop = world.repository("shop");
        world.run(&shop, &["checkout", "-q", "-b", "feature/größe"]);
        assert_eq!(world.checkout(&shop).branch.as_deref(), Some("feature/größe"));
        world.run(&shop, &["pack-refs", "--all"]);
        assert_eq!(world.checkout(&shop).branch.as_deref(), Some("feature/größe"));
        let symbolic = ["-c", "core.preferSymlinkRefs=true", "symbolic-ref", "HEAD"];
        world.run(&shop, &[&symbolic[..], &["refs/heads/main"]].concat());
        assert!(shop.join(".git/HEAD").is_symlink());
        assert_eq!(world.checkout(&shop).branch.as_deref(), Some("main"));
        world.run(&shop, &[&symbolic[..], &["refs/heads/unborn"]].concat());
        assert_eq!(world.checkout(&shop).branch.as_deref(), Some("unborn"));
        fs::remove_file(shop.join(".git/HEAD")).unwrap();
        fs::write(shop.join(".git/HEAD"), "ref:\trefs/heads/main \n").unwrap();
        assert_eq!(world.checkout(&shop).branch.as_deref(), Some("main"));
        world.run(&shop, &["checkout", "-q", "--detach", "main"]);
        assert_eq!(world.checkout(&shop).branch, None);
    }

    #[test]
    fn a_branch_that_is_kept_in_a_reftable_is_unknown() {
        let world = World::new();
        let shop = world.directory("shop");
        if world.ask(&shop, &["init", "-q", "--ref-format=reftable"]).is_none() {
            // Before git 2.45 there are none; this is what they look like.
            world.run(&shop, &["init", "-q"]);
            fs::write(shop.join(".git/HEAD"), "ref: refs/heads/.invalid\n").unwrap();
        }
        let checkout = locate(&shop).unwrap().checkout.unwrap();
        assert_eq!(facts(&checkout), (CheckoutKind::Main, Some("shop"), None));
        assert_eq!(checkout.repository, Some(shop.join(".git")));
    }

    #[test]
    fn a_linked_working_tree_is_a_root_of_its_own_and_shares_its_repository() {
        let world = World::new();
        let shop = world.repository("shop");
        world.run(&shop, &["worktree", "add", "-q", "../task 1", "-b", "task"]);
        let linked = world.top.join("task 1");
        let checkout = world.checkout(&linked);
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, Some("shop"), Some("task")));
        assert_eq!(checkout.root, linked);
        assert_eq!(checkout.repository, world.checkout(&shop).repository);

        // As `worktree.useRelativePaths` of git 2.48 writes it, and inside its own repository.
        world.run(&shop, &["worktree", "add", "-q", "--detach", "trees/two"]);
        let inner = shop.join("trees/two");
        fs::write(inner.join(".git"), "gitdir: ../../.git/worktrees/two\r\n").unwrap();
        let checkout = world.checkout(&world.directory("shop/trees/two/deep"));
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, Some("shop"), None));
        assert_eq!(checkout.root, inner);
    }

    #[test]
    fn a_bare_repository_is_a_root_and_so_are_its_linked_working_trees() {
        let world = World::new();
        let bare = world.bare("shop.git");
        for directory in [&bare, &bare.join("refs/heads")] {
            let checkout = world.checkout(directory);
            assert_eq!(facts(&checkout), (CheckoutKind::Bare, Some("shop"), Some("main")));
            assert_eq!(checkout.root, bare);
        }
        world.run(&bare, &["worktree", "add", "-q", "../task", "-b", "task"]);
        let checkout = world.checkout(&world.top.join("task"));
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, Some("shop"), Some("task")));

        // Many keep a bare repository hidden in the directory that holds its working trees.
        let project = world.directory("project");
        fs::rename(world.bare("hidden"), project.join(".bare")).unwrap();
        fs::write(project.join(".git"), "gitdir: ./.bare\n").unwrap();
        world.run(&project, &["worktree", "add", "-q", "task", "-b", "task"]);
        let checkout = world.checkout(&project.join("task"));
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, Some("project"), Some("task")));
        let checkout = locate(&project).unwrap().checkout.unwrap();
        assert_eq!(facts(&checkout), (CheckoutKind::Main, Some("project"), Some("main")));
    }

    #[test]
    fn a_submodule_is_a_checkout_of_its_own() {
        let world = World::new();
        let (shop, _) = (world.repository("shop"), world.repository("pay"));
        let add = ["submodule", "--quiet", "add", "--name", "libs/pay", "../pay", "vendor/payment"];
        world.run(&shop, &add);
        world.run(&shop, &["commit", "-q", "-m", "second"]);
        let submodule = shop.join("vendor/payment");
        let checkout = world.checkout(&submodule);
        assert_eq!(facts(&checkout), (CheckoutKind::Submodule, Some("payment"), Some("main")));
        assert_eq!(world.checkout(&shop.join("vendor")).root, shop);
        // Its repository is inside that of the checkout around it.
        let inside = locate(&shop.join(".git/modules/libs/pay/hooks")).unwrap();
        assert_eq!(inside.root(), shop);

        world.run(&submodule, &["worktree", "add", "-q", "../../../fix", "-b", "fix"]);
        let checkout = world.checkout(&world.top.join("fix"));
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, Some("pay"), Some("fix")));

        world.run(&shop, &["worktree", "add", "-q", "../task", "-b", "task"]);
        let linked = world.top.join("task");
        world.run(&linked, &["submodule", "--quiet", "update", "--init"]);
        let checkout = world.checkout(&linked.join("vendor/payment"));
        assert_eq!(facts(&checkout), (CheckoutKind::Submodule, Some("payment"), None));
    }

    #[test]
    fn a_repository_may_be_kept_elsewhere() {
        let world = World::new();
        let shop = world.repository("shop");
        world.directory("modules");
        world.run(&shop, &["init", "-q", "--separate-git-dir", "../modules/store"]);
        let checkout = world.checkout(&shop);
        assert_eq!(facts(&checkout), (CheckoutKind::Main, Some("shop"), Some("main")));

        let cart = world.repository("cart");
        fs::rename(cart.join(".git"), world.top.join("store")).unwrap();
        symlink("../store", cart.join(".git")).unwrap();
        let checkout = world.checkout(&cart);
        assert_eq!(facts(&checkout), (CheckoutKind::Main, Some("cart"), Some("main")));
    }

    #[test]
    fn the_inside_of_a_repository_belongs_to_its_working_tree() {
        let world = World::new();
        let shop = world.repository("shop");
        world.run(&shop, &["worktree", "add", "-q", "../task"]);
        for directory in [".git", ".git/hooks", ".git/worktrees/task"] {
            let place = locate(&shop.join(directory)).unwrap();
            assert_eq!((place.root(), place.checkout.as_ref().unwrap().kind), {
                (shop.as_path(), CheckoutKind::Main)
            });
        }
    }

    #[test]
    fn the_nearest_checkout_wins() {
        let world = World::new();
        let inner = world.repository("shop/vendor/cart");
        let outer = world.repository("shop");
        assert_eq!(world.checkout(&world.directory("shop/vendor/cart/src")).root, inner);
        assert_eq!(world.checkout(&outer.join("vendor")).root, outer);
    }

    #[test]
    fn symbolic_links_lead_to_the_same_place() {
        let world = World::new();
        let shop = world.repository("shop");
        world.directory("shop/web");
        symlink("shop/web", world.top.join("link")).unwrap();
        let place = locate(&world.top.join("link")).unwrap();
        assert_eq!((place.root(), &place.directory), (shop.as_path(), &shop.join("web")));
    }

    #[test]
    fn any_bytes_may_be_in_a_path() {
        let world = World::new();
        let names: [&[u8]; 3] = [b"gr\xf6\xdfe", b"line\nbreak\r", b" two  blanks "];
        for name in names.map(OsStr::from_bytes) {
            if fs::create_dir(world.top.join(name)).is_err() {
                continue; // APFS refuses what is not UTF-8.
            }
            let root = world.repository(name);
            assert_eq!(world.checkout(&root).name.as_deref(), name.to_str());
            world.run(&root, &["worktree", "add", "-q", "trees/task"]);
            let checkout = world.checkout(&root.join("trees/task"));
            assert_eq!(facts(&checkout), (CheckoutKind::Linked, name.to_str(), Some("task")));
        }
    }

    #[test]
    fn a_link_to_nowhere_still_marks_a_root() {
        let world = World::new();
        let shop = world.repository("shop");
        let damaged = world.directory("shop/damaged");
        let absolute = format!("gitdir: {}/gone/.git/worktrees/task", world.top.display());
        for (text, kind, name) in [
            ("gitdir: ../gone", CheckoutKind::Main, Some("damaged")),
            ("gitdir: ../.git/modules/libs/gone\n", CheckoutKind::Submodule, Some("damaged")),
            (absolute.as_str(), CheckoutKind::Linked, None),
            ("gitdir:", CheckoutKind::Main, Some("damaged")),
            ("gitdir: .\n", CheckoutKind::Main, Some("damaged")),
            ("gitdir: a\0b\n", CheckoutKind::Main, Some("damaged")),
        ] {
            fs::write(damaged.join(".git"), text).unwrap();
            let checkout = locate(&damaged).unwrap().checkout.unwrap();
            assert_eq!(facts(&checkout), (kind, name, None), "{text:?}");
            assert_eq!((checkout.root, checkout.repository), (damaged.clone(), None), "{text:?}");
        }

        world.run(&shop, &["worktree", "add", "-q", "../task"]);
        fs::write(shop.join(".git/worktrees/task/commondir"), "../../../gone\n").unwrap();
        let checkout = locate(&world.top.join("task")).unwrap().checkout.unwrap();
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, None, None));
        fs::remove_file(shop.join(".git/worktrees/task/commondir")).unwrap();
        let checkout = locate(&world.top.join("task")).unwrap().checkout.unwrap();
        assert_eq!(facts(&checkout), (CheckoutKind::Linked, None, None));
    }

    #[test]
    fn what_is_not_a_repository_is_passed_over() {
        let world = World::new();
        let shop = world.repository("shop");
        let inner = world.directory("shop/inner");
        let dot_git = inner.join(".git");
        let passed_over = || assert_eq!(locate(&inner).unwrap().root(), shop);

        let long = vec![0xff; 100_000];
        for text in [b"".as_slice(), b"git", b" gitdir: ../.git", &long] {
            fs::write(&dot_git, text).unwrap();
            passed_over();
        }
        fs::remove_file(&dot_git).unwrap();
        assert!(Command::new("mkfifo").arg(&dot_git).status().unwrap().success());
        passed_over();
        for target in ["/dev/zero", ".git", "gone"] {
            fs::remove_file(&dot_git).unwrap();
            symlink(target, &dot_git).unwrap();
            passed_over();
        }
        fs::remove_file(&dot_git).unwrap();
        fs::create_dir(&dot_git).unwrap();
        passed_over();
        fs::create_dir(dot_git.join("objects")).unwrap();
        let checkout = locate(&inner).unwrap().checkout.unwrap();
        assert_eq!((checkout.root, checkout.repository), (inner.clone(), None));
        fs::set_permissions(&dot_git, fs::Permissions::from_mode(0o0)).unwrap();
        if fs::read_dir(&dot_git).is_err() {
            passed_over(); // Nothing is forbidden to root.
        }
        fs::set_permissions(&dot_git, fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_damaged_head_leaves_the_branch_unknown() {
        let world = World::new();
        let shop = world.repository("shop");
        let head = shop.join(".git/HEAD");
        let endless = format!("ref: refs/heads/{}", "a".repeat(100_000));
        let texts: [&[u8]; 8] = [
            b"",
            b"ref:",
            b"ref: refs/heads/",
            b"ref: refs/remotes/origin/main",
            b"ref: refs/heads/\xff\xfe",
            b"ref: refs/heads/a\nb",
            b"ref: refs/heads/\x1b[31m",
            endless.as_bytes(),
        ];
        for text in texts {
            fs::write(&head, text).unwrap();
            let checkout = locate(&shop).unwrap().checkout.unwrap();
            assert_eq!(facts(&checkout), (CheckoutKind::Main, Some("shop"), None));
            assert_eq!((checkout.root, checkout.repository.unwrap()), {
                (shop.clone(), shop.join(".git"))
            });
        }
        fs::remove_file(&head).unwrap();
        assert!(Command::new("mkfifo").arg(&head).status().unwrap().success());
        assert_eq!(locate(&shop).unwrap().root(), shop);
    }

    #[test]
    fn only_a_directory_is_a_place() {
        let world = World::new();
        let kind = |path: &str| locate(&world.top.join(path)).unwrap_err().kind();
        assert_eq!(kind("gone"), io::ErrorKind::NotFound);
        assert_eq!(kind(".gitconfig"), io::ErrorKind::NotADirectory);
        assert_eq!(kind(".gitconfig/deeper"), io::ErrorKind::NotADirectory);
        assert_eq!(locate(Path::new("")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
